package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// avoidance remembers stores that failed, so that a dead or slow one costs one
// delay and not one per request. A store is avoided until it passes a trial.
type avoidance struct {
	trial   func(ctx context.Context, id layout.StoreID) error
	changed func() // may be nil
	log     *slog.Logger

	poke chan struct{} // asks for a round now

	mu     sync.Mutex
	stores map[layout.StoreID]bool
	round  chan struct{} // closed at the end of the next round
}

func newAvoidance(trial func(context.Context, layout.StoreID) error, changed func(), log *slog.Logger) *avoidance {
	if changed == nil {
		changed = func() {}
	}
	return &avoidance{
		trial: trial, changed: changed, log: log,
		poke: make(chan struct{}, 1), stores: make(map[layout.StoreID]bool), round: make(chan struct{}),
	}
}

const (
	trialInterval = 500 * time.Millisecond
	// trialTimeout is no more than a request waits for a straggler: a store that
	// takes longer would cost the next request that delay.
	trialTimeout = 500 * time.Millisecond
	// lastTrialTimeout bounds a trial without which a request is refused.
	lastTrialTimeout = 2 * time.Second
)

func (a *avoidance) add(id layout.StoreID, why error) {
	a.mu.Lock()
	fresh := !a.stores[id]
	a.stores[id] = true
	a.mu.Unlock()
	if fresh {
		a.log.Info("avoid store", "store", id, "err", why)
		a.changed()
	}
}

func (a *avoidance) has(id layout.StoreID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stores[id]
}

// run tries avoided stores until ctx ends.
func (a *avoidance) run(ctx context.Context) error {
	tick := time.NewTicker(trialInterval)
	defer tick.Stop()
	for {
		timeout := trialTimeout
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.poke:
			timeout = lastTrialTimeout
		}
		a.retry(ctx, timeout)
		a.mu.Lock()
		close(a.round)
		a.round = make(chan struct{})
		a.mu.Unlock()
	}
}

// recheck returns when the avoided stores have been tried once more, with more
// patience than usual.
func (a *avoidance) recheck(ctx context.Context) {
	a.mu.Lock()
	round := a.round
	a.mu.Unlock()
	select {
	case a.poke <- struct{}{}:
	default:
	}
	select {
	case <-round:
	case <-ctx.Done():
	}
}

func (a *avoidance) retry(ctx context.Context, timeout time.Duration) {
	a.mu.Lock()
	ids := slices.Collect(maps.Keys(a.stores))
	a.mu.Unlock()
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			if a.trial(ctx, id) != nil {
				return
			}
			a.mu.Lock()
			delete(a.stores, id)
			a.mu.Unlock()
			a.log.Info("store answers again", "store", id)
			a.changed()
		})
	}
	wg.Wait()
}

// trialWrite writes a chunk and removes it: a store that is slow only to make
// things durable must not pass. The chunk belongs to an attempt of its own, so
// no record will ever name it, even if it stays behind.
func trialWrite(ctx context.Context, s chunkstore.Store, id layout.AttemptID) error {
	chunk := layout.ChunkID{Attempt: id}
	w, err := s.Create(ctx, chunk, nil)
	if err != nil {
		return err
	}
	defer w.Abort() // does nothing after the commit
	if err := w.WriteBlock([]byte{0}); err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		return err
	}
	return s.Delete(ctx, chunk)
}

// trialRead asks a store for a chunk that does not exist: to be told so is to
// be answered.
func trialRead(ctx context.Context, s chunkstore.Store, id layout.AttemptID) error {
	if _, err := s.Stat(ctx, layout.ChunkID{Attempt: id}); !errors.Is(err, chunkstore.ErrNotFound) {
		return err
	}
	return nil
}
