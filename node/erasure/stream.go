package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"

	"partstore/internal/layout"
)

const (
	// readRun is how many blocks a stream reads at a time, at most.
	readRun = 2
	// readRuns is how many runs a stream has memory for: one in use, and one
	// that is read meanwhile.
	readRuns = 2
)

// run is what a stream read at once: one shard of each of several stripes.
type run struct {
	shards [][]byte // not taken yet
	in     *buffer  // where they lie; nil if there are none
	err    error    // why no more runs follow; nil if one does, or all was read
}

// block is one shard of one stripe, or why there is none.
type block struct {
	shard []byte
	in    *buffer
	err   error
}

// stream is one chunk being read: a goroutine that reads ahead. Everything but
// the channels belongs to the Reader.
type stream struct {
	index  int
	next   int64 // stripe of the next block to take
	end    int64 // stripe after the last block
	cancel context.CancelFunc
	runs   chan run
	now    run  // being taken
	late   bool // exceeded the hedge delay on stripe next
}

// openStream starts reading chunk i from stripe first up to end.
func (r *Reader) openStream(i int, first, end int64) *stream {
	ctx, cancel := context.WithCancel(r.ctx)
	s := &stream{index: i, next: first, end: end, cancel: cancel, runs: make(chan run, readRuns)}
	r.engine.chunks.Go(func() {
		for run := range r.readChunk(ctx, i, first, end) {
			select {
			case s.runs <- run:
				r.poke()
			case <-ctx.Done():
				run.in.release()
				return
			}
		}
	})
	return s
}

// readChunk yields the blocks of a chunk in order, each of the length its
// stripe demands; the last thing it yields may be an error.
func (r *Reader) readChunk(ctx context.Context, i int, first, end int64) func(yield func(run) bool) {
	return func(yield func(run) bool) {
		chunk, err := r.src.Open(ctx, i, first, end-first)
		if err != nil {
			yield(run{err: err})
			return
		}
		defer func() { _ = chunk.Close() }() // what was read is verified; nothing else can be lost
		using := make(chan struct{}, readRuns)
		for s := first; s < end; {
			select {
			case using <- struct{}{}:
			case <-ctx.Done():
				return
			}
			next := run{in: r.engine.getBuffer(int(min(readRun, end-s)), using)}
			next.shards, err = nextRun(chunk, next.in)
			next.err = r.checkRun(&next, s, err)
			s += int64(len(next.shards))
			if len(next.shards) == 0 {
				next.in.release()
				next.in = nil
			}
			if !yield(next) || next.err != nil {
				return
			}
		}
	}
}

// nextRun reads as many blocks as the reader can return at once.
func nextRun(chunk ShardReader, in *buffer) ([][]byte, error) {
	if chunk, ok := chunk.(RunReader); ok {
		return chunk.NextRun(in.room, in.shards[:0])
	}
	n, err := chunk.Next(in.room[:layout.BlockSize])
	if err != nil {
		return nil, err
	}
	return append(in.shards[:0], in.room[:n]), nil
}

// checkRun checks the lengths of the shards of the stripes from s on. It drops
// those from the first wrong one on and returns what is wrong, or what err means.
func (r *Reader) checkRun(in *run, s int64, err error) error {
	for i, shard := range in.shards {
		if want := r.shardSize(s + int64(i)); len(shard) != want {
			in.shards = in.shards[:i]
			return fmt.Errorf("block of %d bytes, want %d", len(shard), want)
		}
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("chunk ends early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// take returns the block of a stripe if it is there, skipping those before. The
// caller releases the buffer it lies in.
func (s *stream) take(stripe int64) (block, bool) {
	for s.next <= stripe {
		if len(s.now.shards) == 0 && s.now.err == nil {
			select {
			case s.now = <-s.runs:
			default:
				return block{}, false
			}
		}
		s.next++
		if len(s.now.shards) == 0 {
			return block{err: s.now.err}, true
		}
		b := block{shard: s.now.shards[0], in: s.now.in}
		if s.now.shards = s.now.shards[1:]; len(s.now.shards) > 0 {
			b.in.refs++
		} else {
			s.now.in = nil
		}
		if s.next > stripe {
			return b, true
		}
		b.in.release()
	}
	return block{}, false
}

// stop ends the stream's goroutine without waiting for it.
func (s *stream) stop() {
	s.cancel()
	s.now.in.release()
	s.now = run{}
	for {
		select {
		case run := <-s.runs:
			run.in.release()
		default:
			return
		}
	}
}
