package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

// maxUntold is how many events a node keeps for a registry it cannot reach.
const maxUntold = 64

// tell has an event recorded soon. It never blocks; what it has no room for is
// in the log only.
func (n *Node) tell(kind string, store layout.StoreID, reason string) {
	n.log.Info("event", "kind", kind, "store", store, "reason", reason)
	if len(reason) > metadata.MaxEventReason {
		reason = reason[:metadata.MaxEventReason]
	}
	select {
	case n.untold <- metadata.Event{Kind: kind, Node: n.id, Store: store, Reason: reason}:
	default:
	}
}

// eventRetry is the pause between two tries to record an event.
const eventRetry = time.Second

// recordEvents records what was told until ctx ends. A fenced store is among
// the news: the registry may be on another drive.
func (n *Node) recordEvents(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-n.untold:
			request := layout.NewRequestID() // one for all tries: it is one event
			for {
				err := n.registry.RecordEvents(ctx, request, []metadata.Event{e})
				if err == nil || errors.Is(err, metadata.ErrInvalid) {
					break
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(eventRetry):
				}
			}
		}
	}
}

// Events implements admin.Service.
func (o operator) Events(_ context.Context, limit int) ([]admin.Event, error) {
	n := o.n
	if !n.isOpen() {
		return nil, errStarting
	}
	kept, registryNow, err := n.registry.Events(limit)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	events := make([]admin.Event, len(kept))
	for i, e := range kept {
		age := time.Duration(registryNow-e.Time) * time.Millisecond
		events[i] = admin.Event{
			Sequence: e.Sequence, RegistryMillis: uint64(e.Time), AgeSeconds: age.Seconds(), Time: now.Add(-age).UTC().Truncate(time.Second),
			Kind: e.Kind, Reason: e.Reason,
		}
		if !e.Node.IsZero() {
			node := n.ref(e.Node)
			events[i].Node = &node
		}
		if !e.Store.IsZero() {
			events[i].Store = &e.Store
		}
	}
	return events, nil
}

// Repair implements admin.Service.
func (o operator) Repair(context.Context) (admin.RepairPolicy, error) {
	if !o.n.isOpen() {
		return admin.RepairPolicy{}, errStarting
	}
	p, err := o.n.registry.RepairPolicy()
	return admin.RepairPolicy{
		Paused: p.Paused, BytesPerSecond: p.Bandwidth, TotalBytesPerSecond: p.Total, ChunksAtOnce: p.AtOnce, Nodes: o.n.currentView().Holding(),
	}, err
}

// ChangeRepair implements admin.Service.
func (o operator) ChangeRepair(ctx context.Context, verb metadata.RepairVerb, limit uint64) error {
	if !o.n.isOpen() {
		return errStarting
	}
	return o.n.registry.ChangeRepair(ctx, metadata.RepairChange{Verb: verb, Limit: limit, Node: o.n.id})
}

// memberReason says for people what an operator decided about the membership.
func (n *Node) memberReason(c metadata.MembersChange) string {
	reason := fmt.Sprintf("%s %s", c.Verb, n.ref(c.Node).Name)
	if !c.By.IsZero() {
		reason += " by " + n.ref(c.By).Name
	}
	if c.Force {
		reason += ", forced"
	}
	return reason
}
