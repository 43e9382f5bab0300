package layout

import (
	"encoding/binary"
	"fmt"
	"math"
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
	for i := range groups {
		groups[i] = Group{ID: GroupID(i), Epoch: 1, Slots: pickSlots(GroupID(i), scheme.Total(), candidates)}
	}
	return groups, nil
}

func pickSlots(group GroupID, width int, candidates []Candidate) []StoreID {
	zones, nodes, taken := map[string]int{}, map[NodeID]int{}, map[StoreID]bool{}
	slots := make([]StoreID, 0, width)
	for len(slots) < width {
		best, bestScore := -1, math.Inf(-1)
		for i, c := range candidates {
			if taken[c.Store] {
				continue
			}
			// A fresh zone beats any score, a fresh node beats any score in
			// a zone as often used.
			score := rendezvous(group, c) - 1e12*float64(zones[c.Zone]) - 1e15*float64(nodes[c.Node])
			if score > bestScore {
				best, bestScore = i, score
			}
		}
		c := candidates[best]
		zones[c.Zone]++
		nodes[c.Node]++
		taken[c.Store] = true
		slots = append(slots, c.Store)
	}
	return slots
}

// rendezvous is the logarithmic weighted rendezvous score of a store for a
// group, scaled into (0, 1e9] for every sane hash and capacity.
func rendezvous(group GroupID, c Candidate) float64 {
	h := mix(uint64(group), binary.BigEndian.Uint64(c.Store[:8]), binary.BigEndian.Uint64(c.Store[8:]))
	unit := (float64(h>>11) + 0.5) / (1 << 53)
	return min(weight(c)/-math.Log(unit), 1e11)
}
