package peer

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// maxRaftBacklog is how many Raft connections may wait to be accepted.
const maxRaftBacklog = 64

// DialRaft opens a raw connection to the Raft listener of a node: a request to
// switch protocols, after which the connection belongs to the caller.
func (c *Client) DialRaft(ctx context.Context, node layout.NodeID) (net.Conn, error) {
	to, err := c.resolve(node)
	if err != nil {
		return nil, fmt.Errorf("dial raft: %w", err)
	}
	conn, err := c.dialUpgrade(ctx, to, raftPath, raftUpgrade)
	if err != nil {
		return nil, fmt.Errorf("dial raft at %s: %w", to.addr, err)
	}
	return conn, nil
}

// upgradeRaft turns a request into a connection for the Raft listener.
func (s *Server) upgradeRaft(w http.ResponseWriter, r *http.Request, _ layout.NodeID) error {
	if err := checkUpgrade(r, raftUpgrade); err != nil {
		return err
	}
	if !s.raft.reserve() {
		return fmt.Errorf("%w: raft is not listening", chunkstore.ErrUnavailable)
	}
	conn, err := s.takeOver(w, raftUpgrade)
	if err != nil {
		s.raft.unreserve()
		s.log.DebugContext(r.Context(), "raft connection broke at birth", "err", err)
		return nil
	}
	conn.closed = s.raft.forget
	s.raft.deliver(conn)
	return nil
}
