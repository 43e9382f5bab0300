package layout

import (
	"errors"
	"slices"
	"testing"

	"partstore/internal/testrand"
)

// testView has n nodes with one store each, in zones zones, and groups for scheme.
func testView(t *testing.T, scheme Scheme, n, zones int) *View {
	t.Helper()
	v := &View{Scheme: scheme, Nodes: map[NodeID]NodeState{}, Stores: map[StoreID]StoreState{}}
	var candidates []Candidate
	for i := range n {
		node, store, zone := NewNodeID(), NewStoreID(), string(rune('a'+i%zones))
		v.Nodes[node] = NodeState{ID: node, Zone: zone, Alive: true}
		v.Stores[store] = StoreState{ID: store, Node: node, Alive: true, Up: true}
		candidates = append(candidates, Candidate{Store: store, Node: node, Zone: zone, CapacityBytes: 1 << 40})
	}
	groups, err := NewGroups(scheme, candidates, GroupCount(n, scheme.Total()))
	if err != nil {
		t.Fatal(err)
	}
	v.Groups = groups
	return v
}

func (v *View) setUp(store StoreID, up bool) {
	s := v.Stores[store]
	s.Up, s.Alive = up, up
	v.Stores[store] = s
}

func TestPlaceNarrowsTheSchemeToWhatIsUp(t *testing.T) {
	const large = 5 << 20
	tests := []struct {
		name   string
		scheme Scheme
		down   int
		size   int64
		want   Scheme // zero: ErrNoMargin
	}{
		{"all up", Scheme{4, 2}, 0, large, Scheme{4, 2}},
		{"size unknown", Scheme{4, 2}, 0, -1, Scheme{4, 2}},
		{"one down", Scheme{4, 2}, 1, large, Scheme{3, 2}},
		{"two down", Scheme{4, 2}, 2, large, Scheme{2, 2}},
		{"three down", Scheme{4, 2}, 3, large, Scheme{}},
		{"small is copies", Scheme{4, 2}, 0, SmallPartSize, Scheme{1, 2}},
		{"just above small", Scheme{4, 2}, 0, SmallPartSize + 1, Scheme{4, 2}},
		{"small, two down", Scheme{4, 2}, 2, 1, Scheme{1, 2}},
		{"small, three down", Scheme{4, 2}, 3, 1, Scheme{}},
		{"2+1, one down", Scheme{2, 1}, 1, large, Scheme{1, 1}},
		{"2+1, two down", Scheme{2, 1}, 2, large, Scheme{}},
		{"1+1, one down", Scheme{1, 1}, 1, large, Scheme{}},
		{"1+2, one down", Scheme{1, 2}, 1, large, Scheme{1, 1}},
		{"8+3, three down", Scheme{8, 3}, 3, large, Scheme{5, 3}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			v := testView(t, tc.scheme, tc.scheme.Total(), 1)
			for _, store := range v.Groups[0].Slots[:tc.down] {
				v.setUp(store, false)
			}
			p, err := Place(v, NewAttemptID(1, 2, 3), tc.size)
			if tc.want == (Scheme{}) {
				if !errors.Is(err, ErrNoMargin) {
					t.Fatalf("Place = %v, %v; want ErrNoMargin", p.Scheme, err)
				}
				return
			}
			if err != nil || p.Scheme != tc.want {
				t.Errorf("Place = %v, %v; want %v", p.Scheme, err, tc.want)
			}
		})
	}
}

func TestPlaceKeepsItsPromises(t *testing.T) {
	rnd := testrand.New(t)
	schemes := []Scheme{{1, 1}, {1, 2}, {2, 1}, {2, 2}, {4, 2}, {8, 3}}
	for range 2000 {
		scheme := schemes[rnd.IntN(len(schemes))]
		v := testView(t, scheme, scheme.Total()+rnd.IntN(6), 1+rnd.IntN(4))
		for id := range v.Stores {
			v.setUp(id, rnd.IntN(5) > 0)
		}
		attempt := NewAttemptID(Incarnation(rnd.Uint32()), RegistryTime(rnd.Uint64N(1<<40)), rnd.Uint64())
		p, err := Place(v, attempt, rnd.Int64N(1<<20)-1)
		if err != nil {
			if !errors.Is(err, ErrNoMargin) {
				t.Fatal(err)
			}
			continue
		}
		l := Layout{Attempt: attempt, Scheme: p.Scheme, Size: 1, Group: p.Group.ID, Slots: p.Slots, Durable: 1<<p.Scheme.Total() - 1}
		if err := l.Validate(); err != nil {
			t.Fatalf("placement %+v is no layout: %v", p, err)
		}
		for i := range p.Slots {
			if !v.Up(p.Store(i)) {
				t.Fatalf("chunk %d goes to a store that is down", i)
			}
		}
		again, err := Place(v, attempt, l.Size)
		if err == nil && again.Group.ID != p.Group.ID {
			t.Fatalf("group depends on more than view and attempt")
		}
	}
}

// Whatever is up, a part is narrow if it got another scheme than it would have
// with all stores up, and only then.
func TestOnlyWhatWasPlacedNarrowlyIsNarrow(t *testing.T) {
	for _, scheme := range []Scheme{{1, 1}, {1, 2}, {2, 1}, {4, 2}, {8, 3}} {
		for _, size := range []int64{1, SmallPartSize, SmallPartSize + 1, 5 << 20} {
			v := testView(t, scheme, scheme.Total(), 1)
			place, err := Place(v, NewAttemptID(1, 2, 3), size)
			if err != nil || place.Scheme != scheme.ForPart(size) {
				t.Fatalf("%s, %d bytes, all up: %s, %v; want %s", scheme, size, place.Scheme, err, scheme.ForPart(size))
			}
			full := place.Scheme
			for down := range scheme.Total() {
				place, err := Place(v, NewAttemptID(1, 2, 3), size)
				if err != nil {
					break
				}
				l := Layout{Scheme: place.Scheme, Size: size}
				if got, want := l.Narrow(scheme), place.Scheme != full; got != want {
					t.Errorf("%s, %d bytes, %d down: %s is narrow: %t", scheme, size, down, place.Scheme, got)
				}
				v.setUp(v.Groups[0].Slots[down], false)
			}
		}
		if (Layout{}).Narrow(scheme) {
			t.Errorf("%s: an empty part is narrow", scheme)
		}
		if size := int64(10); (Layout{Scheme: scheme, Size: size}).Narrow(scheme) {
			t.Errorf("%s: a small part cut up is narrow", scheme)
		}
	}
}

func TestPlacePrefersAWholeGroup(t *testing.T) {
	v := testView(t, Scheme{2, 1}, 12, 1)
	v.setUp(v.Groups[0].Slots[0], false)
	for i := range 500 {
		p, err := Place(v, NewAttemptID(1, 1, uint64(i)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if p.Scheme != (Scheme{2, 1}) {
			t.Fatalf("attempt %d took scheme %s although whole groups exist", i, p.Scheme)
		}
	}
}

func TestPlaceSpreadsOverGroupsAndSlots(t *testing.T) {
	v := testView(t, Scheme{4, 2}, 6, 3)
	groups, first := map[GroupID]int{}, map[StoreID]int{}
	const n = 6000
	for i := range n {
		p, err := Place(v, NewAttemptID(7, RegistryTime(i/3), uint64(i)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		groups[p.Group.ID]++
		first[p.Store(0)]++
	}
	for id, count := range groups {
		if count < n/len(v.Groups)/3 {
			t.Errorf("group %d took %d of %d attempts", id, count, n)
		}
	}
	if len(groups) != len(v.Groups) || len(first) != 6 {
		t.Errorf("%d of %d groups and %d of 6 stores were first", len(groups), len(v.Groups), len(first))
	}
}

func TestNewGroupsSpreadsOverZonesThenNodes(t *testing.T) {
	rnd := testrand.New(t)
	for range 200 {
		zones := 1 + rnd.IntN(7)
		nodes := 6 + rnd.IntN(10)
		v := testView(t, Scheme{4, 2}, nodes, zones)
		perZone := make([]int, zones)
		for i := range nodes {
			perZone[i%zones]++
		}
		for _, g := range v.Groups {
			used, seen := map[string]int{}, map[NodeID]bool{}
			for _, s := range g.Slots {
				if node := v.Stores[s].Node; seen[node] {
					t.Fatalf("group %d has node %s twice", g.ID, node)
				} else {
					seen[node] = true
				}
				used[v.zone(s)]++
			}
			if len(used) != min(zones, 6) {
				t.Fatalf("group %d uses %d of %d zones", g.ID, len(used), zones)
			}
		}
	}
}

func TestNewGroupsNeedsANodePerSlot(t *testing.T) {
	node := NewNodeID()
	candidates := make([]Candidate, 6)
	for i := range candidates {
		candidates[i] = Candidate{Store: NewStoreID(), Node: node}
	}
	if groups, err := NewGroups(Scheme{4, 2}, candidates, 32); err == nil {
		t.Errorf("NewGroups put %d slots on one node", len(groups[0].Slots))
	}
}

func TestSpreadTakesFreshZonesFirst(t *testing.T) {
	v := testView(t, Scheme{4, 2}, 6, 3)
	for i := range 100 {
		p, err := Place(v, NewAttemptID(1, 1, uint64(i)), 10) // 1+2
		if err != nil {
			t.Fatal(err)
		}
		zones := []string{v.zone(p.Store(0)), v.zone(p.Store(1)), v.zone(p.Store(2))}
		slices.Sort(zones)
		if len(slices.Compact(zones)) != 3 {
			t.Fatalf("three copies in zones %v", zones)
		}
	}
}
