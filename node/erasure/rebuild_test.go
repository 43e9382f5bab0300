package erasure

import (
	"bytes"
	"errors"
	"math/bits"
	"testing"

	"partstore/internal/testrand"
)

// chunkWriter collects the blocks of a rebuilt chunk.
type chunkWriter struct{ blocks [][]byte }

func (w *chunkWriter) WriteBlock(b []byte) error {
	w.blocks = append(w.blocks, bytes.Clone(b))
	return nil
}

// Every chunk comes out of the others as it was written, whatever else is lost,
// up to the last block; with one loss too many it is an error.
func TestEveryChunkIsRebuiltFromTheOthers(t *testing.T) {
	rng := testrand.New(t)
	e := newEngine(t, Config{})
	for _, name := range testSchemes {
		s := mustParse(t, name)
		for _, size := range boundarySizes(s) {
			body := randomBytes(rng, size)
			for i := range s.Total() {
				m := newMemory()
				store(t, e, m, s, body)
				want := m.chunks[i]
				for _, others := range []int{0, int(s.Parity) - 1, int(s.Parity)} {
					lost := uint32(1) << i
					for bits.OnesCount32(lost) <= others {
						lost |= 1 << rng.IntN(s.Total())
					}
					m.lose(s, lost)
					var w chunkWriter
					err := e.Rebuild(t.Context(), Source{Scheme: s, Size: int64(size), Open: m.open}, i, func() (BlockWriter, error) { return &w, nil })
					if others == int(s.Parity) {
						// A tiny part may lie in fewer shards than k.
						if err != nil && !errors.Is(err, ErrTooFewShards) {
							t.Fatalf("%s, chunk %d, lost %b: %v", describe(name, size), i, lost, err)
						}
						if err != nil {
							continue
						}
					}
					if err != nil || len(w.blocks) != len(want) {
						t.Fatalf("%s, chunk %d, lost %b: %d blocks, want %d: %v", describe(name, size), i, lost, len(w.blocks), len(want), err)
					}
					for j := range want {
						if !bytes.Equal(w.blocks[j], want[j]) {
							t.Fatalf("%s, chunk %d, lost %b: block %d differs", describe(name, size), i, lost, j)
						}
					}
				}
			}
		}
	}
}
