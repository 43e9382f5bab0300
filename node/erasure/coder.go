package erasure

import (
	"fmt"

	"github.com/klauspost/reedsolomon"

	"partstore/internal/layout"
)

// Coder computes the shards of one stripe from each other. It does no I/O and
// is safe for concurrent use. All shards of a stripe have the same length,
// at least 1.
type Coder interface {
	// Encode fills the parity shards from the data shards.
	Encode(shards [][]byte) error

	// Reconstruct fills the wanted data shards, which must be empty with
	// enough capacity. Other empty shards are missing and stay so. At least
	// k shards must be there; nothing can tell Reconstruct that one is wrong.
	Reconstruct(shards [][]byte, wanted []bool) error
}

// reedSolomon is the Coder behind every part.
type reedSolomon struct{ enc reedsolomon.Encoder }

// NewReedSolomon returns the Reed–Solomon coder of a scheme.
func NewReedSolomon(s layout.Scheme) (Coder, error) {
	// Streams run in parallel; splitting the work of one stripe as well costs
	// more than it brings.
	enc, err := reedsolomon.New(int(s.Data), int(s.Parity), reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("coder of scheme %s: %w", s, err)
	}
	return reedSolomon{enc}, nil
}

func (c reedSolomon) Encode(shards [][]byte) error { return c.enc.Encode(shards) }

func (c reedSolomon) Reconstruct(shards [][]byte, wanted []bool) error {
	return c.enc.ReconstructSome(shards, wanted)
}
