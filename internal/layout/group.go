package layout

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
)

// Candidate is a store that may hold slots of new groups.
type Candidate struct {
	Store         StoreID
	Node          NodeID
	Zone          string
	CapacityBytes int64 // weight; at least 1 is assumed
}

// GroupCount is how many groups a new cluster of n stores gets when each group
// has width slots: a few dozen per set of stores, so that losing width stores
// at once hits few groups and every store has many partners.
func GroupCount(n, width int) int { return min(max(32*n/width, 32), 4096) }

// NewGroups makes count groups of scheme.Total() slots each. Every group is
// spread over zones, then nodes, then stores, by weighted rendezvous hashing.
// It needs at least one node per slot, so that a node never holds two chunks
// of a part.
func NewGroups(scheme Scheme, candidates []Candidate, count int) ([]Group, error) {
	nodes := make(map[NodeID]bool)
	for _, c := range candidates {
		nodes[c.Node] = true
	}
	if len(nodes) < scheme.Total() {
		return nil, fmt.Errorf("scheme %s needs %d nodes with a store, there are %d", scheme, scheme.Total(), len(nodes))
	}
	groups := make([]Group, count)
	p := newPicker(candidates)
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), count)
	for w := range workers { // groups do not depend on each other
		wg.Go(func() {
			for i := w; i < count; i += workers {
				groups[i] = Group{ID: GroupID(i), Epoch: 1, Slots: p.slots(GroupID(i), scheme.Total())}
			}
		})
	}
	wg.Wait()
	return groups, nil
}

// picker draws a zone, a node in it and a store of that, each by weighted
// rendezvous hashing. A store is drawn as often as if it competed with all the others
// at once, and only its zone and its node have to be asked.
type picker struct{ zones []zoneStores }

type zoneStores struct {
	hash   uint64
	weight float64
	nodes  []nodeStores
}

type nodeStores struct {
	hash   uint64
	weight float64
	stores []Candidate
}

func newPicker(candidates []Candidate) *picker {
	p := &picker{}
	zones, nodes := map[string]int32{}, map[NodeID][2]int{}
	for _, c := range candidates {
		at, known := nodes[c.Node]
		if !known {
			z := int(number(zones, c.Zone))
			if z == len(p.zones) {
				p.zones = append(p.zones, zoneStores{hash: hashName(c.Zone)})
			}
			at = [2]int{z, len(p.zones[z].nodes)}
			nodes[c.Node] = at
			p.zones[z].nodes = append(p.zones[z].nodes, nodeStores{hash: mix(binary.BigEndian.Uint64(c.Node[:8]), binary.BigEndian.Uint64(c.Node[8:]))})
		}
		n := &p.zones[at[0]].nodes[at[1]]
		n.stores = append(n.stores, c)
		n.weight += weight(c)
		p.zones[at[0]].weight += weight(c)
	}
	return p
}

// slots draws the slots of a group: each on a node that has none yet, in a zone
// that has as few as any with such a node.
func (p *picker) slots(group GroupID, width int) []StoreID {
	type zone struct {
		used   []int   // nodes
		free   int     // the others
		weight float64 // of those
		race   float64 // how late the zone is for a weight of 1
		at     float64 // how late it is
	}
	zones := make([]zone, len(p.zones))
	for z, there := range p.zones {
		r := race(group, there.hash)
		zones[z] = zone{free: len(there.nodes), weight: there.weight, race: r, at: r / there.weight}
	}
	slots := make([]StoreID, 0, width)
	for len(slots) < width {
		z := -1
		for i := range zones {
			if a := &zones[i]; a.free > 0 && (z < 0 || len(a.used) < len(zones[z].used) || len(a.used) == len(zones[z].used) && a.at < zones[z].at) {
				z = i
			}
		}
		nodes := p.zones[z].nodes
		node := earliest(len(nodes), func(i int) float64 {
			if slices.Contains(zones[z].used, i) {
				return math.Inf(1)
			}
			return race(group, nodes[i].hash) / nodes[i].weight
		})
		drawn := &zones[z]
		drawn.used, drawn.free, drawn.weight = append(drawn.used, node), drawn.free-1, drawn.weight-nodes[node].weight
		drawn.at = drawn.race / drawn.weight
		stores := nodes[node].stores
		store := earliest(len(stores), func(i int) float64 { return -rendezvous(group, stores[i]) })
		slots = append(slots, stores[store].Store)
	}
	return slots
}

// earliest is the first of n with the least value.
func earliest(n int, value func(int) float64) (best int) {
	least := value(0)
	for i := 1; i < n; i++ {
		if v := value(i); v < least {
			best, least = i, v
		}
	}
	return best
}

// race is an exponential variate that group and hash decide.
func race(group GroupID, hash uint64) float64 {
	return exponential(mix(uint64(group), hash))
}

// exponential makes a variate with a mean of 1 of a hash.
func exponential(h uint64) float64 { return -math.Log((float64(h>>11) + 0.5) / (1 << 53)) }

func hashName(s string) uint64 {
	h := mix(uint64(len(s)))
	for _, b := range []byte(s) {
		h = mix(h, uint64(b))
	}
	return h
}

// rendezvous is the logarithmic weighted rendezvous score of a store for a
// group, scaled into (0, 1e9] for every sane hash and capacity.
func rendezvous(group GroupID, c Candidate) float64 {
	h := mix(uint64(group), binary.BigEndian.Uint64(c.Store[:8]), binary.BigEndian.Uint64(c.Store[8:]))
	return min(weight(c)/exponential(h), 1e11)
}
