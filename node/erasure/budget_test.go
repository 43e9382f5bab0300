package erasure

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/layout"
)

func TestMemoryIsSharedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		first, err := b.reserve(t.Context(), 100) // all there is
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := b.reserve(t.Context(), 1); !errors.Is(err, ErrBusy) || time.Since(began) != busyPatience {
			t.Errorf("reserve = %v after %s, want %v after %s", err, time.Since(began), ErrBusy, busyPatience)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.reserve(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("reserve for one who left = %v", err)
		}
		// A large one that waits is not overtaken by small ones.
		order := make(chan int64, 2)
		for _, n := range []int64{9, 2} {
			go func() {
				release, err := b.reserve(t.Context(), n)
				if err != nil {
					t.Error(err)
					return
				}
				order <- n
				release()
			}()
			synctest.Wait()
		}
		first()
		if got := <-order; got != 9 {
			t.Errorf("%d bytes were served first", got)
		}
		<-order
	})
}

// TestReservationsDoNotGrowWithThePart checks that what is asked for depends on
// the scheme, not on the size, from a few stripes on.
func TestReservationsDoNotGrowWithThePart(t *testing.T) {
	s := layout.Scheme{Data: 4, Parity: 2}
	cost := func(reserve func(e *Engine) (func(), error)) int64 {
		e := New(Config{Memory: 1 << 40})
		release, err := reserve(e)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		for free := int64(1) << 40; free > 0; free -= 1 << 10 {
			if e.memory.free.TryAcquire(free) {
				return 1<<40 - free
			}
			if 1<<40-free > 64<<20 {
				break
			}
		}
		t.Fatal("more than 64 MiB are reserved")
		return 0
	}
	write := func(size int64) int64 {
		return cost(func(e *Engine) (func(), error) { return e.ReserveWrite(t.Context(), s, size) })
	}
	read := func(size int64) int64 {
		return cost(func(e *Engine) (func(), error) { return e.ReserveRead(t.Context(), s, size) })
	}
	if small, large := write(64<<10), write(16<<20); small >= large || large > 4<<20 {
		t.Errorf("a write of 64 KiB reserves %d bytes, of 16 MiB %d", small, large)
	}
	if large, huge, unknown := write(16<<20), write(5<<30), write(-1); large != huge || huge != unknown {
		t.Errorf("writes reserve %d, %d, %d bytes", large, huge, unknown)
	}
	if small, large, huge := read(1), read(16<<20), read(5<<30); small >= large || large != huge || large > 4<<20 {
		t.Errorf("reads reserve %d, %d, %d bytes", small, large, huge)
	}
}
