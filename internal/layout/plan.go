package layout

import (
	"cmp"
	"math"
	"slices"
)

// Plan is what a fleet and its groups come to when changes are applied one after
// the other. What it takes to choose the next is brought up to date by each, not
// counted anew.
type Plan struct {
	Groups []Group // as changed so far; ascending ID, dense from 0

	takers    []Candidate
	places    []place // takers first, in their order, then the other stores
	index     map[StoreID]int32
	zones     int       // all there are
	slots     [][]int32 // of each group, the places of its holders
	held      []int     // slots, by taker
	groups    [][]int32 // by taker, in no order; nil until Balance needs them
	successor ranking
	richest   ranking
	poorest   ranking
}

type place struct{ node, zone int32 }

// Plan begins a plan.
func (f *Fleet) Plan(groups []Group) *Plan {
	p := &Plan{
		Groups: slices.Clone(groups), takers: f.Takers,
		index: make(map[StoreID]int32, len(f.Places)), held: make([]int, len(f.Takers)),
	}
	nodes, zones := map[NodeID]int32{}, map[string]int32{}
	add := func(s StoreID, c Candidate) int32 {
		i := int32(len(p.places))
		p.index[s] = i
		p.places = append(p.places, place{number(nodes, c.Node), number(zones, c.Zone)})
		return i
	}
	for _, c := range f.Takers {
		add(c.Store, c)
	}
	place := func(s StoreID) int32 {
		if i, ok := p.index[s]; ok {
			return i
		}
		return add(s, f.Places[s])
	}
	p.slots = make([][]int32, len(groups))
	for i, g := range groups {
		p.slots[i] = make([]int32, len(g.Slots))
		for slot, s := range g.Slots {
			at := place(s)
			if p.slots[i][slot] = at; int(at) < len(p.held) {
				p.held[at]++
			}
		}
		for _, m := range g.Moves {
			if !m.Former.IsZero() {
				place(m.Former)
			}
		}
	}
	p.zones = len(zones)
	p.successor = newRanking(len(p.takers), p.load)
	return p
}

// number numbers keys in the order in which they come.
func number[K comparable](numbers map[K]int32, k K) int32 {
	n, ok := numbers[k]
	if !ok {
		n = int32(len(numbers))
		numbers[k] = n
	}
	return n
}

// Held is how many slots a taker has.
func (p *Plan) Held(s StoreID) int {
	if i, ok := p.index[s]; ok && int(i) < len(p.held) {
		return p.held[i]
	}
	return 0
}

// load is what a taker would have for its capacity with one slot more.
func (p *Plan) load(i int32) float64 { return float64(p.held[i]+1) / weight(p.takers[i]) }

// gives and takes are how much the sum of slots² / capacity falls by one slot
// less, and rises by one more, halved.
func (p *Plan) gives(i int32) float64 { return (float64(p.held[i]) - 0.5) / weight(p.takers[i]) }
func (p *Plan) takes(i int32) float64 { return (float64(p.held[i]) + 0.5) / weight(p.takers[i]) }

// Apply makes a change, of which only group, slot and receiver count.
func (p *Plan) Apply(c Change) {
	g := &p.Groups[c.Group.ID]
	from, to := p.slots[g.ID][c.Slot], p.index[c.To]
	g.Slots = slices.Clone(g.Slots)
	g.Slots[c.Slot] = c.To
	p.slots[g.ID][c.Slot] = to
	p.hold(from, -1)
	p.hold(to, 1)
	if p.groups == nil {
		return
	}
	p.groups[to] = append(p.groups[to], int32(g.ID))
	if int(from) < len(p.groups) {
		at := slices.Index(p.groups[from], int32(g.ID))
		p.groups[from] = slices.Delete(p.groups[from], at, at+1)
	}
}

func (p *Plan) hold(i int32, more int) {
	if int(i) >= len(p.held) {
		return
	}
	p.held[i] += more
	p.successor.set(i, p.load(i))
	if p.groups != nil {
		p.richest.set(i, -p.gives(i))
		p.poorest.set(i, p.takes(i))
	}
}

// Successor chooses the store that takes over a slot: none of the group's, on a
// node of its own, if possible on none that still has the chunks of another slot, in
// the zone the group uses least, and of those one with the fewest slots for its
// capacity. ok is false if there is none.
func (p *Plan) Successor(group GroupID, slot uint8) (to StoreID, ok bool) {
	g := p.Groups[group]
	zones := map[int32]int{} // that the other slots use
	for i, s := range p.slots[group] {
		if i != int(slot) {
			zones[p.places[s].zone]++
		}
	}
	formers := map[int32]int{} // unsettled slots whose chunks may be on no other node
	for i := range g.Moves {
		if i != int(slot) && g.Unsettled(uint8(i)) {
			formers[p.places[p.index[g.Moves[i].Former]].node]++
		}
	}
	for f := range len(g.Slots) {
		for z := range len(g.Slots) {
			if !p.someZone(zones, z) {
				continue
			}
			i, ok := p.successor.first(mix(uint64(group), uint64(slot)), func(i int32) bool {
				at := p.places[i]
				return zones[at.zone] == z && formers[at.node] == f && p.free(group, int(slot), i)
			})
			if ok {
				return p.takers[i].Store, true
			}
		}
		if len(formers) == 0 {
			break
		}
	}
	return StoreID{}, false
}

// someZone reports whether any zone is used by so many.
func (p *Plan) someZone(zones map[int32]int, used int) bool {
	if used == 0 {
		return len(zones) < p.zones
	}
	for _, n := range zones {
		if n == used {
			return true
		}
	}
	return false
}

// free reports whether a taker has no slot of the group, nor, but for the one
// slot, its node.
func (p *Plan) free(group GroupID, slot int, taker int32) bool {
	for i, s := range p.slots[group] {
		if s == taker || i != slot && p.places[s].node == p.places[taker].node {
			return false
		}
	}
	return true
}

// Balance returns one change that brings the takers nearer to holding slots in
// the proportion of their capacities, from one that has too many to one that has
// too few; ok is false if there is none. Each change lowers the sum of slots² /
// capacity, so changes come to an end, and what the spread over nodes and zones
// gives a node is shared by its stores in proportion. It leaves groups alone that
// have an unsettled slot, and spreads none over fewer zones.
func (p *Plan) Balance() (c Change, ok bool) {
	if p.groups == nil {
		p.ready()
	}
	for _, rich := range p.richest.order {
		for _, poor := range p.poorest.order {
			if p.gives(rich) <= p.takes(poor)*(1+1e-9) { // the change would not bring them nearer
				break
			}
			if c, ok := p.change(rich, poor); ok {
				return c, true
			}
		}
	}
	return Change{}, false
}

// ready makes what only Balance needs.
func (p *Plan) ready() {
	p.groups = make([][]int32, len(p.takers))
	for i := range p.groups {
		p.groups[i] = make([]int32, 0, p.held[i])
	}
	for g, slots := range p.slots {
		for _, s := range slots {
			if int(s) < len(p.groups) {
				p.groups[s] = append(p.groups[s], int32(g))
			}
		}
	}
	p.richest = newRanking(len(p.takers), func(i int32) float64 { return -p.gives(i) })
	p.poorest = newRanking(len(p.takers), p.takes)
}

// change finds a slot that one store can give to another: of the groups where
// that is possible, the one the receiver suits best.
func (p *Plan) change(from, to int32) (best Change, ok bool) {
	suits := math.Inf(-1)
	for _, id := range p.groups[from] {
		g := p.Groups[id]
		slot := slices.Index(p.slots[id], from)
		if !p.free(g.ID, slot, to) || p.crowds(g.ID, slot, from, to) || g.anyUnsettled() {
			continue
		}
		score := rendezvous(g.ID, p.takers[to])
		if score > suits || score == suits && g.ID < best.Group.ID {
			best, suits, ok = Change{Group: g, Slot: uint8(slot), To: p.takers[to].Store}, score, true
		}
	}
	return best, ok
}

// crowds reports whether the other slots use the receiver's zone more than the
// giver's.
func (p *Plan) crowds(group GroupID, slot int, from, to int32) bool {
	more := 0
	for i, s := range p.slots[group] {
		if i == slot {
			continue
		}
		if p.places[s].zone == p.places[to].zone {
			more++
		}
		if p.places[s].zone == p.places[from].zone {
			more--
		}
	}
	return more > 0
}

// ranking keeps numbers in the order of their keys, equal ones in their own.
type ranking struct {
	order []int32
	key   []float64
}

func newRanking(n int, key func(int32) float64) ranking {
	r := ranking{order: make([]int32, n), key: make([]float64, n)}
	for i := range r.order {
		r.order[i], r.key[i] = int32(i), key(int32(i))
	}
	slices.SortFunc(r.order, r.compare)
	return r
}

func (r *ranking) compare(a, b int32) int {
	return cmp.Or(cmp.Compare(r.key[a], r.key[b]), cmp.Compare(a, b))
}

// set gives a number another key.
func (r *ranking) set(i int32, key float64) {
	from, _ := slices.BinarySearchFunc(r.order, i, r.compare)
	before := r.key[i] > key
	r.key[i] = key
	if before {
		to, _ := slices.BinarySearchFunc(r.order[:from], i, r.compare)
		copy(r.order[to+1:from+1], r.order[to:from])
		r.order[to] = i
		return
	}
	to, _ := slices.BinarySearchFunc(r.order[from+1:], i, r.compare)
	copy(r.order[from:from+to], r.order[from+1:])
	r.order[from+to] = i
}

// first is a number with the lowest key that will do. The seed says where to
// begin among those with the same key.
func (r *ranking) first(seed uint64, will func(int32) bool) (int32, bool) {
	for low := 0; low < len(r.order); {
		key := r.key[r.order[low]]
		n, _ := slices.BinarySearchFunc(r.order[low:], key, func(i int32, key float64) int {
			if r.key[i] <= key {
				return -1
			}
			return 1
		})
		same := r.order[low : low+n]
		start := int(seed % uint64(n))
		for k := range same {
			if i := same[(start+k)%n]; will(i) {
				return i, true
			}
		}
		low += n
	}
	return 0, false
}
