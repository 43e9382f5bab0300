package admin

import (
	"fmt"
	"strings"

	"partstore/internal/layout"
)

// Codes of Reason.
const (
	ReasonNoLeader      = "no_leader"
	ReasonNoGroups      = "no_groups"
	ReasonNodeDown      = "node_down"
	ReasonStoreDown     = "store_down"
	ReasonStoreFenced   = "store_fenced"
	ReasonGroupDegraded = "group_degraded"
	ReasonWithoutMargin = "group_without_margin"
	ReasonUnreadable    = "group_unreadable"
	ReasonDiffers       = "registry_differs"
	ReasonDamaged       = "registry_damaged"
	ReasonDisk          = "registry_disk"
	ReasonRoom          = "registry_room"
	ReasonMoving        = "slots_moving"
	ReasonVote          = "registry_vote"
)

// CountGroups sorts the groups of a view by their slots that are up.
func CountGroups(v *layout.View) GroupCounts {
	var c GroupCounts
	for _, g := range v.Groups {
		up := 0
		for slot, s := range g.Slots {
			switch move := g.Move(uint8(slot)); {
			case !g.Unsettled(uint8(slot)):
				if v.Up(s) {
					up++
				}
			case v.Stores[s].Alive && v.Stores[move.Former].Alive: // between the two, all its chunks are there
				up++
				c.Moving++
			default:
				c.Moving++
			}
		}
		c.Total++
		switch k := int(v.Scheme.Data); {
		case up == len(g.Slots):
			c.Whole++
		case up > k:
			c.Degraded++
		case up == k:
			c.WithoutMargin++
		default:
			c.Unreadable++
		}
	}
	c.AtRisk = c.Total - c.Whole
	return c
}

// assess sets the verdict that the rest of s amounts to. Reasons come worst first.
func (s *Status) assess() {
	findings := []struct {
		found  bool
		health Health
		code   string
		text   string
	}{
		{s.Leader == nil, HealthUnavailable, ReasonNoLeader, "no leader is known"},
		{s.Groups.Total == 0, HealthUnavailable, ReasonNoGroups, "there are no placement groups yet"},
		{s.Groups.Unreadable > 0, HealthUnavailable, ReasonUnreadable,
			count(s.Groups.Unreadable, "group") + " with too few slots up to be read"},
		{s.Digest != nil && len(s.Digest.Other) > 0, HealthDegraded, ReasonDiffers, s.Digest.differs()},
		{len(s.Damaged) > 0, HealthDegraded, ReasonDamaged,
			"gave up a damaged registry and is filled with another: " + names(s.Damaged)},
		{len(s.Faulty) > 0, HealthDegraded, ReasonDisk,
			"the disk of the registry had a fault, and the node waits for it: " + names(s.Faulty)},
		{s.Room == "low" || s.Room == "none", HealthDegraded, ReasonRoom, "room for this node's registry is " + s.Room},
		{len(s.Absentees) > 0, HealthDegraded, ReasonVote, "counts as lost and still has a vote in the registry: " + names(s.Absentees)},
		{s.Groups.WithoutMargin > 0, HealthDegraded, ReasonWithoutMargin,
			count(s.Groups.WithoutMargin, "group") + " would not survive another loss"},
		{s.Groups.Degraded > 0, HealthDegraded, ReasonGroupDegraded,
			count(s.Groups.Degraded, "group") + " with slots down"},
		{s.Groups.Moving > 0, HealthDegraded, ReasonMoving,
			count(s.Groups.Moving, "slot") + " changed hands, and the new store may not have all chunks yet"},
		{s.Nodes.Down > 0, HealthDegraded, ReasonNodeDown, count(s.Nodes.Down, "node") + " down"},
		{s.Stores.Down > 0, HealthDegraded, ReasonStoreDown, count(s.Stores.Down, "store") + " down"},
		{s.Stores.Fenced > 0, HealthDegraded, ReasonStoreFenced,
			count(s.Stores.Fenced, "store") + " fenced, taking no writes"},
	}
	s.Health, s.Reasons = HealthOK, []Reason{}
	for _, f := range findings {
		if !f.found {
			continue
		}
		if s.Health == HealthOK {
			s.Health = f.health
		}
		s.Reasons = append(s.Reasons, Reason{Code: f.code, Message: f.text})
	}
}

func (d *Digest) differs() string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%d of %d members have another registry state at index %d than this node: %s", len(d.Other), d.Asked, d.Index, names(d.Other))
}

func names(nodes []NodeRef) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return strings.Join(all, " ")
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// assess sets the state of each part and of the object, the worst of them.
func (r *ObjectReport) assess() {
	r.State = PartWhole
	for i := range r.Parts {
		p := &r.Parts[i]
		p.State = p.assess()
		if rank(p.State) > rank(r.State) {
			r.State = p.State
		}
	}
}

func (p *PartReport) assess() PartState {
	good := 0
	for _, c := range p.Chunks {
		if c.State == ChunkOK {
			good++
		}
	}
	switch {
	case good == p.Scheme.Total():
		return PartWhole
	case good >= int(p.Scheme.Data):
		return PartDegraded
	default:
		return PartUnreadable
	}
}

func rank(s PartState) int {
	switch s {
	case PartWhole:
		return 0
	case PartDegraded:
		return 1
	default:
		return 2
	}
}

// Add counts the stores of one node.
func (c *StoreCounts) Add(stores []Store) {
	for _, s := range stores {
		c.Total++
		c.CapacityBytes += s.CapacityBytes
		switch {
		case s.Retired():
			c.Retired++
		case s.State == StoreUp:
			c.Up++
			c.FreeBytes += max(s.FreeBytes, 0)
		case s.State == StoreFenced:
			c.Fenced++
		default:
			c.Down++
		}
	}
}
