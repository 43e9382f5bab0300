package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"

	"partstore/internal/layout"
)

// readAhead is how many blocks a stream holds ready beyond the one it reads.
const readAhead = 2

// block is one shard of one stripe, or why there is none.
type block struct {
	stripe int64
	buf    *[layout.BlockSize]byte // nil with err
	n      int
	err    error
}

// stream is one chunk being read: a goroutine that reads ahead. Everything but
// the channel belongs to the Reader.
type stream struct {
	index  int
	next   int64 // stripe of the next block to take from the channel
	end    int64 // stripe after the last block
	cancel context.CancelFunc
	blocks chan block
	late   bool // exceeded the hedge delay on stripe next
}

// openStream starts reading chunk i from stripe first up to end.
func (r *Reader) openStream(i int, first, end int64) *stream {
	ctx, cancel := context.WithCancel(r.ctx)
	s := &stream{index: i, next: first, end: end, cancel: cancel, blocks: make(chan block, readAhead)}
	r.engine.chunks.Go(func() {
		for b := range r.readChunk(ctx, i, first, end) {
			select {
			case s.blocks <- b:
				r.poke()
			case <-ctx.Done():
				r.engine.putBlock(b.buf)
				return
			}
		}
	})
	return s
}

// readChunk yields the blocks of a chunk in order, each of the length its
// stripe demands; the last thing it yields may be an error.
func (r *Reader) readChunk(ctx context.Context, i int, first, end int64) func(yield func(block) bool) {
	return func(yield func(block) bool) {
		chunk, err := r.src.Open(ctx, i, first, end-first)
		if err != nil {
			yield(block{stripe: first, err: err})
			return
		}
		defer func() { _ = chunk.Close() }() // what was read is verified; nothing else can be lost
		for s := first; s < end; s++ {
			buf := r.engine.getBlock()
			n, err := chunk.Next(buf[:])
			if err = checkBlock(n, r.shardSize(s), err); err != nil {
				r.engine.putBlock(buf)
				yield(block{stripe: s, err: err})
				return
			}
			if !yield(block{stripe: s, buf: buf, n: n}) {
				return
			}
		}
	}
}

func checkBlock(n, want int, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("chunk ends early: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return err
	case n != want:
		return fmt.Errorf("block of %d bytes, want %d", n, want)
	}
	return nil
}

// take returns the block of stripe s if it is there, skipping those before.
func (s *stream) take(e *Engine, stripe int64) (block, bool) {
	for s.next <= stripe {
		select {
		case b := <-s.blocks:
			s.next++
			if b.err != nil || b.stripe == stripe {
				return b, true
			}
			e.putBlock(b.buf)
		default:
			return block{}, false
		}
	}
	return block{}, false
}

// stop ends the stream's goroutine without waiting for it.
func (s *stream) stop(e *Engine) {
	s.cancel()
	for {
		select {
		case b := <-s.blocks:
			e.putBlock(b.buf)
		default:
			return
		}
	}
}
