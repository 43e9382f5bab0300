package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"

	"partstore/internal/layout"
)

// Source says where the shards of one part are.
type Source struct {
	Scheme layout.Scheme
	Size   int64 // payload bytes of the part
	Open   OpenFunc
	Report ReportFunc // may be nil

	// Last has bit i set if chunk i should be tried only when the others do
	// not suffice: it was not durable at commit, or its store seems down.
	Last uint32
}

// Reader yields a byte range of one part. Not safe for concurrent use.
type Reader struct {
	ctx    context.Context
	cancel context.CancelFunc
	engine *Engine
	coder  Coder
	src    Source
	wake   chan struct{} // poked when a block arrived

	offset, end int64 // payload bytes still to be gathered
	last        int64 // stripe of the last byte

	streams []*stream // of the chunks being read, by index
	lost    []int64   // stripe at which a chunk failed last, or -1
	causes  []error   // why, by index

	held   []*buffer // with the blocks of the current stripe, by index
	shards [][]byte  // what is known of them
	pieces [][]byte  // payload gathered and not yet read
	err    error     // sticky
}

// Open returns a reader of length payload bytes from offset on, once the first
// stripe of them is in hand. The reader yields exactly those bytes or an error.
// It reads only the blocks the range needs: parity only where a data chunk is
// missing, damaged or slow. The error wraps ErrTooFewShards, joined with the
// causes, or is the cause of ctx.
func (e *Engine) Open(ctx context.Context, src Source, offset, length int64) (*Reader, error) {
	if offset < 0 || length < 0 || offset > src.Size-length {
		return nil, fmt.Errorf("range of %d bytes from %d of a part of %d bytes", length, offset, src.Size)
	}
	coder, err := e.coder(src.Scheme)
	if err != nil {
		return nil, err
	}
	if src.Report == nil {
		src.Report = func(int, error) {}
	}
	total := src.Scheme.Total()
	r := &Reader{
		engine: e, coder: coder, src: src, wake: make(chan struct{}, 1),
		offset: offset, end: offset + length,
		last:    (offset + length - 1) / int64(src.Scheme.StripeSize()),
		streams: make([]*stream, total),
		lost:    make([]int64, total),
		causes:  make([]error, total),
		held:    make([]*buffer, total),
		shards:  make([][]byte, total),
	}
	for i := range r.lost {
		r.lost[i] = -1
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if length == 0 {
		return r, nil
	}
	r.openData()
	if err := r.advance(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.pieces) == 0 {
			// Reading ahead is the streams' business: return what is there.
			if n > 0 {
				return n, nil
			}
			if err := r.advance(); err != nil {
				return 0, err
			}
		}
		got := copy(p[n:], r.pieces[0])
		n += got
		if r.pieces[0] = r.pieces[0][got:]; len(r.pieces[0]) == 0 {
			r.pieces = r.pieces[1:]
		}
	}
	return n, nil
}

// WriteTo implements io.WriterTo; it saves a copy.
func (r *Reader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		for len(r.pieces) > 0 {
			n, err := w.Write(r.pieces[0])
			written += int64(n)
			r.pieces[0] = r.pieces[0][n:]
			if err != nil {
				return written, err
			}
			r.pieces = r.pieces[1:]
		}
		if err := r.advance(); err != nil {
			if err == io.EOF {
				return written, nil
			}
			return written, err
		}
	}
}

// advance gathers the next stripe, or returns io.EOF after the last one.
func (r *Reader) advance() error {
	if r.err != nil {
		return r.err
	}
	r.letGo()
	if r.offset == r.end {
		return io.EOF
	}
	w := r.windowAt(r.offset)
	if r.err = r.gather(w); r.err != nil {
		return r.err
	}
	for i := w.lowest; i <= w.highest; i++ {
		base := i * w.shard
		piece := r.shards[i][max(w.from-base, 0):min(w.to-base, w.shard)]
		r.pieces = append(r.pieces, piece)
	}
	r.offset += int64(w.to - w.from)
	return nil
}

// window is the part of one stripe that a range covers.
type window struct {
	stripe          int64
	shard           int // length of its shards
	from, to        int // payload bytes wanted
	lowest, highest int // data shards that hold them
}

// windowAt returns the part of the range from offset on that lies in one stripe.
func (r *Reader) windowAt(offset int64) window {
	size := int64(r.src.Scheme.StripeSize())
	w := window{stripe: offset / size}
	w.shard = r.shardSize(w.stripe)
	w.from = int(offset % size)
	w.to = int(min(r.end-w.stripe*size, size))
	w.lowest, w.highest = w.from/w.shard, (w.to-1)/w.shard
	return w
}

// shardSize is the length of the shards of stripe s.
func (r *Reader) shardSize(s int64) int {
	size := int64(r.src.Scheme.StripeSize())
	return r.src.Scheme.ShardSize(int(min(r.src.Size-s*size, size)))
}

func (r *Reader) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// letGo returns the blocks of the current stripe.
func (r *Reader) letGo() {
	r.pieces = r.pieces[:0]
	for i, b := range r.held {
		b.release()
		r.held[i], r.shards[i] = nil, nil
	}
}

// Close stops reading; it may be called early and twice.
func (r *Reader) Close() error {
	r.cancel()
	for i, s := range r.streams {
		if s != nil {
			s.stop()
			r.streams[i] = nil
		}
	}
	r.letGo()
	if r.err == nil {
		r.err = errors.New("reader is closed")
	}
	return nil
}
