package layout

import "slices"

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

func weight(c Candidate) float64 { return float64(max(c.CapacityBytes>>30, 1)) } // GiB

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
	p := f.Plan(groups)
	for c, ok := p.Balance(); ok; c, ok = p.Balance() {
		p.Apply(c)
	}
	return p.Groups
}
