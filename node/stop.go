package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/repair"
)

// JudgeStop implements admin.Service.
func (o operator) JudgeStop(ctx context.Context, stop []layout.NodeID) (v admin.StopVerdict, err error) {
	n := o.n
	if !n.isOpen() {
		return v, errStarting
	}
	topology, err := n.registry.Topology(ctx)
	if err != nil {
		return v, err
	}
	for _, id := range stop {
		if !slices.ContainsFunc(topology.Members, func(m metadata.Member) bool { return m.ID == id }) {
			return v, fmt.Errorf("%w: node %s", admin.ErrNotFound, id)
		}
	}
	members, err := n.members(ctx)
	if err != nil {
		return v, err
	}
	nodes, err := o.Nodes(ctx)
	if err != nil {
		return v, err
	}
	view := n.view.Load()
	v = judgeStop(view, n.memberList(members, nodes).Members, stop)
	if err := judgeParts(ctx, view, n.registry, stop, &v); err != nil {
		return v, err
	}
	for _, node := range nodes {
		if node.Heal != nil && node.Heal.Left > 0 && !slices.Contains(stop, node.ID) {
			v.Problems = append(v.Problems, fmt.Sprintf("%d chunks of node %s are missing and not healed yet", node.Heal.Left, node.Name))
		}
	}
	return v, nil
}

// judgeStop says what would be left of a cluster without some nodes.
func judgeStop(view *layout.View, members []admin.Member, stop []layout.NodeID) admin.StopVerdict {
	v := admin.StopVerdict{Problems: []string{}}
	voters := 0
	for _, m := range members {
		if m.Role != admin.RoleNonvoter {
			voters++
			if m.Alive && !slices.Contains(stop, m.ID) {
				v.Voters++
			}
		}
	}
	if v.Majority = voters/2 + 1; v.Voters < v.Majority {
		v.Problems = append(v.Problems, fmt.Sprintf("the registry needs %d voters, and %d would be left", v.Majority, v.Voters))
	}
	left := without(view, stop)
	var unreadable int
	v.Margin, unreadable = margin(left.Groups, left.Scheme, func(s layout.StoreID) bool { return left.Stores[s].Alive })
	if unreadable > 0 {
		v.Problems = append(v.Problems, fmt.Sprintf("parts in %d of %d groups could not be read", unreadable, len(left.Groups)))
	}
	if _, err := layout.Place(left, layout.AttemptID{}, -1); err != nil {
		v.Problems = append(v.Problems, "no part would be taken: "+err.Error())
	}
	return v
}

// without is a view in which some nodes are down.
func without(view *layout.View, stop []layout.NodeID) *layout.View {
	left := *view
	left.Stores = maps.Clone(view.Stores)
	for id, s := range left.Stores {
		if slices.Contains(stop, s.Node) {
			left.Stores[id] = layout.StoreState{ID: id, Node: s.Node}
		}
	}
	return &left
}

// partRecords is what the operator's questions about parts need of the registry.
type partRecords interface {
	AllParts(after *metadata.OwnedPart, limit int) ([]metadata.OwnedPart, error)
	Garbage(after *metadata.Garbage, limit int) ([]metadata.Garbage, error)
}

// judgeParts adds to a verdict what becomes of the parts that lack a chunk by their
// records: it was not durable when the part was committed, and has not been healed.
// Such a part survives less than its group does; all others as much.
func judgeParts(ctx context.Context, view *layout.View, records partRecords, stop []layout.NodeID, v *admin.StopVerdict) error {
	left := without(view, stop)
	discarded, err := repair.ReadDiscards(records.Garbage)
	if err != nil {
		return err
	}
	unreadable := 0
	err = eachPart(ctx, records, func(p metadata.OwnedPart) {
		if lacksNone(p.Layout) || discarded.Has(p) {
			return
		}
		spare := spareChunks(left, p.Layout)
		if v.Margin = min(v.Margin, spare); spare < 0 {
			unreadable++
		}
	})
	if err != nil {
		return err
	}
	if unreadable > 0 {
		v.Problems = append(v.Problems, fmt.Sprintf("%d parts could not be read: chunks that were not written with them wait to be healed", unreadable))
	}
	return nil
}

// lacksNone reports whether all chunks of a part have been durable.
func lacksNone(l layout.Layout) bool {
	for i := range l.Slots {
		if !l.IsDurable(i) {
			return false
		}
	}
	return true
}

// spareChunks is how many more chunks of a part than it takes to read it are
// durable, and on stores that are up; negative: it cannot be read.
func spareChunks(view *layout.View, l layout.Layout) int {
	spare := -int(l.Scheme.Data)
	group, _ := view.Group(l.Group)
	for i, slot := range l.Slots {
		if l.IsDurable(i) && int(slot) < len(group.Slots) && view.Stores[group.Slots[slot]].Alive && !group.Unsettled(slot) {
			spare++
		}
	}
	return spare
}

// margin is how many more stores the worst group could lose and still be read,
// with the stores that are left, and how many groups cannot be read any more.
func margin(groups []layout.Group, scheme layout.Scheme, left func(layout.StoreID) bool) (worst, unreadable int) {
	worst = int(scheme.Parity)
	for _, g := range groups {
		spare := -int(scheme.Data)
		for slot, store := range g.Slots {
			if left(store) && !g.Unsettled(uint8(slot)) {
				spare++
			}
		}
		if worst = min(worst, spare); spare < 0 {
			unreadable++
		}
	}
	return worst, unreadable
}
