package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"

	"partstore/internal/layout"
)

// prefixSize is how much of a body Peek may look at without reading it away.
const prefixSize = 512 << 10

// Encoder writes one body. Write may be tried again, with other stores or
// another scheme, as long as Retryable says so. Close ends it. Not safe for
// concurrent use.
type Encoder struct {
	engine *Engine
	body   io.Reader
	prefix []byte // the start of the body, kept until a write quorum accepted it
	end    error  // what ended the body while the prefix was filled; io.EOF if it is whole
	spent  bool   // bytes beyond the prefix are gone
}

// NewEncoder returns an Encoder of body, which it does not touch yet.
func (e *Engine) NewEncoder(body io.Reader) *Encoder {
	return &Encoder{engine: e, body: body}
}

// Peek learns whether the body is longer than n bytes, at most 512 KiB. If it
// is not, size is its length and whole is true.
func (enc *Encoder) Peek(n int) (size int, whole bool, err error) {
	if n > prefixSize {
		return 0, false, fmt.Errorf("peek %d bytes: at most %d", n, prefixSize)
	}
	if err := enc.fill(n + 1); err != nil {
		return 0, false, err
	}
	return min(n, len(enc.prefix)), len(enc.prefix) <= n, nil
}

// Close gives the buffer of the body's start back. It leaves the body and what
// was written alone.
func (enc *Encoder) Close() {
	enc.spent = true
	enc.engine.putPrefix(enc.prefix)
	enc.prefix = nil
}

// Retryable reports whether Write can still start over.
func (enc *Encoder) Retryable() bool { return !enc.spent }

// fill extends the prefix to n bytes, or to the whole body if it is shorter.
func (enc *Encoder) fill(n int) error {
	if have := len(enc.prefix); enc.end == nil && have < n {
		grown := enc.engine.getPrefix(n)
		copy(grown, enc.prefix)
		enc.engine.putPrefix(enc.prefix)
		got, err := readFull(enc.body, grown[have:])
		enc.prefix, enc.end = grown[:have+got], err
	}
	return enc.failure()
}

// failure is what broke the body, if anything did.
func (enc *Encoder) failure() error {
	if enc.end == nil || enc.end == io.EOF {
		return nil
	}
	return fmt.Errorf("read body: %w", enc.end)
}

// readFull fills buf. Unlike io.ReadFull it passes errors on as they are: the
// io.ErrUnexpectedEOF of a body cut short must not look like the end of one.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var got int
		got, err = r.Read(buf[n:])
		n += got
	}
	return n, err
}

// Sink says how one Write stores the body.
type Sink struct {
	Scheme layout.Scheme
	Create CreateFunc // called once for every index, in parallel
	Report ReportFunc // may be nil
}

// Write reads the body to its end and writes its shards. It returns when every
// chunk has all its shards or was given up, and a write quorum is left; nothing
// is committed yet. Otherwise all chunks are aborted, and the error wraps
// ErrWriteQuorum, the body's error, or the cause of ctx.
//
// The context bounds the chunks' whole life, Commit included.
func (enc *Encoder) Write(ctx context.Context, sink Sink) (*Pending, error) {
	if enc.spent {
		return nil, errors.New("write: the body is spent")
	}
	coder, err := enc.engine.coder(sink.Scheme)
	if err != nil {
		return nil, err
	}
	if err := enc.fill(sink.Scheme.StripeSize() + 1); err != nil {
		return nil, err
	}
	w := enc.engine.startWrite(ctx, sink, coder)
	size, err := enc.pump(w)
	sum := w.endStripes()
	if err == nil {
		err = w.fleet.await(ctx, w.fleet.settled)
	}
	p := &Pending{Size: size, MD5: sum, write: w}
	if err != nil {
		p.Abort()
		return nil, err
	}
	w.reclaim()
	return p, nil
}

// pump moves the body through the stripes of w and returns its length.
func (enc *Encoder) pump(w *write) (size int64, err error) {
	rest := enc.prefix
	for end := false; !end; {
		st, err := w.stripe()
		if err != nil {
			return size, err
		}
		payload := st.buf[:w.scheme.StripeSize()]
		n := copy(payload, rest)
		rest = rest[n:]
		if n < len(payload) && enc.end == nil {
			got, err := enc.beyond(w, payload[n:])
			if err != nil {
				st.release()
				return size, err
			}
			n += got
		}
		end = enc.end != nil && len(rest) == 0
		size += int64(n)
		if err := w.put(st, n); err != nil {
			return size, err
		}
	}
	return size, nil
}

// beyond reads on where the prefix ends. From then on there is no way back, so
// a write quorum must have taken everything before.
func (enc *Encoder) beyond(w *write, buf []byte) (n int, err error) {
	if !enc.spent {
		w.fleet.confirm()
		if err := w.fleet.await(w.ctx, w.fleet.accepted); err != nil {
			return 0, err
		}
		enc.Close()
	}
	n, enc.end = readFull(enc.body, buf)
	return n, enc.failure()
}
