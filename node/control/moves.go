package control

import (
	"cmp"
	"slices"

	"partstore/internal/layout"
	"partstore/metadata"
)

// fleet is the stores of a topology, and those of them that may be given slots:
// they are in, and their nodes answer.
func (c *Controller) fleet(t metadata.Topology) *layout.Fleet {
	f := &layout.Fleet{Places: map[layout.StoreID]layout.Candidate{}}
	for _, s := range t.Stores {
		candidate := layout.Candidate{Store: s.ID, Node: s.Node, Zone: s.Zone, CapacityBytes: s.CapacityBytes}
		f.Places[s.ID] = candidate
		if node := c.seen[s.Node]; t.Duty(s.ID).State == metadata.DutyIn && node != nil && node.answers && !node.lacks(s.ID) {
			f.Takers = append(f.Takers, candidate)
		}
	}
	return f
}

// wish is a slot whose holder should not have it.
type wish struct {
	group layout.Group
	slot  uint8
	state metadata.DutyState
	lost  int // slots of the group that are out or dead
}

func (w wish) holder() layout.StoreID { return w.group.Slots[w.slot] }

// move is the next slot to change hands: first those of lost stores, in the
// groups that lost most, then those of stores that drain, then those that even out
// what the stores hold. It comes with the burst of moves it is the first of, if no
// event tells of that.
func (c *Controller) move(t metadata.Topology, version uint64) (metadata.MoveSlot, *burst, bool) {
	var wishes []wish
	underWay := 0
	duties := map[layout.StoreID]metadata.DutyState{}
	for _, d := range t.Duties {
		duties[d.Store] = d.State
	}
	for _, g := range t.Groups {
		var here []wish
		lost, moving := 0, false
		for slot, s := range g.Slots {
			state := duties[s]
			if g.Unsettled(uint8(slot)) {
				moving = true
				if duties[g.Move(uint8(slot)).Former] < metadata.DutyOut {
					underWay++
				}
			}
			if state >= metadata.DutyOut {
				lost++
			}
			if state != metadata.DutyIn {
				here = append(here, wish{g, uint8(slot), state, 0})
			}
		}
		for _, w := range here {
			if w.lost = lost; w.state >= metadata.DutyOut || !moving {
				wishes = append(wishes, w)
			}
		}
	}
	slices.SortStableFunc(wishes, func(a, b wish) int {
		return cmp.Or(
			-cmp.Compare(min(a.state, metadata.DutyOut), min(b.state, metadata.DutyOut)),
			-cmp.Compare(a.lost, b.lost),
		)
	})
	f := c.fleet(t)
	if len(wishes) > 0 {
		plan := f.Plan(t.Groups)
		for _, w := range wishes {
			if w.state < metadata.DutyOut && underWay >= c.cfg.Moves {
				break
			}
			if to, ok := plan.Successor(w.group.ID, w.slot); ok {
				return metadata.MoveSlot{Group: w.group.ID, Slot: w.slot, Epoch: w.group.Epoch, To: to, Reason: w.state.String()}, c.clearance(t, plan, w, wishes), true
			}
		}
		return metadata.MoveSlot{}, nil, false
	}
	if !c.cfg.Rebalance || underWay >= c.cfg.Moves {
		return metadata.MoveSlot{}, nil, false
	}
	now := state{version, len(f.Takers)}
	if c.balanced == now {
		return metadata.MoveSlot{}, nil, false
	}
	plan := f.Plan(t.Groups)
	change, ok := plan.Balance()
	if !ok {
		if c.balanced = now; underWay == 0 { // else more may be possible once they settled
			delete(c.told, layout.StoreID{})
		}
		return metadata.MoveSlot{}, nil, false
	}
	move := metadata.MoveSlot{Group: change.Group.ID, Slot: change.Slot, Epoch: change.Group.Epoch, To: change.To, Reason: reasonRebalance}
	return move, c.rebalance(t, plan), true
}
