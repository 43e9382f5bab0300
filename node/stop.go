package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
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
	v = judgeStop(n.view.Load(), n.memberList(members, nodes).Members, stop)
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
	left := *view
	left.Stores = maps.Clone(view.Stores)
	for id, s := range left.Stores {
		if slices.Contains(stop, s.Node) {
			left.Stores[id] = layout.StoreState{ID: id, Node: s.Node}
		}
	}
	var unreadable int
	v.Margin, unreadable = margin(left.Groups, left.Scheme, func(s layout.StoreID) bool { return left.Stores[s].Alive })
	if unreadable > 0 {
		v.Problems = append(v.Problems, fmt.Sprintf("parts in %d of %d groups could not be read", unreadable, len(left.Groups)))
	}
	if _, err := layout.Place(&left, layout.AttemptID{}, -1); err != nil {
		v.Problems = append(v.Problems, "no part would be taken: "+err.Error())
	}
	return v
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
