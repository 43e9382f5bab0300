package erasure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"partstore/internal/layout"
)

// ErrBusy reports that the memory for payloads is in use by other streams.
var ErrBusy = errors.New("no memory for the payload now")

// busyPatience is how long a stream waits for memory. It is short: a client
// that is told to come back costs nothing until then.
const busyPatience = 2 * time.Second

// budget bounds the memory of all streams together. Who asked first is served
// first.
type budget struct {
	total int64
	free  *semaphore.Weighted
}

func newBudget(total int64) budget { return budget{total, semaphore.NewWeighted(total)} }

// reserve waits for n bytes, or for all there are if that is less.
func (b *budget) reserve(ctx context.Context, n int64) (release func(), err error) {
	n = min(n, b.total)
	if !b.free.TryAcquire(n) {
		bounded, cancel := context.WithTimeout(ctx, busyPatience)
		defer cancel()
		if b.free.Acquire(bounded, n) != nil {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %d bytes are wanted", ErrBusy, n)
		}
	}
	return func() { b.free.Release(n) }, nil
}

// ReserveWrite waits for the memory that a write of size bytes takes at most, -1
// if the size is unknown, whatever scheme it is given. A write must not begin
// without; release gives it back. The error wraps ErrBusy or is that of ctx.
func (e *Engine) ReserveWrite(ctx context.Context, s layout.Scheme, size int64) (release func(), err error) {
	stripes := int64(inFlight)
	if size >= 0 {
		stripes = min(stripes, s.Stripes(size))
	}
	start := int64(s.StripeSize())
	if size >= 0 {
		start = min(start, size)
	}
	// A stripe, and as much again for what each chunk's writer collects.
	return e.memory.reserve(ctx, start+(stripes+1)*int64(s.Total())*layout.BlockSize)
}

// ReserveRead waits for the memory that reading length bytes takes at most, of
// parts of a scheme. While one part is read the next is being opened, hence two
// readers.
func (e *Engine) ReserveRead(ctx context.Context, s layout.Scheme, length int64) (release func(), err error) {
	const held = readRuns * readRun // blocks of a stream
	blocks := min(held*int64(s.Total()), length/layout.BlockSize+2)
	return e.memory.reserve(ctx, 2*blocks*layout.BlockSize)
}
