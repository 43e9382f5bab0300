package node

import (
	"fmt"
	"sync/atomic"

	"partstore/internal/layout"
	"partstore/metadata"
)

// attempts numbers the PUTs this process coordinates.
type attempts struct {
	now         func() layout.RegistryTime
	incarnation atomic.Uint32 // 0 until the registry gave one
	sequence    atomic.Uint64
}

// next returns a fresh attempt ID. Before the node has its incarnation there is
// none to give, and the error wraps metadata.ErrUnavailable.
func (a *attempts) next() (layout.AttemptID, error) {
	inc := layout.Incarnation(a.incarnation.Load())
	if inc == 0 {
		return layout.AttemptID{}, fmt.Errorf("node is not registered yet: %w", metadata.ErrUnavailable)
	}
	return layout.NewAttemptID(inc, a.now(), a.sequence.Add(1)), nil
}
