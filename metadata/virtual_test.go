package metadata

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/history"
	"partstore/internal/testrand"
)

var (
	virtualDays = flag.Float64("virtual.days", 0.02, "virtual time of TestRegistryInVirtualTime, in days, all lives together")
	virtualSeed = flag.Uint64("virtual.seed", 0, "live the life of this seed alone")
)

// mustHit are the faults that a day does not pass without.
var mustHit = []string{
	"crashes", "crashes in the middle of writing", "crashes that tear", "power loss of all", "restart", "wiped disk",
	"isolation", "one-way cut", "partition", "storm", "calls cut", "dials cut", "messages lost", "calls repeated",
	"streams held", "streams reset", "streams repeated",
	"leadership transfer", "demotion", "clock jump forward", "clock jump back",
}

// The registry keeps its promises whatever the network, the disks and the
// clocks do: all that clients see is linearizable, and an upload that never was
// is never found. Once the faults end, the cluster becomes clean by itself: one
// leader, every node reads and writes, all copies are equal, and no goroutine is
// left behind.
func TestRegistryInVirtualTime(t *testing.T) {
	want := time.Duration(*virtualDays * 24 * float64(time.Hour))
	rng := testrand.New(t)
	hits := map[string]int{}
	var done time.Duration
	var mu sync.Mutex // of rng, hits and done
	next := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		return rng.Uint64(), done < want && !t.Failed()
	}
	live := func(t *testing.T, seed uint64) {
		lasted, hit := liveThrough(t, seed)
		mu.Lock()
		defer mu.Unlock()
		done += lasted
		for kind, n := range hit {
			hits[kind] += n
		}
	}
	t.Run("lives", func(t *testing.T) {
		if *virtualSeed != 0 {
			live(t, *virtualSeed)
			return
		}
		for cpu := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("cpu ", cpu), func(t *testing.T) {
				t.Parallel()
				for seed, ok := next(); ok; seed, ok = next() {
					t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { live(t, seed) })
				}
			})
		}
	})
	t.Logf("%s of virtual time", done.Round(time.Second))
	for _, kind := range mustHit {
		t.Logf("%8d  %s", hits[kind], kind)
		if hits[kind] == 0 && done >= 24*time.Hour {
			t.Errorf("no %s in %s of virtual time", kind, done)
		}
	}
}

// liveThrough is one world's life. It returns how long it lasted and how often
// each fault hit.
func liveThrough(t *testing.T, seed uint64) (lasted time.Duration, hits map[string]int) {
	real := time.Now()
	hits = map[string]int{}
	var operations []history.Operation
	asked := 0
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, seed, []time.Duration{1, 10, 60, 60}[rng.IntN(4)])
		w.calm = weather{delay: w.pace * time.Millisecond}
		w.net.setWeather(w.calm)
		w.form(3 + rng.IntN(4))
		s := &subjects{recorder: history.NewRecorder()}
		ctx, stop := context.WithCancel(t.Context())
		faulty, calm := context.WithTimeout(ctx, w.pace*5*time.Minute)
		defer calm()
		for i := range 2 * len(w.nodes) {
			seed := rng.Uint64()
			w.working.Go(func() { w.client(ctx, s, i, seed, w.pace*time.Second) })
		}
		w.haunt(faulty, rng)
		w.becomeClean() // and nothing else is going on but the clients
		stop()
		w.working.Wait()
		w.close()
		operations, asked, lasted = s.recorder.History(), s.asked, time.Since(w.begun)
		for _, h := range []map[string]int{w.hits, w.net.hits} {
			for kind, n := range h {
				hits[kind] += n
			}
		}
	})
	lived := time.Since(real)
	checkHistory(t, seed, operations)
	t.Logf("seed %d: %s virtual in %s, %d operations, checked in %s", seed, lasted.Round(time.Second), lived.Round(time.Millisecond),
		asked, (time.Since(real) - lived).Round(time.Millisecond))
	return lasted, hits
}

// becomeClean waits until the cluster is as if nothing had happened.
func (w *world) becomeClean() {
	w.t.Helper()
	w.net.setWeather(w.calm)
	w.within(time.Minute*w.pace, "single leader", func() bool { return len(w.leaders()) == 1 })
	for _, p := range w.running() {
		if _, err := p.Bucket(w.t.Context(), "b"); err != nil {
			w.t.Errorf("seed %d: read on %s after all has healed: %v", w.seed, p.node.id, err)
		}
		ref := newUpload(w.t, p, "b", "clean")
		if err := p.AbortUpload(w.t.Context(), ref); err != nil {
			w.t.Errorf("seed %d: write on %s after all has healed: %v", w.seed, p.node.id, err)
		}
	}
	w.within(time.Minute*w.pace, "equal copies", w.copiesAreEqual)
}

func (w *world) copiesAreEqual() bool {
	var want [32]byte
	index := uint64(0)
	for i, p := range w.running() {
		before := p.fsm.applied.load()
		h := hashOf(w.t, &testNode{Raft: p.Raft})
		if p.fsm.applied.load() != before {
			return false
		}
		if i == 0 {
			want, index = h, before
		}
		if before == index && h != want {
			w.t.Errorf("seed %d: at index %d two copies differ", w.seed, index)
		}
		if before != index {
			return false
		}
	}
	return true
}

// checkHistory prints the operations on keys that nothing explains.
func checkHistory(t *testing.T, seed uint64, operations []history.Operation) {
	t.Helper()
	byKey := map[string][]history.Operation{}
	for _, op := range operations {
		byKey[op.Input.Key] = append(byKey[op.Input.Key], op)
	}
	for key, ops := range byKey {
		verdict := history.Check(ops, time.Minute)
		if verdict.Linearizable {
			continue
		}
		var text strings.Builder
		for _, op := range ops {
			end := "never"
			if op.Return != history.Never {
				end = time.Duration(op.Return).String()
			}
			fmt.Fprintf(&text, "%s to %s, client %d: %s\n", time.Duration(op.Call), end, op.Client, op)
		}
		t.Errorf("seed %d: what was answered about %q cannot be (undecided: %t):\n%s", seed, key, verdict.Undecided, &text)
	}
}
