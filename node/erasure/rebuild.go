package erasure

import (
	"context"
	"errors"
	"io"
)

// errBeingRebuilt is why the chunk that is being rebuilt is not read.
var errBeingRebuilt = errors.New("chunk is being rebuilt")

// BlockWriter takes the blocks of a chunk, in order.
type BlockWriter interface{ WriteBlock(shard []byte) error }

// Rebuild writes the shards of chunk i of a part, computed from the other chunks, to
// what begin returns, which is called when the first of them is at hand. It neither
// commits nor aborts that. Like a Reader it needs any k chunks for each stripe, all
// verified, and fails with ErrTooFewShards if they are not to be had.
func (e *Engine) Rebuild(ctx context.Context, src Source, i int, begin func() (BlockWriter, error)) error {
	coder, err := e.coder(src.Scheme)
	if err != nil {
		return err
	}
	open := src.Open
	src.Last |= 1 << i
	src.Open = func(ctx context.Context, j int, first, count int64) (ShardReader, error) {
		if j == i {
			return nil, errBeingRebuilt
		}
		return open(ctx, j, first, count)
	}
	r, err := e.Open(ctx, src, 0, src.Size)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // what was read is verified; nothing else can be lost
	w, err := begin()
	if err != nil {
		return err
	}
	k := int(src.Scheme.Data)
	buf := make([]byte, src.Scheme.Total()*src.Scheme.ShardSize(int(min(src.Size, int64(src.Scheme.StripeSize())))))
	for rest := src.Size; rest > 0; {
		n := int(min(rest, int64(src.Scheme.StripeSize())))
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return err
		}
		rest -= int64(n)
		size := src.Scheme.ShardSize(n)
		clear(buf[n : k*size])
		shards := make([][]byte, src.Scheme.Total())
		for j := range shards {
			shards[j] = buf[j*size : (j+1)*size]
		}
		if i >= k {
			if err := coder.Encode(shards); err != nil {
				return err
			}
		}
		if err := w.WriteBlock(shards[i]); err != nil {
			return err
		}
	}
	return nil
}
