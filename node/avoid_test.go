package node

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

func TestAvoidedStoreMustProveItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		var changes atomic.Int32
		broken.Store(true)
		a := newAvoidance(func(ctx context.Context, _ layout.StoreID) error {
			if broken.Load() {
				<-ctx.Done() // a frozen peer
				return ctx.Err()
			}
			return nil
		}, func() { changes.Add(1) }, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.run(ctx) }()

		id := layout.NewStoreID()
		a.add(id, errors.New("write failed"))
		a.add(id, errors.New("write failed"))
		if changes.Load() != 1 {
			t.Errorf("%d changes for one store avoided", changes.Load())
		}
		time.Sleep(10 * trialInterval)
		if !a.has(id) {
			t.Error("a store that fails its trial write is used again")
		}
		broken.Store(false)
		a.recheck(t.Context()) // the round under way may still fail
		a.recheck(t.Context())
		if a.has(id) || changes.Load() != 2 {
			t.Errorf("avoided %t after a good trial write, %d changes", a.has(id), changes.Load())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// stuck is a store that never finishes a commit.
type stuck struct{ chunkstore.Store }

type stuckWriter struct {
	chunkstore.Writer
	ctx context.Context
}

func (s stuck) Create(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error) {
	w, err := s.Store.Create(ctx, id, label)
	return stuckWriter{w, ctx}, err
}

func (w stuckWriter) Commit() error {
	<-w.ctx.Done()
	return w.ctx.Err()
}

func TestTrials(t *testing.T) {
	id := layout.NewAttemptID(1, 1, 1)
	memory := chunkstore.NewMemory()
	if err := errors.Join(trialWrite(t.Context(), memory, id), trialRead(t.Context(), memory, id)); err != nil {
		t.Error(err)
	}
	if left, err := memory.List(t.Context(), layout.ChunkID{}, 1); err != nil || len(left) != 0 {
		t.Errorf("a trial left %v, %v", left, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := trialWrite(ctx, stuck{memory}, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("trial of a store that takes everything and keeps nothing = %v", err)
	}
	if err := trialRead(ctx, memory, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("trial of a store that does not answer = %v", err)
	}
}
