package layout

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrNoMargin reports that no group has enough stores up to take a part with a
// margin: too much is down, and the part would be lost with the next store.
var ErrNoMargin = errors.New("no placement with a margin")

// SmallPartSize is the largest part, in bytes, that is kept as copies (scheme
// 1+m) instead of being cut up: one block, so one write on each of m+1 stores.
const SmallPartSize = BlockSize

// Placement is where a new attempt goes.
type Placement struct {
	Group  Group
	Scheme Scheme
	Slots  []uint8 // slot of chunk i
}

// Store returns the store that takes chunk i.
func (p Placement) Store(i int) StoreID { return p.Group.Slots[p.Slots[i]] }

// Place chooses group, scheme and slots for an attempt of size payload bytes
// (-1 if unknown). It is a pure function. It prefers groups whose slots are all
// up; when none is, it takes the group with the most slots up and narrows the
// scheme to them, keeping the parity as long as it can. A group with fewer
// slots up than the cluster's scheme has data shards takes nothing: what it
// holds is unreadable already. Errors wrap ErrNoMargin.
func Place(v *View, attempt AttemptID, size int64) (Placement, error) {
	seed := mix(binary.BigEndian.Uint64(attempt[:8]), binary.BigEndian.Uint64(attempt[8:]))
	group, up := chooseGroup(v, seed)
	if len(up) == 0 || len(up) < int(v.Scheme.Data) {
		return Placement{}, fmt.Errorf("%w: %d of %d stores of the best group are up, scheme %s needs %d",
			ErrNoMargin, len(up), v.Scheme.Total(), v.Scheme, v.Scheme.Data)
	}
	scheme, ok := narrow(v.Scheme, len(up), size)
	if !ok {
		return Placement{}, fmt.Errorf("%w: %d stores of the best group are up", ErrNoMargin, len(up))
	}
	slots := spread(v, group, up, int(seed%uint64(len(up))))
	return Placement{Group: group, Scheme: scheme, Slots: slots[:scheme.Total()]}, nil
}

// chooseGroup walks the groups from a place the seed picks and returns the
// first whose slots are all up, else the first of those with the most up.
func chooseGroup(v *View, seed uint64) (best Group, bestUp []uint8) {
	for i := range v.Groups {
		g := v.Groups[(seed+uint64(i))%uint64(len(v.Groups))]
		up := make([]uint8, 0, len(g.Slots))
		for slot, store := range g.Slots {
			if v.Up(store) {
				up = append(up, uint8(slot))
			}
		}
		if len(up) > len(bestUp) {
			best, bestUp = g, up
		}
		if len(up) == len(g.Slots) {
			break
		}
	}
	return best, bestUp
}

// narrow returns the scheme for a part when up stores of a group are up: the
// full one if they all are, otherwise as many data shards as leave the parity
// whole. Small parts are copies. ok is false if no margin would be left.
func narrow(full Scheme, up int, size int64) (s Scheme, ok bool) {
	data := full.Data
	switch spare := up - int(full.Parity); {
	case size >= 0 && size <= SmallPartSize, spare < 1:
		data = 1
	case spare < int(data):
		data = uint8(spare)
	}
	parity := min(int(full.Parity), up-int(data))
	return Scheme{Data: data, Parity: uint8(max(parity, 0))}, parity >= 1
}

// ForPart returns the scheme of a part of size bytes, in a cluster of scheme s,
// when all stores of its group are up.
func (s Scheme) ForPart(size int64) Scheme {
	full, _ := narrow(s, s.Total(), size)
	return full
}

// Narrow reports whether a part was written under a narrower scheme than it would
// be in a cluster of scheme s with all stores up.
func (l Layout) Narrow(s Scheme) bool {
	full := s.ForPart(l.Size)
	return l.Size > 0 && (l.Scheme.Data < full.Data || l.Scheme.Parity < full.Parity)
}

// spread orders slots, starting at the given one, so that each next slot is in
// a zone seen as seldom as possible.
func spread(v *View, g Group, slots []uint8, start int) []uint8 {
	seen := make(map[string]int, len(slots))
	left := append(append(make([]uint8, 0, len(slots)), slots[start:]...), slots[:start]...)
	out := make([]uint8, 0, len(slots))
	for len(left) > 0 {
		best := 0
		for i := range left {
			if seen[v.zone(g.Slots[left[i]])] < seen[v.zone(g.Slots[left[best]])] {
				best = i
			}
		}
		seen[v.zone(g.Slots[left[best]])]++
		out = append(out, left[best])
		left = append(left[:best], left[best+1:]...)
	}
	return out
}

func (v *View) zone(s StoreID) string { return v.Nodes[v.Stores[s].Node].Zone }

// mix hashes words into one (the finaliser of SplitMix64, word by word).
func mix(words ...uint64) uint64 {
	var h uint64
	for _, w := range words {
		h += w + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}
