package control

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// fakeCluster is a registry and nodes that answer or do not.
type fakeCluster struct {
	t       metadata.Topology
	version uint64
	silent  map[layout.NodeID]bool // does not answer, and gossip has lost it
	flaps   bool                   // node 2 comes and goes every 20 seconds
	fenced  map[layout.StoreID]bool
	missing map[layout.StoreID]bool
	moves   []metadata.MoveSlot
	events  []metadata.Event
	deaf    bool // takes no events
}

func node(i int) layout.NodeID   { return layout.NodeID{byte(i)} }
func store(i int) layout.StoreID { return layout.StoreID{byte(i)} }

// newFakeCluster has n nodes of one store each in zones of three, and groups of
// 4+2.
func newFakeCluster(t *testing.T, n int) *fakeCluster {
	f := &fakeCluster{t: metadata.Topology{Scheme: layout.Scheme{Data: 4, Parity: 2}}, silent: map[layout.NodeID]bool{}, fenced: map[layout.StoreID]bool{}, missing: map[layout.StoreID]bool{}}
	var candidates []layout.Candidate
	for i := 1; i <= n; i++ {
		f.add(i, string(rune('a'+i%3)), string(rune('A'+i)))
		candidates = append(candidates, layout.Candidate{Store: store(i), Node: node(i), Zone: f.t.Stores[i-1].Zone})
	}
	groups, err := layout.NewGroups(f.t.Scheme, candidates, 32)
	if err != nil {
		t.Fatal(err)
	}
	f.t.Groups = layout.Balanced(groups, candidates)
	return f
}

func (f *fakeCluster) add(i int, zone, name string) {
	f.t.Members = append(f.t.Members, metadata.Member{ID: node(i), Name: name, Zone: zone, Incarnation: layout.Incarnation(i)})
	f.t.Stores = append(f.t.Stores, metadata.Store{ID: store(i), Node: node(i), Zone: zone})
	f.version++
}

func (f *fakeCluster) LocalTopology() (metadata.Topology, uint64) { return f.t, f.version }

func (f *fakeCluster) SetDuty(_ context.Context, d metadata.Duty) error {
	if f.t.Duty(d.Store).Version != d.Version {
		return metadata.ErrDutyChanged
	}
	duties := []metadata.Duty{}
	for _, old := range f.t.Duties {
		if old.Store != d.Store {
			duties = append(duties, old)
		}
	}
	d.Version++
	f.t.Duties = append(duties, d)
	f.version++
	return nil
}

// MoveSlot moves a slot; it settles at once.
func (f *fakeCluster) MoveSlot(_ context.Context, s metadata.MoveSlot) error {
	groups := append([]layout.Group(nil), f.t.Groups...)
	g := &groups[s.Group]
	if g.Epoch != s.Epoch {
		return metadata.ErrSlotChanged
	}
	g.Epoch++
	g.Slots = append([]layout.StoreID(nil), g.Slots...)
	g.Slots[s.Slot] = s.To
	f.t.Groups, f.moves = groups, append(f.moves, s)
	f.version++
	return nil
}

func (f *fakeCluster) RecordEvents(_ context.Context, _ layout.RequestID, events []metadata.Event) error {
	if f.deaf {
		return metadata.ErrUnavailable
	}
	f.events = append(f.events, events...)
	return nil
}

func (f *fakeCluster) isSilent(n layout.NodeID) bool {
	return f.silent[n] || f.flaps && n == node(2) && time.Now().Unix()/20%2 == 0
}

func (f *fakeCluster) held(i int) (n int) {
	for _, g := range f.t.Groups {
		for _, s := range g.Slots {
			if s == store(i) {
				n++
			}
		}
	}
	return n
}

// run has a controller decide for a while, in the time of a bubble.
func (f *fakeCluster) run(t *testing.T, d time.Duration) {
	t.Helper()
	c := New(Config{
		Registry: f, Leads: func() bool { return true },
		Ask: func(_ context.Context, n layout.NodeID) (Report, error) {
			if f.isSilent(n) {
				return Report{}, errors.New("no answer")
			}
			var r Report
			for _, s := range f.t.Stores {
				if s.Node == n && f.fenced[s.ID] {
					r.Fenced = append(r.Fenced, s.ID)
				}
				if s.Node == n && f.missing[s.ID] {
					r.Missing = append(r.Missing, s.ID)
				}
			}
			return r, nil
		},
		Gossips: func(n layout.NodeID) bool { return !f.isSilent(n) },
		Grace:   10 * time.Minute, Pace: 100 * time.Millisecond, Moves: 4, Rebalance: true, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAbsenceBecomesOutAfterTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 9)
		f.silent[node(2)] = true
		f.run(t, 9*time.Minute)
		if len(f.t.Duties)+len(f.moves) != 0 {
			t.Fatalf("decided within the grace period: %+v, %d moves", f.t.Duties, len(f.moves))
		}
		had := f.held(2)
		f.run(t, 15*time.Minute) // another leader, that starts anew
		if d := f.t.Duty(store(2)); d.State != metadata.DutyOut || !d.Auto || f.held(2) != 0 || len(f.moves) != had {
			t.Errorf("duty %+v; it holds %d slots, had %d, %d moves", d, f.held(2), had, len(f.moves))
		}
		f.silent[node(2)] = false
		f.run(t, 20*time.Minute)
		if d := f.t.Duty(store(2)); d.State != metadata.DutyIn || f.held(2) < had-2 {
			t.Errorf("after it came back: %+v, %d slots of %d", d, f.held(2), had)
		}
	})
}

// A drive that is missing is a store that is absent: it is out after the grace
// period, its slots go to the node's other drive too, and it comes back as a node does.
func TestAMissingDriveIsOutAfterTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 6) // no spare node
		f.t.Stores = append(f.t.Stores, metadata.Store{ID: store(7), Node: node(2), Zone: f.t.Stores[1].Zone})
		f.run(t, time.Minute) // the second drive of node 2 gets its share
		had := f.held(2)
		if had == 0 || f.held(7) == 0 {
			t.Fatalf("the drives of node 2 hold %d and %d slots", had, f.held(7))
		}
		f.moves = nil
		f.missing[store(2)] = true
		f.run(t, 9*time.Minute)
		if len(f.t.Duties)+len(f.moves) != 0 {
			t.Fatalf("decided within the grace period: %+v, %d moves", f.t.Duties, len(f.moves))
		}
		f.run(t, 15*time.Minute)
		if d := f.t.Duty(store(2)); d.State != metadata.DutyOut || !d.Auto || f.held(2) != 0 || len(f.moves) != had {
			t.Errorf("duty %+v; it holds %d slots, had %d, %d moves", d, f.held(2), had, len(f.moves))
		}
		f.run(t, 30*time.Minute)
		if d := f.t.Duty(store(2)); d.State != metadata.DutyOut || d.Version != 1 {
			t.Errorf("a store that is missing is %+v", d)
		}
		delete(f.missing, store(2))
		f.run(t, 20*time.Minute)
		if d := f.t.Duty(store(2)); d.State != metadata.DutyIn || f.held(2) == 0 {
			t.Errorf("after it came back: %+v, %d slots", d, f.held(2))
		}
	})
}

func TestFlappingMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 9)
		f.flaps = true
		f.run(t, 29*time.Minute)
		if len(f.t.Duties)+len(f.moves) != 0 {
			t.Errorf("decided %+v, %d moves", f.t.Duties, len(f.moves))
		}
	})
}

func TestSureLossesAreOutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 9)
		f.fenced[store(3)] = true
		f.silent[node(2)] = true
		f.add(10, f.t.Stores[1].Zone, f.t.Members[1].Name) // node 2 with an empty directory
		f.run(t, time.Minute)
		if d := f.t.Duty(store(2)); d.State != metadata.DutyDead || f.held(2) != 0 {
			t.Errorf("wiped store: %+v, %d slots", d, f.held(2))
		}
		if d := f.t.Duty(store(3)); d.State != metadata.DutyOut || f.held(3) != 0 {
			t.Errorf("fenced store: %+v, %d slots", d, f.held(3))
		}
		if f.held(10) == 0 {
			t.Error("the new store holds nothing")
		}
	})
}

func TestTooMuchAbsenceIsLeftToOperators(t *testing.T) {
	for name, silent := range map[string][]int{
		"a whole zone":                    {3, 6, 9},
		"more than the scheme survives":   {1, 2, 3},
		"no nodes for all slots are left": {1, 2, 3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster(t, 9)
				for _, i := range silent {
					f.silent[node(i)] = true
				}
				f.run(t, 30*time.Minute)
				if len(f.t.Duties)+len(f.moves) != 0 {
					t.Errorf("decided %+v, %d moves", f.t.Duties, len(f.moves))
				}
			})
		})
	}
}

func TestOperatorsWordStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 9)
		if err := f.SetDuty(t.Context(), metadata.Duty{Store: store(4), State: metadata.DutyDraining, Reason: "by hand"}); err != nil {
			t.Fatal(err)
		}
		had := f.held(4)
		f.run(t, 30*time.Minute)
		if d := f.t.Duty(store(4)); d.State != metadata.DutyDraining || d.Version != 1 || f.held(4) != 0 || len(f.moves) != had {
			t.Errorf("duty %+v, %d slots, %d moves for %d", d, f.held(4), len(f.moves), had)
		}
	})
}
