package erasure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// fleet is the lanes of one write. One goroutine drives it: it hands out work,
// waits, and gives up lanes that hold the others back.
type fleet struct {
	quorum int
	hedge  time.Duration
	stall  time.Duration
	report ReportFunc
	wake   chan struct{} // poked when a lane fell idle or died, or a stripe came home

	mu      sync.Mutex // guards what the lanes change
	lanes   []*lane
	slowest time.Duration // step of a lane that was not given up
}

// poke wakes the driver. A poke that finds one pending may be dropped: the
// driver looks at everything when it wakes.
func (f *fleet) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *fleet) good(l *lane) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return l.err == nil
}

// kill marks a lane as dead; the first cause stays.
func (f *fleet) kill(l *lane, err error) {
	f.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	f.mu.Unlock()
	f.poke()
}

// finished notes that a lane is done with so many operations.
func (f *fleet) finished(l *lane, operations int) {
	f.mu.Lock()
	l.done += operations
	now := time.Now()
	if l.err == nil {
		f.slowest = max(f.slowest, now.Sub(l.last))
	}
	l.last = now
	idle := l.idle()
	f.mu.Unlock()
	if idle {
		f.poke()
	}
}

// await returns when ready says so. While it waits it gives up stragglers. It
// fails when too few lanes are left or ctx ends.
func (f *fleet) await(ctx context.Context, ready func() bool) error {
	var tick *time.Ticker
	for {
		if err := f.check(); err != nil {
			return err
		}
		if ready() {
			// A lane may have died since the check above, and what is ready
			// without it may be too few.
			return f.check()
		}
		if tick == nil {
			tick = time.NewTicker(max(f.hedge/8, time.Millisecond))
			defer tick.Stop()
		}
		select {
		case <-f.wake:
		case now := <-tick.C:
			f.abandon(now)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// check reports lanes that died since it last looked, and fails if fewer than
// the quorum are left.
func (f *fleet) check() error {
	f.mu.Lock()
	good := 0
	var news []*lane
	var causes []error // by chunk index
	for _, l := range f.lanes {
		if l.err == nil {
			good++
			continue
		}
		causes = append(causes, fmt.Errorf("chunk %d: %w", l.index, l.err))
		if !l.reported {
			l.reported = true
			news = append(news, l)
		}
	}
	f.mu.Unlock()
	for _, l := range news {
		f.report(l.index, l.err)
	}
	if good < f.quorum {
		return fmt.Errorf("%d of %d chunks can be written, %d are needed: %w",
			good, len(f.lanes), f.quorum, errors.Join(append([]error{ErrWriteQuorum}, causes...)...))
	}
	return nil
}

// abandon gives up the lanes that hold the others back. Their goroutines are
// told to stop and may take their time: they keep the stripes they are writing,
// and only those.
func (f *fleet) abandon(now time.Time) {
	f.mu.Lock()
	var orphaned []*stripe
	for _, l := range stragglers(f.lanes, f.quorum, f.hedge, f.stall, now) {
		l.err = fmt.Errorf("%w for %s", ErrSlow, now.Sub(l.last).Round(time.Millisecond))
		l.cancel()
		for len(l.queue) > 0 {
			select {
			case st, open := <-l.queue:
				if open && st != nil {
					orphaned = append(orphaned, st)
				}
			default:
			}
		}
	}
	f.mu.Unlock()
	for _, st := range orphaned {
		st.release()
	}
}

// settled reports whether every good lane finished all it was given.
func (f *fleet) settled() bool {
	good, idle := f.count()
	return idle == good
}

// accepted reports whether a quorum of lanes finished all they were given.
func (f *fleet) accepted() bool {
	_, idle := f.count()
	return idle >= f.quorum
}

func (f *fleet) count() (good, idle int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lanes {
		if l.err == nil {
			good++
			if l.idle() {
				idle++
			}
		}
	}
	return good, idle
}

// mask has a bit for every good lane that finished all it was given.
func (f *fleet) mask() (m uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range f.lanes {
		if l.err == nil && l.idle() {
			m |= 1 << i
		}
	}
	return m
}

// send hands a stripe to every good lane, each with a reference of its own.
func (f *fleet) send(st *stripe) {
	f.eachGood(func(l *lane) {
		st.refs.Add(1)
		l.queue <- st
	})
}

// confirm asks every good lane whether its store takes the chunk.
func (f *fleet) confirm() { f.eachGood(func(l *lane) { l.queue <- nil }) }

// commit tells every good lane to commit.
func (f *fleet) commit() { f.eachGood(func(l *lane) { l.verdict <- struct{}{} }) }

// eachGood hands an operation to every good lane.
func (f *fleet) eachGood(hand func(*lane)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, l := range f.lanes {
		if l.err == nil {
			l.began(now)
			hand(l)
		}
	}
}

// dismiss ends all lanes: those not told to commit abort.
func (f *fleet) dismiss() {
	for _, l := range f.lanes {
		close(l.verdict)
		l.cancel()
	}
}
