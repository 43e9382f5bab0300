package control

import (
	"fmt"
	"slices"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// duty is the next decision about a store, if one is due.
func (c *Controller) duty(t metadata.Topology, now time.Time) (metadata.Duty, bool) {
	for _, s := range t.Stores {
		d := t.Duty(s.ID)
		state, reason := c.judge(t, s, d, now)
		if state != d.State && (state != metadata.DutyOut && state != metadata.DutyDead || c.mayLose(t, s)) {
			d.State, d.Reason, d.Auto = state, reason, true
			return d, true
		}
	}
	return metadata.Duty{}, false
}

// judge says what the duty of a store should be by what is known of its node. What
// an operator decided stays, except that an empty directory makes a store dead.
func (c *Controller) judge(t metadata.Topology, s metadata.Store, d metadata.Duty, now time.Time) (metadata.DutyState, string) {
	node := c.seen[s.Node]
	if node == nil || d.State == metadata.DutyDead {
		return d.State, ""
	}
	byHand := d.Version > 0 && !d.Auto && d.State != metadata.DutyIn
	fenced := node.answers && slices.Contains(node.report.Fenced, s.ID)
	since, missing := node.missing[s.ID]
	absent := !node.answers && !c.cfg.Gossips(s.Node)
	switch {
	case absent && replaced(t, s.Node):
		return metadata.DutyDead, "the node came back with another directory"
	case byHand:
		return d.State, ""
	case fenced:
		return metadata.DutyOut, "the store fenced itself"
	case missing && now.Sub(since) < c.cfg.Grace:
		return d.State, ""
	case missing:
		return metadata.DutyOut, fmt.Sprintf("the node has been without the store for %s", c.cfg.Grace)
	case absent && now.Sub(node.asked) >= c.cfg.Grace:
		return metadata.DutyOut, fmt.Sprintf("the node has not answered for %s", c.cfg.Grace)
	case node.answers && d.State == metadata.DutyOut && now.Sub(node.asked) >= c.cfg.Grace:
		return metadata.DutyIn, fmt.Sprintf("the node has answered for %s", c.cfg.Grace)
	}
	return d.State, ""
}

// replaced reports whether a later node has the name of this one. Names are
// unique, so its directory is another.
func replaced(t metadata.Topology, id layout.NodeID) bool {
	i := slices.IndexFunc(t.Members, func(m metadata.Member) bool { return m.ID == id })
	return i >= 0 && slices.ContainsFunc(t.Members, func(m metadata.Member) bool {
		return m.ID != id && m.Name == t.Members[i].Name && m.Incarnation > t.Members[i].Incarnation
	})
}

// mayLose reports whether a store may be given up without an operator: so many
// nodes stay that all slots have somewhere to go, no zone of several nodes is lost as a
// whole, and no more nodes are silent than the scheme survives. Beyond that
// it is more likely that the network is at fault.
func (c *Controller) mayLose(t metadata.Topology, lost metadata.Store) bool {
	zones, zoneNodes, left, silent := map[string]bool{}, map[layout.NodeID]bool{}, map[layout.NodeID]bool{}, map[layout.NodeID]bool{}
	for _, s := range t.Stores {
		if s.Zone == lost.Zone {
			zoneNodes[s.Node] = true
		}
		node := c.seen[s.Node]
		answers := node != nil && node.answers
		switch state := t.Duty(s.ID).State; {
		case state >= metadata.DutyOut || s.ID == lost.ID:
		case answers:
			zones[s.Zone] = true
			left[s.Node] = true
		default:
			silent[s.Node] = true
		}
	}
	delete(silent, lost.Node)
	return len(left) >= t.Scheme.Total() && (zones[lost.Zone] || len(zoneNodes) == 1) && len(silent) < int(t.Scheme.Parity)
}
