package metadata

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// Generation counts the copies of the registry a node has had. The first is 1;
// a node that had to give one up takes the next, durably, before it opens an
// empty one. A generation that was given up never speaks again: it cannot keep
// what it promised.
type Generation uint32

// server is one generation of a node: what has a place in Raft's
// configuration, a term and a vote. Its ID and its address there are the same
// text, the node ID in hex, a dot, and the generation. Where a node is today is
// the StreamLayer's business, so a new IP address changes no configuration.
type server struct {
	node       layout.NodeID
	generation Generation
}

func (s server) String() string              { return fmt.Sprintf("%s.%d", s.node, s.generation) }
func (s server) id() raft.ServerID           { return raft.ServerID(s.String()) }
func (s server) address() raft.ServerAddress { return raft.ServerAddress(s.String()) }

func (s *server) code(c *coder) {
	c.fixed(s.node[:])
	c.uint32((*uint32)(&s.generation))
}

// parseServer is the inverse of String and accepts nothing else.
func parseServer(text string) (server, error) {
	node, generation, _ := strings.Cut(text, ".")
	id, err := layout.ParseNodeID(node)
	if err != nil {
		return server{}, err
	}
	n, err := strconv.ParseUint(generation, 10, 32)
	s := server{id, Generation(n)}
	if err != nil || n == 0 || s.String() != text {
		return server{}, fmt.Errorf("%w: server ID %q", errMalformed, text)
	}
	return s, nil
}

// serverOf is parseServer for what Raft gives us; the zero server for text that
// is none.
func serverOf(id raft.ServerID) server {
	s, err := parseServer(string(id))
	if err != nil {
		return server{}
	}
	return s
}

// nodeOf is the node of a server ID; the zero NodeID for text that is none.
func nodeOf(id raft.ServerID) layout.NodeID { return serverOf(id).node }
