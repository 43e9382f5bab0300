package repair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

func (h *Healer) verify(ctx context.Context, l layout.Layout, i int) error {
	return Verify(ctx, h.cfg.Store, l.Chunk(i), l.Scheme.ChunkSize(l.Size))
}

// Verify looks at all of a chunk: header and label, every block, and whether it
// is as long as its record wants. Damage of any kind is ErrCorrupt.
func Verify(ctx context.Context, s chunkstore.Store, id layout.ChunkID, want int64) (err error) {
	if _, err := s.Stat(ctx, id); err != nil {
		return err
	}
	r, err := s.Open(ctx, id, 0, -1)
	if err != nil {
		return err
	}
	return errors.Join(readWhole(r, id, want, func([]byte) error { return nil }), r.Close())
}

var blocks = sync.Pool{New: func() any { return new([layout.BlockSize]byte) }}

// readWhole hands on each block of a chunk and checks its length at the end; the
// reader checks the rest.
func readWhole(r chunkstore.Reader, id layout.ChunkID, want int64, block func([]byte) error) error {
	pooled := blocks.Get().(*[layout.BlockSize]byte)
	defer blocks.Put(pooled)
	buf := pooled[:]
	var size int64
	for {
		n, err := r.Next(buf)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = block(buf[:n])
		}
		if err != nil {
			return err
		}
		size += int64(n)
	}
	if size != want {
		return fmt.Errorf("chunk %s has %d bytes, its record wants %d: %w", id, size, want, chunkstore.ErrCorrupt)
	}
	return nil
}
