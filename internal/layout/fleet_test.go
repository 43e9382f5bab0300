package layout

import (
	"slices"
	"testing"

	"partstore/internal/testrand"
)

// newFleet has n nodes with one or two stores each, in zones zones.
func newFleet(n, zones int, capacity func() int64) *Fleet {
	f := &Fleet{Places: map[StoreID]Candidate{}}
	for i := range n {
		f.add(i, zones, capacity())
	}
	return f
}

func (f *Fleet) add(i, zones int, capacity int64) Candidate {
	c := Candidate{Store: NewStoreID(), Node: NewNodeID(), Zone: string(rune('a' + i%zones)), CapacityBytes: capacity}
	f.Takers = append(f.Takers, c)
	f.Places[c.Store] = c
	return c
}

// checkSpread makes sure that every group is on nodes of its own and in as many
// zones as there are, as evenly as their nodes allow.
func (f *Fleet) checkSpread(t *testing.T, groups []Group, zones int) {
	t.Helper()
	for _, g := range groups {
		nodes, used := map[NodeID]bool{}, map[string]int{}
		for _, s := range g.Slots {
			nodes[f.Places[s].Node] = true
			used[f.Places[s].Zone]++
		}
		if len(nodes) != len(g.Slots) || len(used) != min(zones, len(g.Slots)) {
			t.Fatalf("group %d is on %d nodes in %d of %d zones", g.ID, len(nodes), len(used), zones)
		}
	}
}

// A store that is lost has its slots moved and no others; a node that comes gets
// its share and no slot moves twice or between old stores for it.
func TestMovementIsMinimal(t *testing.T) {
	r := testrand.New(t)
	for range 100 {
		zones := 1 + r.IntN(3)
		n := 9 + r.IntN(8)
		f := newFleet(n, zones, func() int64 { return 1 << 40 })
		groups, err := NewGroups(Scheme{4, 2}, f.Takers, GroupCount(n, 6))
		if err != nil {
			t.Fatal(err)
		}
		groups = Balanced(groups, f.Takers)
		f.checkSpread(t, groups, zones)
		if _, ok := f.Balance(groups); ok {
			t.Fatal("balanced groups are not balanced")
		}
		before := Holdings(groups)

		lost := f.Takers[r.IntN(n)]
		f.Takers = slices.DeleteFunc(f.Takers, func(c Candidate) bool { return c == lost })
		for i := range groups {
			slot := slices.Index(groups[i].Slots, lost.Store)
			if slot < 0 {
				continue
			}
			to, ok := f.Successor(Holdings(groups), groups[i], uint8(slot))
			if !ok {
				t.Fatalf("nobody takes slot %d of group %d", slot, i)
			}
			groups[i].Slots = slices.Clone(groups[i].Slots)
			groups[i].Slots[slot] = to
		}
		f.checkSpread(t, groups, zones)
		after := Holdings(groups)
		for _, c := range f.Takers {
			if after[c.Store] < before[c.Store] {
				t.Fatal("a store that was not lost lost a slot")
			}
		}
		if after[lost.Store] != 0 {
			t.Fatal("the lost store has slots")
		}

		fresh := f.add(slices.IndexFunc([]string{"a", "b", "c"}, func(z string) bool { return z == lost.Zone }), zones, 1<<40)
		moves, toFresh := 0, 0
		for c, ok := f.Balance(groups); ok; c, ok = f.Balance(groups) {
			g := &groups[c.Group.ID]
			if g.Slots[c.Slot] == fresh.Store {
				t.Fatal("the new store gives a slot away")
			}
			if moves++; c.To == fresh.Store {
				toFresh++
			}
			g.Slots = slices.Clone(g.Slots)
			g.Slots[c.Slot] = c.To
		}
		f.checkSpread(t, groups, zones)
		share, there := len(groups)*6/zones, 0 // of its zone: all groups use all zones alike
		for _, c := range f.Takers {
			if c.Zone == fresh.Zone {
				there++
			}
		}
		share /= there
		if held := Holdings(groups)[fresh.Store]; held < share-2 || held > share+1 || held != toFresh {
			t.Fatalf("the new store has %d slots of a share of %d", held, share)
		}
	}
}

// Where no node is free, nobody takes a slot.
func TestNobodyTakesASlotWithoutAFreeNode(t *testing.T) {
	f := newFleet(6, 1, func() int64 { return 1 << 40 })
	groups, err := NewGroups(Scheme{4, 2}, f.Takers, 32)
	if err != nil {
		t.Fatal(err)
	}
	second := Candidate{Store: NewStoreID(), Node: f.Takers[0].Node, Zone: "a", CapacityBytes: 1 << 40}
	f.Takers, f.Places[second.Store] = append(f.Takers, second), second
	of := func(c Candidate) uint8 { return uint8(slices.Index(groups[0].Slots, c.Store)) }
	if to, ok := f.Successor(Holdings(groups), groups[0], of(f.Takers[1])); ok {
		t.Errorf("store %s takes a slot beside another of its node", to)
	}
	if to, ok := f.Successor(Holdings(groups), groups[0], of(f.Takers[0])); !ok || to != second.Store {
		t.Errorf("the other store of the node does not take its slot: %s, %t", to, ok)
	}
}
