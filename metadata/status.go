package metadata

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// Status describes one node's registry at one moment. It is for people and
// status pages; nothing may be decided by it.
type Status struct {
	Node       layout.NodeID
	Generation Generation
	Leader     layout.NodeID // zero: none known
	Role       string        // "leader", "follower", "candidate" or "shutdown"
	Term       uint64

	CommitIndex   uint64
	AppliedIndex  uint64 // of this node's state machine
	LastIndex     uint64 // of this node's log
	SnapshotIndex uint64
	RegistryTime  layout.RegistryTime

	// LastContact is how long ago this follower heard from its leader; 0 on
	// the leader, -1 if never.
	LastContact time.Duration

	Room   string // for this node's registry: "enough", "low" or "none"
	Digest Digest // the newest of this node; zero: none yet

	Servers []Server // Raft's configuration, by node ID
	Failed  error    // why this node's registry is out of service, or nil
}

// Server is one member of Raft's configuration.
type Server struct {
	Node       layout.NodeID
	Generation Generation
	Voter      bool

	// LastContact and AppliedIndex are what the leader last learned; -1 and 0
	// on other nodes and for servers that never answered.
	LastContact  time.Duration
	AppliedIndex uint64
}

// Status returns what this node knows of itself and its registry now.
func (r *Raft) Status() Status {
	_, leader := r.raft.LeaderWithID()
	s := Status{
		Node:         r.cfg.Node,
		Generation:   r.self.generation,
		Leader:       nodeOf(leader),
		Role:         strings.ToLower(r.raft.State().String()),
		Term:         r.raft.CurrentTerm(),
		CommitIndex:  r.raft.CommitIndex(),
		AppliedIndex: r.fsm.applied.load(),
		LastIndex:    r.raft.LastIndex(),
		RegistryTime: r.Now(),
		LastContact:  since(r.raft.LastContact()),
		Room:         r.space.now().String(),
		Digest:       r.fsm.digests.newest(),
		Failed:       r.failure(),
	}
	s.SnapshotIndex, _ = strconv.ParseUint(r.raft.Stats()["last_snapshot_index"], 10, 64)
	leads := r.raft.State() == raft.Leader
	if leads {
		s.LastContact = 0
	}
	for _, server := range r.servers() {
		of := serverOf(server.ID)
		entry := Server{Node: of.node, Generation: of.generation, Voter: server.Suffrage == raft.Voter, LastContact: -1}
		if entry.Node == r.cfg.Node {
			entry.LastContact, entry.AppliedIndex = 0, s.AppliedIndex
		} else if at, applied := r.contacts.last(of); leads {
			entry.LastContact, entry.AppliedIndex = since(at), applied
		}
		s.Servers = append(s.Servers, entry)
	}
	slices.SortFunc(s.Servers, func(a, b Server) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	return s
}

// since is how long ago t was, or -1 for never.
func since(t time.Time) time.Duration {
	if t.IsZero() {
		return -1
	}
	return time.Since(t)
}
