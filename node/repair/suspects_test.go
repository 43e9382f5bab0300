package repair

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/metadata"
)

func suspect(n int) Suspect {
	return Suspect{Number: layout.PartNumber(n), Chunk: layout.ChunkID{Index: uint8(n)}}
}

// A chunk is queued once, however often it is met; the queue is bounded; and
// what was looked at comes again only after a while. Adding never waits, not
// even while nobody takes anything out.
func TestSuspectsAreQueuedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSuspects(3, time.Minute)
		for range 3 {
			for n := range 4 {
				s.Add(suspect(n)) // the fourth has no room
			}
		}
		var looked []Suspect
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- s.Run(ctx, func(_ context.Context, x Suspect) { looked = append(looked, x) })
		}()
		synctest.Wait()
		if want := []Suspect{suspect(0), suspect(1), suspect(2)}; !slices.Equal(looked, want) {
			t.Errorf("looked at %v, want %v", looked, want)
		}
		if s.Add(suspect(0)) || s.Add(suspect(3)) {
			t.Error("what was just looked at makes room, or comes again")
		}
		time.Sleep(time.Minute)
		if !s.Add(suspect(0)) || !s.Add(suspect(3)) {
			t.Error("nothing is let in after a while")
		}
		synctest.Wait()
		if len(looked) != 5 {
			t.Errorf("looked at %v", looked)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What a reader met is mended where it belongs, and nothing else is touched: not
// the chunk of another attempt, of no part, or of another store.
func TestOnlyWhatTheRecordNamesIsMended(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	p := b.put(r, 300_000)
	b.lose(p, 3, true)
	h := b.healer(3)
	id := p.Layout.Chunk(slices.Index(p.Layout.Slots, 3))
	other := id
	other.Attempt = layout.NewAttemptID(1, 0, 999)
	elsewhere := id
	elsewhere.Index = (id.Index + 1) % 6
	for _, x := range []Suspect{{p.Upload, 0, other}, {layout.NewUploadID(), 0, id}, {p.Upload, 1, id}, {p.Upload, 0, elsewhere}} {
		if err := h.Mend(t.Context(), x); err != nil || b.stores[3].replaced != 0 {
			t.Errorf("%+v: %v, %d replaced", x, err, b.stores[3].replaced)
		}
	}
	for range 2 {
		if err := h.Mend(t.Context(), Suspect{p.Upload, 0, id}); err != nil || b.stores[3].replaced != 1 {
			t.Errorf("%v, %d replaced", err, b.stores[3].replaced)
		}
	}
	b.checkWhole(r)
}

// A pause holds healing up at the next chunk and loses nothing of it; a throttle
// takes the place of the node's own bandwidth.
func TestPolicyIsFollowed(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	for range 3 {
		b.lose(b.put(r, 1000), 3, false)
	}
	b.policy = metadata.RepairPolicy{Paused: true}
	h := b.healer(3)
	ctx, stop := context.WithCancel(t.Context())
	b.asked = func() {
		if b.questions >= 2 {
			stop() // it has asked again, and still waits
		}
	}
	if healed, err := h.Sweep(ctx); !errors.Is(err, context.Canceled) || healed.Rebuilt > 0 {
		t.Fatalf("paused: %+v, %v", healed, err)
	}
	b.questions = 0
	b.asked = func() {
		if b.questions == 2 {
			b.policy.Paused = false
		}
	}
	if healed, err := h.Sweep(t.Context()); err != nil || healed.Rebuilt != 3 {
		t.Fatalf("resumed: %+v, %v", healed, err)
	}
	b.checkWhole(r)
	l := b.parts[0].Layout
	h.cfg.Bandwidth, b.policy.Bandwidth = 1<<40, 1000
	size := l.Scheme.ChunkSize(l.Size)
	for how, chunks := range map[outcome]int64{copied: 2, rebuilt: int64(l.Scheme.Data) + 1} {
		if got, want := h.takes(Moved(l, how == copied)), time.Duration(chunks*size)*time.Millisecond; got != want {
			t.Errorf("at 1,000 bytes a second a chunk of %d takes %s, want %s", size, got, want)
		}
	}
	b.policy.Total = 3000 // for six nodes, of which each moves up to 1,000
	if got, want := h.takes(1000), 2*time.Second; got != want {
		t.Errorf("at a sixth of 3,000 bytes a second 1,000 take %s, want %s", got, want)
	}
	fewer := b.view.Groups[0]
	fewer.Slots = append(slices.Clone(fewer.Slots[:5]), fewer.Slots[4])
	b.view = &layout.View{Stores: b.view.Stores, Groups: []layout.Group{fewer}}
	if got := h.takes(3000); got != 5*time.Second {
		t.Errorf("at a fifth of 3,000 bytes a second 3,000 take %s", got)
	}
}

// Events are told when something changes, not with every pass.
func TestHealerTellsChanges(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	b.lose(b.put(r, 1000), 3, false)
	h := b.healer(3)
	sweep := func() {
		if _, err := h.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		b.stores[i].away.Store(true)
	}
	sweep()
	sweep()
	for i := range 3 {
		b.stores[i].away.Store(false)
	}
	sweep()
	sweep()
	if want := []string{metadata.EventHealBlocked, metadata.EventRebuilt, metadata.EventHealClear}; !slices.Equal(b.told, want) {
		t.Errorf("told %v, want %v", b.told, want)
	}
}
