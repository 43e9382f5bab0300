package peer

import (
	"context"

	"partstore/internal/layout"
)

// The services of registries, besides Raft's own connections.
const (
	ServicePropose   = "registry/propose"
	ServiceReadIndex = "registry/read-index"
	ServiceTerm      = "registry/term"
	ServiceMembers   = "registry/members" // a read, so it takes a quorum
)

// Registry calls the registries of other nodes: it is a metadata.Peers.
type Registry struct{ *Client }

// Propose implements metadata.Peers.
func (r Registry) Propose(ctx context.Context, to layout.NodeID, request []byte) ([]byte, error) {
	return r.Call(ctx, to, ServicePropose, request)
}

// ReadIndex implements metadata.Peers.
func (r Registry) ReadIndex(ctx context.Context, to layout.NodeID, request []byte) ([]byte, error) {
	return r.Call(ctx, to, ServiceReadIndex, request)
}

// Term implements metadata.Peers.
func (r Registry) Term(ctx context.Context, to layout.NodeID, request []byte) ([]byte, error) {
	return r.Call(ctx, to, ServiceTerm, request)
}
