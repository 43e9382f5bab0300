package layout

import (
	"slices"
	"testing"

	"partstore/internal/testrand"
)

// newFleet has n nodes with one store each, in zones zones.
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

// Balance returns the next change of a plan for these groups.
func (f *Fleet) Balance(groups []Group) (c Change, ok bool) { return f.Plan(groups).Balance() }

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
			to, ok := f.Plan(groups).Successor(GroupID(i), uint8(slot))
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
	if to, ok := f.Plan(groups).Successor(0, of(f.Takers[1])); ok {
		t.Errorf("store %s takes a slot beside another of its node", to)
	}
	if to, ok := f.Plan(groups).Successor(0, of(f.Takers[0])); !ok || to != second.Store {
		t.Errorf("the other store of the node does not take its slot: %s, %t", to, ok)
	}
}

// Whatever stores nodes have and lose, a node holds one slot of a group at most,
// and the stores of a node share what it holds by capacity.
func TestStoresOfANodeShareItsSlots(t *testing.T) {
	r := testrand.New(t)
	for range 20 {
		f := &Fleet{Places: map[StoreID]Candidate{}}
		n := 6 + r.IntN(3)
		for range n {
			node := NewNodeID()
			for range 1 + r.IntN(3) {
				c := Candidate{Store: NewStoreID(), Node: node, Zone: "a", CapacityBytes: 1 << (40 + r.IntN(3))}
				f.Takers, f.Places[c.Store] = append(f.Takers, c), c
			}
		}
		groups, err := NewGroups(Scheme{4, 2}, f.Takers, GroupCount(len(f.Takers), 6))
		if err != nil {
			t.Fatal(err)
		}
		groups = Balanced(groups, f.Takers)
		f.checkSpread(t, groups, 1)
		f.checkShares(t, groups)
		for range 3 { // one lost store after the other
			lost := f.Takers[r.IntN(len(f.Takers))]
			f.Takers = slices.DeleteFunc(f.Takers, func(c Candidate) bool { return c == lost })
			for i := range groups {
				if slot := slices.Index(groups[i].Slots, lost.Store); slot >= 0 {
					if to, ok := f.Plan(groups).Successor(GroupID(i), uint8(slot)); ok {
						groups[i].Slots = slices.Clone(groups[i].Slots)
						groups[i].Slots[slot] = to
					}
				}
			}
			f.checkSpread(t, groups, 1)
		}
		for c, ok := f.Balance(groups); ok; c, ok = f.Balance(groups) {
			g := &groups[c.Group.ID]
			g.Slots = slices.Clone(g.Slots)
			g.Slots[c.Slot] = c.To
		}
		f.checkSpread(t, groups, 1)
		f.checkShares(t, groups)
	}
}

// checkShares makes sure that no store would be nearer to another of its node
// with one slot of it more.
func (f *Fleet) checkShares(t *testing.T, groups []Group) {
	t.Helper()
	held := Holdings(groups)
	for _, a := range f.Takers {
		for _, b := range f.Takers {
			gives, takes := float64(held[a.Store]-1)/weight(a), float64(held[b.Store]+1)/weight(b)
			if a.Node == b.Node && gives > takes {
				t.Fatalf("of two stores of a node, one of weight %.0f has %d slots, one of %.0f has %d", weight(a), held[a.Store], weight(b), held[b.Store])
			}
		}
	}
}

// While a slot is under way, its chunks may be on its former holder's node alone:
// another slot goes there only if there is no other node.
func TestASlotKeepsOffTheChunksOfAnother(t *testing.T) {
	f := newFleet(8, 1, func() int64 { return 1 << 40 })
	groups, err := NewGroups(Scheme{4, 2}, f.Takers[:6], 1)
	if err != nil {
		t.Fatal(err)
	}
	g, former := groups[0], f.Takers[6]
	second := Candidate{Store: NewStoreID(), Node: former.Node, Zone: "a", CapacityBytes: 1 << 44}
	f.Places[second.Store] = second
	f.Takers = []Candidate{second, f.Takers[7]}
	g.Moves = make([]Move, 6)
	g.Moves[0] = Move{Former: former.Store, Epoch: 2}
	if to, ok := f.Plan([]Group{g}).Successor(0, 1); !ok || to != f.Takers[1].Store {
		t.Errorf("slot 1 goes to %s, %t; the other node is free", to, ok)
	}
	if to, ok := f.Plan([]Group{g}).Successor(0, 0); !ok || to != second.Store {
		t.Errorf("slot 0 goes to %s, %t; its own chunks are there", to, ok)
	}
	f.Takers = f.Takers[:1]
	if to, ok := f.Plan([]Group{g}).Successor(0, 1); !ok || to != second.Store {
		t.Errorf("slot 1 goes to %s, %t; there is one node only", to, ok)
	}
}
