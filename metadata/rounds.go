package metadata

import (
	"context"
	"sync"
)

// rounds shares one question among many callers. A caller joins the round that
// has not begun yet, never the one that is under way: the answer it gets was
// asked for after it came.
type rounds[T any] struct {
	ctx  context.Context //nolint:containedctx // its life, not a call's
	ask  func(ctx context.Context) (T, error)
	wake chan struct{}

	mu   sync.Mutex
	next *round[T] // nil: nobody waits
}

type round[T any] struct {
	done   chan struct{}
	answer T
	err    error
}

// newRounds starts asking, one round at a time, until ctx ends.
func newRounds[T any](ctx context.Context, wg *sync.WaitGroup, ask func(context.Context) (T, error)) *rounds[T] {
	r := &rounds[T]{ctx: ctx, ask: ask, wake: make(chan struct{}, 1)}
	wg.Go(r.run)
	return r
}

func (r *rounds[T]) run() {
	for {
		select {
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
		r.mu.Lock()
		now := r.next
		r.next = nil
		r.mu.Unlock()
		if now != nil {
			now.answer, now.err = r.ask(r.ctx)
			close(now.done)
		}
	}
}

// join takes part in the next round.
func (r *rounds[T]) join(ctx context.Context) (T, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &round[T]{done: make(chan struct{})}
	}
	mine := r.next
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // already awake, and it looks at next after us
	}
	var zero T
	select {
	case <-mine.done:
		return mine.answer, mine.err
	case <-ctx.Done():
		return zero, ctx.Err()
	case <-r.ctx.Done():
		return zero, context.Cause(r.ctx)
	}
}
