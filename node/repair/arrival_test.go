package repair

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/metadata"
)

func (b *healBench) SettleSlot(ctx context.Context, s metadata.SettledSlot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		i := slices.Index(p.Layout.Slots, s.Slot)
		if err := b.check(context.WithoutCancel(ctx), p.Layout, i); err != nil && p.Layout.IsDurable(i) {
			b.t.Errorf("slot %d is settled, and chunk %d is not there: %v", s.Slot, i, err)
		}
	}
	b.settled = append(b.settled, s)
	return nil
}

// fact is what the registry says, which the healer's view may be behind.
func (b *healBench) fact() []layout.Group {
	if b.actual != nil {
		return b.actual
	}
	return b.view.Groups
}

// move gives a slot a new store, and returns the former one.
func (b *healBench) move(slot uint8) *sickStore {
	g := b.view.Groups[0]
	g.Slots, g.Moves = slices.Clone(g.Slots), make([]layout.Move, len(g.Slots))
	g.Moves[slot] = layout.Move{Former: g.Slots[slot], Epoch: 7, At: 1}
	g.Slots[slot] = storeID(20 + int(slot))
	former := b.stores[slot]
	b.former[slot] = former
	b.stores[slot] = &sickStore{Replacer: chunkstore.NewMemory(), t: b.t, corrupt: map[layout.ChunkID]bool{}}
	b.view.Groups = []layout.Group{g}
	return former
}

// The new holder of a slot takes good chunks from the former one and makes the
// others anew, and only then is the slot settled.
func TestSlotArrivesAtItsNewStore(t *testing.T) {
	r := testrand.New(t)
	for name, tc := range map[string]struct {
		damaged int // chunks of the former holder
		away    bool
		copied  int
	}{
		"all good":       {0, false, 5},
		"some damaged":   {2, false, 3},
		"former is gone": {0, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newHealBench(t)
			for range 5 {
				b.put(r, 1+r.IntN(1<<19))
			}
			for i := range tc.damaged {
				b.lose(&b.parts[i], 2, true)
			}
			b.move(2).away.Store(tc.away)
			healed := b.sweep(2)
			want := []metadata.SettledSlot{{Group: 0, Slot: 2, Epoch: 7}}
			if healed.Rebuilt != 5 || healed.Copied != tc.copied || healed.Settled != 1 || !slices.Equal(b.settled, want) {
				t.Errorf("healed %+v, settled %v", healed, b.settled)
			}
			b.checkWhole(r)
		})
	}
}

// A slot that lacks a chunk is not settled; the next pass tries again.
func TestSlotThatLacksAChunkStaysUnsettled(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	for range 3 {
		b.put(r, 1<<18)
	}
	former := b.move(2)
	for _, s := range []*sickStore{former, b.stores[0], b.stores[1]} {
		s.away.Store(true)
	}
	if healed := b.sweep(2); healed.Left != 3 || healed.Settled != 0 || len(b.settled) != 0 {
		t.Fatalf("healed %+v, settled %v", healed, b.settled)
	}
	b.stores[0].away.Store(false)
	b.stores[1].away.Store(false)
	b.crash = true // the chunks come, and their records cannot say so
	b.parts[0].Layout.Durable &^= 1 << slices.Index(b.parts[0].Layout.Slots, 2)
	if healed := b.sweep(2); healed.Settled != 0 {
		t.Fatalf("healed %+v", healed)
	}
	b.crash = false
	if healed := b.sweep(2); healed.Settled != 1 {
		t.Fatalf("healed %+v", healed)
	}
	b.checkWhole(r)
}

// The former holder lets go after the grace period, and not if the registry has
// given it the slot again.
func TestFormerHolderLetsGoOfItsChunks(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	for range 4 {
		b.put(r, 1<<16)
	}
	old := b.view.Groups
	former := b.move(2)
	h := b.healerOf(2, storeID(2), former)
	letGo := func(want int, when string) {
		t.Helper()
		healed, err := h.Sweep(t.Context())
		if err != nil || healed.LetGo != want {
			t.Fatalf("%s: %+v, %v", when, healed, err)
		}
	}
	letGo(0, "before the slot is settled")
	b.sweep(2)
	g := b.view.Groups[0]
	g.Moves = slices.Clone(g.Moves)
	g.Moves[2].Former, g.Moves[2].Settled = layout.StoreID{}, 100
	b.view.Groups = []layout.Group{g}
	b.former = map[uint8]*sickStore{}
	b.now = 1099
	letGo(0, "within the grace period")
	b.now = 1100
	b.actual = old
	letGo(0, "when the slot is its own again")
	b.actual = nil
	former.letGo = true
	letGo(4, "after the grace period")
	letGo(0, "when they are gone")
	b.checkWhole(r)
}

// A slot that comes while a pass goes on is settled by another right after it: its
// parts lack a chunk.
func TestSlotThatComesDuringAPassWaitsForNoPause(t *testing.T) {
	r := testrand.New(t)
	synctest.Test(t, func(t *testing.T) {
		b := newHealBench(t)
		for range 5 {
			b.put(r, 1000)
		}
		b.move(2)
		h := b.healer(2)
		moved := Moved(b.parts[0].Layout, false)
		h.cfg.Bandwidth = moved // so a pass takes five seconds
		b.former[2].away.Store(true)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Run(ctx) }()
		time.Sleep(3 * time.Second)
		b.mu.Lock()
		first := b.view.Groups[0]
		second := layout.Group{ID: 1, Epoch: 7, Slots: first.Slots, Moves: first.Moves}
		b.view = &layout.View{Stores: b.view.Stores, Groups: []layout.Group{first, second}}
		b.mu.Unlock()
		time.Sleep(3 * time.Second)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if !slices.ContainsFunc(b.settled, func(s metadata.SettledSlot) bool { return s.Group == 1 }) {
			t.Errorf("after six seconds %v are settled", b.settled)
		}
	})
}
