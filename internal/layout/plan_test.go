package layout

import (
	"cmp"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"partstore/internal/testrand"
)

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

// neighbours are the nodes and zones of a group's other slots.
func (f *Fleet) neighbours(g Group, slot int) (nodes map[NodeID]bool, zones map[string]int) {
	nodes, zones = map[NodeID]bool{}, map[string]int{}
	for i, s := range g.Slots {
		if i != slot {
			nodes[f.Places[s].Node] = true
			zones[f.Places[s].Zone]++
		}
	}
	return nodes, zones
}

// slowBalance is what Plan.Balance does, counted anew.
func (f *Fleet) slowBalance(groups []Group) (Change, bool) {
	held := Holdings(groups)
	gives := func(c Candidate) float64 { return (float64(held[c.Store]) - 0.5) / weight(c) }
	takes := func(c Candidate) float64 { return (float64(held[c.Store]) + 0.5) / weight(c) }
	richest, poorest := slices.Clone(f.Takers), slices.Clone(f.Takers)
	slices.SortStableFunc(richest, func(a, b Candidate) int { return cmp.Compare(gives(b), gives(a)) })
	slices.SortStableFunc(poorest, func(a, b Candidate) int { return cmp.Compare(takes(a), takes(b)) })
	for _, from := range richest {
		for _, to := range poorest {
			if gives(from) <= takes(to)*(1+1e-9) {
				break
			}
			best, suits := Change{}, math.Inf(-1)
			for _, g := range groups {
				slot := slices.Index(g.Slots, from.Store)
				if slot < 0 || slices.Contains(g.Slots, to.Store) || g.anyUnsettled() {
					continue
				}
				nodes, zones := f.neighbours(g, slot)
				if score := rendezvous(g.ID, to); !nodes[to.Node] && zones[to.Zone] <= zones[from.Zone] && score > suits {
					best, suits = Change{Group: g, Slot: uint8(slot), To: to.Store}, score
				}
			}
			if !math.IsInf(suits, -1) {
				return best, true
			}
		}
	}
	return Change{}, false
}

// costs are what Successor makes least, first things first; ok is false for a
// store that may not have the slot.
func (f *Fleet) costs(held map[StoreID]int, g Group, slot int, to Candidate) (costs []float64, ok bool) {
	nodes, zones := f.neighbours(g, slot)
	formers := 0
	for i := range g.Moves {
		if i != slot && g.Unsettled(uint8(i)) && f.Places[g.Moves[i].Former].Node == to.Node {
			formers++
		}
	}
	costs = []float64{float64(formers), float64(zones[to.Zone]), float64(held[to.Store]+1) / weight(to)}
	return costs, !nodes[to.Node] && !slices.Contains(g.Slots, to.Store)
}

func (f *Fleet) checkSuccessor(t *testing.T, p *Plan, group, slot int) Change {
	t.Helper()
	held, g := Holdings(p.Groups), p.Groups[group]
	var least []float64
	for _, c := range f.Takers {
		if costs, ok := f.costs(held, g, slot, c); ok && (least == nil || slices.Compare(costs, least) < 0) {
			least = costs
		}
	}
	to, ok := p.Successor(g.ID, uint8(slot))
	if ok != (least != nil) {
		t.Fatalf("slot %d of group %d has a successor: %t; want %t", slot, group, ok, least != nil)
	}
	if ok {
		if costs, may := f.costs(held, g, slot, f.Places[to]); !may || !slices.Equal(costs, least) {
			t.Fatalf("the successor of slot %d of group %d costs %v, allowed %t; the least is %v", slot, group, costs, may, least)
		}
	}
	return Change{Group: g, Slot: uint8(slot), To: to}
}

// randomFleet has nodes of one to three stores of different capacities, in zones
// of different sizes.
func randomFleet(r *rand.Rand) *Fleet {
	f := &Fleet{Places: map[StoreID]Candidate{}}
	zones := 1 + r.IntN(5)
	for range 6 + r.IntN(8) {
		node, zone := NewNodeID(), string(rune('a'+r.IntN(zones)))
		for range 1 + r.IntN(3) {
			c := Candidate{Store: NewStoreID(), Node: node, Zone: zone, CapacityBytes: int64(1+r.IntN(4)) << 40}
			f.Takers, f.Places[c.Store] = append(f.Takers, c), c
		}
	}
	return f
}

// A plan that is brought up to date with each change chooses what one that counts
// everything anew chooses, whatever happened before.
func TestAPlanChoosesAsIfItCountedAnew(t *testing.T) {
	r := testrand.New(t)
	for range 20 {
		f := randomFleet(r)
		groups, err := NewGroups(Scheme{3, 1 + uint8(r.IntN(3))}, f.Takers, 40)
		if err != nil {
			t.Fatal(err)
		}
		for i := range groups {
			if r.IntN(8) == 0 { // a slot of it is under way
				groups[i].Moves = make([]Move, len(groups[i].Slots))
				groups[i].Moves[r.IntN(len(groups[i].Slots))] = Move{Former: f.Takers[r.IntN(len(f.Takers))].Store, Epoch: 2}
			}
		}
		for range 1 + r.IntN(3) { // stores that may not be given slots, but have some
			i := r.IntN(len(f.Takers))
			f.Takers = slices.Delete(f.Takers, i, i+1)
		}
		p := f.Plan(groups)
		for range 60 {
			if r.IntN(2) == 0 {
				g := r.IntN(len(groups))
				c := f.checkSuccessor(t, p, g, r.IntN(len(groups[g].Slots)))
				if !c.To.IsZero() {
					p.Apply(c)
				}
				continue
			}
			got, ok := p.Balance()
			want, wantOK := f.slowBalance(p.Groups)
			if ok != wantOK || !reflect.DeepEqual(got, want) {
				t.Fatalf("Balance = %+v, %t; counted anew: %+v, %t", got, ok, want, wantOK)
			}
			if ok {
				p.Apply(got)
			}
		}
		held := Holdings(p.Groups)
		for _, c := range f.Takers {
			if p.Held(c.Store) != held[c.Store] {
				t.Fatalf("a store has %d slots, counted anew %d", p.Held(c.Store), held[c.Store])
			}
		}
	}
}

// What a zone, a node and a store get of the slots of new groups is in proportion
// to their capacity: drawn zone by zone it is what competing with all stores at
// once gives.
func TestNewGroupsDrawsByCapacity(t *testing.T) {
	seed := rand.New(rand.NewPCG(1, 2)) // the choices of NewGroups follow from the IDs
	var stores []Candidate
	for z := range 8 {
		for range 3 {
			var node NodeID
			fill(seed, node[:])
			for s := range 2 {
				c := Candidate{Node: node, Zone: string(rune('a' + z)), CapacityBytes: int64(1+z%2+2*s) << 40}
				fill(seed, c.Store[:])
				stores = append(stores, c)
			}
		}
	}
	const count = 40000
	first := map[StoreID]int{}
	groups, err := NewGroups(Scheme{1, 1}, stores, count)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		first[g.Slots[0]]++
	}
	total := 0.0
	for _, c := range stores {
		total += weight(c)
	}
	for _, c := range stores {
		want := count * weight(c) / total
		if got := float64(first[c.Store]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("a store of weight %.0f is drawn first %.0f times of %d, want about %.0f", weight(c), got, count, want)
		}
	}
}

func fill(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}
