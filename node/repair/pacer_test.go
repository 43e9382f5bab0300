package repair

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// However many stores are healed at the same time, together they keep to the
// bandwidth; one that comes later pays for nothing that is over.
func TestPacerIsForAllStoresTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := &Pacer{}, time.Now()
		ended := make(chan time.Duration, 3)
		for range 3 {
			go func() {
				if err := p.rest(t.Context(), began, time.Second); err != nil {
					t.Error(err)
				}
				ended <- time.Since(began)
			}()
		}
		for i := range 3 {
			if got := <-ended; got != time.Duration(i+1)*time.Second {
				t.Errorf("the chunk of %d was over after %s", i+1, got)
			}
		}
		time.Sleep(time.Minute)
		began = time.Now()
		if err := p.rest(t.Context(), began, time.Second); err != nil || time.Since(began) != time.Second {
			t.Errorf("a later one took %s, %v", time.Since(began), err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.rest(over, time.Now(), time.Second); err == nil {
			t.Error("rest goes on after its context ended")
		}
	})
}

// A large chunk is moved at the bandwidth all the way, not at full speed with a
// pause after it.
func TestEachBlockIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &healBench{}
		h := NewHealer(HealerConfig{Records: b, Bandwidth: 5 * layout.BlockSize})
		w, err := chunkstore.NewMemory().Create(t.Context(), layout.ChunkID{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		began, paced := time.Now(), h.paced(t.Context(), w, 5)
		for i := range 3 {
			time.Sleep(time.Second / 2) // the work for the block
			if err := paced.WriteBlock(make([]byte, layout.BlockSize)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != time.Duration(i+1)*time.Second {
				t.Errorf("block %d was moved after %s", i, took)
			}
		}
	})
}

// The bandwidth bounds chunks that are copied as it does those that are rebuilt.
func TestEveryWayToMakeAChunkIsPaced(t *testing.T) {
	r := testrand.New(t)
	for how, former := range map[outcome]bool{copied: true, rebuilt: false} {
		synctest.Test(t, func(t *testing.T) {
			b := newHealBench(t)
			for range 5 {
				b.put(r, 1000)
			}
			b.move(2).away.Store(!former)
			h := b.healer(2)
			h.cfg.Bandwidth = Moved(b.parts[0].Layout, former)
			began := time.Now()
			healed, err := h.Sweep(t.Context())
			if err != nil || healed.Rebuilt != 5 || healed.Copied > 0 != former {
				t.Errorf("outcome %d: %+v, %v", how, healed, err)
			}
			if took := time.Since(began); took != 5*time.Second {
				t.Errorf("outcome %d: five chunks, one a second, took %s", how, took)
			}
		})
	}
}

// A node makes no more chunks at a time than its share of the bound, on all of its
// stores together, and as many as that; another bound holds for those that wait.
func TestNoMoreIsMadeAtOnceThanMayBe(t *testing.T) {
	r := testrand.New(t)
	for _, tc := range []struct {
		bound, later uint64
		want         time.Duration // for twelve chunks that take 2 s each, the first of which begin by the first bound
	}{
		{0, 0, 2 * time.Second},    // all at once
		{13, 13, 12 * time.Second}, // six nodes, so two of this one
		{6, 6, 24 * time.Second},
		{1, 1, 24 * time.Second}, // one at least
		{6, 0, 3 * time.Second},  // noticed after a second
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newHealBench(t)
			for i := range 12 {
				b.lose(b.put(r, 1000), 3+i%2, false)
			}
			b.policy.AtOnce = tc.bound
			pacer, began := &Pacer{}, time.Now()
			time.AfterFunc(time.Second/2, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.policy.AtOnce = tc.later
			})
			var sweeps sync.WaitGroup
			for _, i := range []int{3, 4} {
				h := b.healer(i)
				h.cfg.Pacer, b.stores[i].takes = pacer, 2*time.Second
				sweeps.Go(func() {
					if healed, err := h.Sweep(t.Context()); err != nil || healed.Rebuilt != 6 {
						t.Errorf("bound %d: %+v, %v", tc.bound, healed, err)
					}
				})
			}
			sweeps.Wait()
			if took := time.Since(began).Round(time.Millisecond); took != tc.want || pacer.Making() != 0 {
				t.Errorf("bound %d, then %d: took %s, want %s; %d are being made", tc.bound, tc.later, took, tc.want, pacer.Making())
			}
		})
	}
}

// Time in which several chunks are rebuilt counts once.
func TestTimeSpentCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stopwatch
		first := s.start()
		time.Sleep(time.Second)
		second := s.start()
		time.Sleep(time.Second)
		first()
		time.Sleep(time.Second)
		second()
		time.Sleep(time.Second)
		if got := s.elapsed(); got != 3*time.Second {
			t.Errorf("%s", got)
		}
	})
}
