package control

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// takenOver is what an event is to say of slots that others took over, in no order.
func (f *fakeCluster) takenOver(moves []metadata.MoveSlot) (shares []string) {
	counts := map[layout.StoreID]int{}
	for _, m := range moves {
		counts[m.To]++
	}
	for s, n := range counts {
		shares = append(shares, fmt.Sprintf("%s (%d)", s, n))
	}
	return shares
}

// wantEvent wants one event more since the last call, of a store, or of none in
// particular, that says so.
func (f *fakeCluster) wantEvent(t *testing.T, id layout.StoreID, says ...string) {
	t.Helper()
	if len(f.events) != 1 || f.events[0].Kind != metadata.EventSlotsMove || f.events[0].Store != id {
		t.Fatalf("events %+v; want one of store %s", f.events, id)
	}
	for _, want := range says {
		if !strings.Contains(f.events[0].Reason, want) {
			t.Errorf("%q does not say %q", f.events[0].Reason, want)
		}
	}
	f.events = nil
}

// All moves with one reason are one event, with who gets how many slots; another
// decision about the store is another event.
func TestABurstOfMovesIsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 9)
		decide := func(state metadata.DutyState) {
			t.Helper()
			d := f.t.Duty(store(4))
			d.State, d.Auto = state, false
			if err := f.SetDuty(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			f.moves = nil
			f.run(t, 30*time.Minute)
		}
		f.run(t, time.Hour)
		if len(f.events)+len(f.moves) > 0 {
			t.Fatalf("events without a reason: %+v", f.events)
		}
		had := f.held(4)
		for _, state := range []metadata.DutyState{metadata.DutyDraining, metadata.DutyOut} {
			decide(state)
			if f.held(4) != 0 || len(f.moves) != had {
				t.Fatalf("%s: %d slots, %d moves for %d", state, f.held(4), len(f.moves), had)
			}
			f.wantEvent(t, store(4), append(f.takenOver(f.moves), fmt.Sprintf("%s: %d slots to ", state, had))...)
			decide(metadata.DutyIn)
			f.wantEvent(t, layout.StoreID{}, append(f.takenOver(f.moves), fmt.Sprintf("rebalance, new stores: 1: %d slots from ", len(f.moves)))...)
			had = f.held(4)
		}
	})
}

// What a new leader finds left to do is an event again, and says how much it is.
func TestANewLeaderTellsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 9)
		had := f.held(4)
		if err := f.SetDuty(t.Context(), metadata.Duty{Store: store(4), State: metadata.DutyDraining}); err != nil {
			t.Fatal(err)
		}
		f.run(t, 450*time.Millisecond)
		left := f.held(4)
		if left == 0 || left == had {
			t.Fatalf("%d slots of %d are left", left, had)
		}
		f.wantEvent(t, store(4), fmt.Sprintf(" %d slots", had))
		f.run(t, time.Hour)
		f.wantEvent(t, store(4), fmt.Sprintf(" %d slots", left))
	})
}

// A move of which the registry takes no event is not made.
func TestNoMoveWithoutItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 9)
		f.deaf = true
		f.fenced[store(4)] = true
		f.run(t, time.Hour)
		if len(f.moves) > 0 {
			t.Errorf("%d moves", len(f.moves))
		}
		f.deaf = false
		f.run(t, time.Hour)
		if f.held(4) > 0 || len(f.events) != 1 {
			t.Errorf("%d slots, events %+v", f.held(4), f.events)
		}
	})
}

// An event of very many stores is not longer than an event may be.
func TestAnEventNamesTheLargestShares(t *testing.T) {
	counts := map[layout.StoreID]int{}
	for i := 1; i <= 200; i++ {
		counts[store(i)] = 10_000 + i
	}
	got := shares(counts)
	if 2*len(got)+100 > metadata.MaxEventReason || !strings.HasPrefix(got, store(200).String()+" (10200), ") || !strings.HasSuffix(got, ", 192 more stores") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
