package node

import (
	"context"
	"net"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/peer"
)

// Services of the peer protocol that this node calls and serves, besides those
// of the registry itself.
const (
	serviceForm    = "form"
	serviceStatus  = "status"
	serviceDrop    = "chunks/drop"
	serviceSuspect = "chunks/suspect"
	serviceSweep   = "gc/sweep"
	serviceScrub   = "scrub"
)

// raftStreams carries Raft over the peer listener.
type raftStreams struct {
	net.Listener
	client *peer.Client
}

func (s raftStreams) Dial(node layout.NodeID, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // Raft has no context to give
	defer cancel()
	return s.client.DialRaft(ctx, node)
}

// withRegistry serves a call with the registry, once there is one.
func (n *Node) withRegistry(handle func(*metadata.Raft, context.Context, []byte) ([]byte, error)) peer.Handler {
	return func(ctx context.Context, _ layout.NodeID, request []byte) ([]byte, error) {
		select {
		case <-n.opened:
			return handle(n.registry, ctx, request)
		default:
			return nil, &peer.RemoteError{Code: "starting", Text: "node has not opened its registry yet"}
		}
	}
}
