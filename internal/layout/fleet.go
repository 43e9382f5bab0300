package layout

import (
	"cmp"
	"math"
	"slices"
)

// Fleet is the stores that hold slots or may: what is needed to give a slot
// another store and move nothing that need not be moved.
type Fleet struct {
	Takers []Candidate           // stores that may be given slots
	Places map[StoreID]Candidate // every store there is
}

// Change gives a slot of a group to another store.
type Change struct {
	Group Group
	Slot  uint8
	To    StoreID
}

// Successor chooses the store that takes over a slot: none of the group's, on a
// node of its own, if possible on none that still has the chunks of another slot, in
// the zone the group uses least, and of those the one with the fewest slots for its
// capacity; held says how many each has. ok is false if there is none.
func (f *Fleet) Successor(held map[StoreID]int, g Group, slot uint8) (to StoreID, ok bool) {
	nodes, zones := f.neighbours(g, slot)
	formers := map[NodeID]int{} // unsettled slots whose chunks may be on no other node
	for i := range g.Moves {
		if i != int(slot) && g.Unsettled(uint8(i)) {
			formers[f.Places[g.Moves[i].Former].Node]++
		}
	}
	best := Candidate{}
	better := func(c Candidate) bool {
		load := func(c Candidate) float64 { return float64(held[c.Store]+1) / weight(c) }
		return cmp.Or(
			cmp.Compare(formers[c.Node], formers[best.Node]),
			cmp.Compare(zones[c.Zone], zones[best.Zone]),
			cmp.Compare(load(c), load(best)),
			-cmp.Compare(rendezvous(g.ID, c), rendezvous(g.ID, best)),
		) < 0
	}
	for _, c := range f.Takers {
		if slices.Contains(g.Slots, c.Store) || nodes[c.Node] {
			continue
		}
		if !ok || better(c) {
			best, ok = c, true
		}
	}
	return best.Store, ok
}

// neighbours are the nodes and zones of a group's other slots.
func (f *Fleet) neighbours(g Group, slot uint8) (nodes map[NodeID]bool, zones map[string]int) {
	nodes, zones = map[NodeID]bool{}, map[string]int{}
	for i, s := range g.Slots {
		if i != int(slot) {
			nodes[f.Places[s].Node] = true
			zones[f.Places[s].Zone]++
		}
	}
	return nodes, zones
}

// Holdings are how many slots each store has.
func Holdings(groups []Group) map[StoreID]int {
	held := map[StoreID]int{}
	for _, g := range groups {
		for _, s := range g.Slots {
			held[s]++
		}
	}
	return held
}

func weight(c Candidate) float64 { return float64(max(c.CapacityBytes>>30, 1)) } // GiB

// Balance returns one change that brings the takers nearer to holding slots in
// the proportion of their capacities, from one that has too many to one that has
// too few; ok is false if there is none. Each change lowers the sum of slots² /
// capacity, so changes come to an end, and what the spread over nodes and zones
// gives a node is shared by its stores in proportion. It leaves groups alone that
// have an unsettled slot, and spreads none over fewer zones.
func (f *Fleet) Balance(groups []Group) (c Change, ok bool) {
	held := Holdings(groups)
	type load struct {
		Candidate
		gives, takes float64 // how much the sum falls by one slot less, and rises by one more, halved
	}
	richest := make([]load, len(f.Takers))
	for i, c := range f.Takers {
		richest[i] = load{c, (float64(held[c.Store]) - 0.5) / weight(c), (float64(held[c.Store]) + 0.5) / weight(c)}
	}
	poorest := slices.Clone(richest)
	slices.SortStableFunc(richest, func(a, b load) int { return cmp.Compare(b.gives, a.gives) })
	slices.SortStableFunc(poorest, func(a, b load) int { return cmp.Compare(a.takes, b.takes) })
	for _, rich := range richest {
		for _, poor := range poorest {
			if rich.gives <= poor.takes*(1+1e-9) { // the change would not bring them nearer
				break
			}
			if c, ok := f.change(groups, rich.Candidate, poor.Candidate); ok {
				return c, true
			}
		}
	}
	return Change{}, false
}

// change finds a slot that one store can give to another: of the groups where
// that is possible, the one the receiver suits best.
func (f *Fleet) change(groups []Group, from, to Candidate) (best Change, ok bool) {
	suits := math.Inf(-1)
	for _, g := range groups {
		slot := slices.Index(g.Slots, from.Store)
		if slot < 0 || slices.Contains(g.Slots, to.Store) || g.anyUnsettled() {
			continue
		}
		nodes, zones := f.neighbours(g, uint8(slot))
		if nodes[to.Node] || zones[to.Zone] > zones[from.Zone] {
			continue
		}
		if score := rendezvous(g.ID, to); score > suits {
			best, suits, ok = Change{Group: g, Slot: uint8(slot), To: to.Store}, score, true
		}
	}
	return best, ok
}

func (g Group) anyUnsettled() bool {
	return slices.ContainsFunc(g.Moves, func(m Move) bool { return !m.Former.IsZero() })
}

// Balanced applies changes until the candidates are balanced. It is for groups
// that hold nothing yet.
func Balanced(groups []Group, candidates []Candidate) []Group {
	f := Fleet{Takers: candidates, Places: map[StoreID]Candidate{}}
	for _, c := range candidates {
		f.Places[c.Store] = c
	}
	groups = slices.Clone(groups)
	for c, ok := f.Balance(groups); ok; c, ok = f.Balance(groups) {
		g := &groups[c.Group.ID]
		g.Slots = slices.Clone(g.Slots)
		g.Slots[c.Slot] = c.To
	}
	return groups
}
