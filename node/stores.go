package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/repair"
)

// describeStore says what the registry knows of a store.
func describeStore(t metadata.Topology, s metadata.Store, slots slotCount, state admin.StoreState) admin.Store {
	duty := t.Duty(s.ID)
	return admin.Store{
		ID: s.ID, State: state, CapacityBytes: s.CapacityBytes, FreeBytes: -1,
		Duty: duty.State.String(), Reason: duty.Reason, Version: duty.Version,
		Slots: slots.held, Arriving: slots.arriving, Leaving: slots.leaving,
	}
}

// slotCount is the slots of a store: those it holds, those of them that have not
// settled, and those it held before that have not.
type slotCount struct{ held, arriving, leaving int }

func countSlots(t metadata.Topology) map[layout.StoreID]slotCount {
	counts := make(map[layout.StoreID]slotCount, len(t.Stores))
	add := func(s layout.StoreID, more slotCount) {
		c := counts[s]
		counts[s] = slotCount{c.held + more.held, c.arriving + more.arriving, c.leaving + more.leaving}
	}
	for _, g := range t.Groups {
		for slot, holder := range g.Slots {
			add(holder, slotCount{held: 1})
			if g.Unsettled(uint8(slot)) {
				add(holder, slotCount{arriving: 1})
				add(g.Move(uint8(slot)).Former, slotCount{leaving: 1})
			}
		}
	}
	return counts
}

// DecideStore implements admin.Service.
func (o operator) DecideStore(ctx context.Context, d admin.StoreDecision) (admin.StorePlan, error) {
	n := o.n
	if !n.isOpen() {
		return admin.StorePlan{}, errStarting
	}
	state, ok := dutyStates[d.Duty]
	if !ok {
		return admin.StorePlan{}, fmt.Errorf("%w: duty %q", admin.ErrInvalid, d.Duty)
	}
	t, err := n.registry.Topology(ctx)
	if err != nil {
		return admin.StorePlan{}, err
	}
	if _, known := t.Store(d.Store); !known {
		return admin.StorePlan{}, fmt.Errorf("%w: store %s", admin.ErrNotFound, d.Store)
	}
	nodes, err := o.Nodes(ctx)
	if err != nil {
		return admin.StorePlan{}, err
	}
	plan, err := n.planStore(ctx, t, nodes, d.Store, d.Besides)
	if err != nil {
		return plan, err
	}
	if state == metadata.DutyIn {
		plan.Problem = ""
	}
	if d.DryRun {
		return plan, nil
	}
	if plan.Problem != "" && !d.NoRoom {
		return plan, fmt.Errorf("%w: %s", admin.ErrMargin, plan.Problem)
	}
	err = n.registry.SetDuty(ctx, metadata.Duty{Store: d.Store, State: state, Version: d.Version, Reason: d.Reason})
	plan.Done = err == nil
	return plan, err
}

var dutyStates = map[string]metadata.DutyState{
	"in": metadata.DutyIn, "draining": metadata.DutyDraining, "out": metadata.DutyOut, "dead": metadata.DutyDead,
}

// planStore says what follows if a store gives up its slots, and others with it.
func (n *Node) planStore(ctx context.Context, t metadata.Topology, nodes []admin.Node, id layout.StoreID, besides []layout.StoreID) (admin.StorePlan, error) {
	var plan admin.StorePlan
	gone := append([]layout.StoreID{id}, besides...)
	up := map[layout.StoreID]bool{}
	plan.Targets, plan.Room = takers(nodes, gone)
	for _, node := range nodes {
		for _, s := range node.Stores {
			up[s.ID] = s.State == admin.StoreUp && s.Duty != "dead"
		}
	}
	plan.Slots = countSlots(t)[id].held
	plan.Margin, _ = margin(t.Groups, t.Scheme, func(s layout.StoreID) bool { return !slices.Contains(gone, s) && up[s] })
	moved := int64(0)
	err := eachPart(ctx, n.registry, func(p metadata.OwnedPart) {
		for _, slot := range p.Layout.Slots {
			if t.Groups[p.Layout.Group].Slots[slot] == id {
				plan.Bytes += p.Layout.Scheme.ChunkSize(p.Layout.Size)
				moved += repair.Moved(p.Layout, up[id])
			}
		}
	})
	if err != nil {
		return plan, err
	}
	policy, err := n.registry.RepairPolicy()
	if err != nil {
		return plan, err
	}
	targets := max(plan.Targets, 1)
	bandwidth := policy.BandwidthOr(int64(n.cfg.HealBandwidth), targets) // of each node, if all are configured like this one
	plan.Seconds = moved / (bandwidth * int64(targets))
	switch {
	case plan.Slots == 0:
	case plan.Targets < t.Scheme.Total():
		plan.Problem = fmt.Sprintf("a group needs %d nodes, and %d would be left", t.Scheme.Total(), plan.Targets)
	case plan.Bytes > plan.Room:
		plan.Problem = fmt.Sprintf("%d bytes are to be moved, and there is room for %d", plan.Bytes, plan.Room)
	case plan.Margin < 1:
		plan.Problem = "a group would survive no further loss meanwhile"
	}
	return plan, nil
}

// planPage is how many part rows a plan looks at together.
const planPage = 1024

// eachPart calls do with every part row there is, garbage among them.
func eachPart(ctx context.Context, records partRecords, do func(metadata.OwnedPart)) error {
	for last := (*metadata.OwnedPart)(nil); ; {
		page, err := records.AllParts(last, planPage)
		if err = errors.Join(err, ctx.Err()); err != nil || len(page) == 0 {
			return err
		}
		for _, p := range page {
			do(p)
		}
		last = &page[len(page)-1]
	}
}

// takers counts the nodes with a store that may be given slots when some stores
// are gone, and the room of those.
func takers(nodes []admin.Node, gone []layout.StoreID) (count int, room int64) {
	for _, node := range nodes {
		taker := false
		for _, s := range node.Stores {
			if s.State == admin.StoreUp && s.Duty == "in" && !slices.Contains(gone, s.ID) {
				taker = true
				room += max(s.FreeBytes, 0)
			}
		}
		if taker {
			count++
		}
	}
	return count, room
}
