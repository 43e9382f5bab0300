package metadata

import (
	"context"

	"partstore/internal/layout"
)

// DutyState is what a store is for.
type DutyState uint8

// Duties are part of the state format and of commands. A store without a duty
// is in.
const (
	DutyIn       DutyState = 0 // holds slots, and may be given more
	DutyDraining DutyState = 1 // serves what it has while its slots go to others
	DutyOut      DutyState = 2 // counted as lost, though it may come back; its slots go to others
	DutyDead     DutyState = 3 // lost for good: it never is in again by itself
)

// String returns the operator's word.
func (s DutyState) String() string {
	switch s {
	case DutyIn:
		return "in"
	case DutyDraining:
		return "draining"
	case DutyOut:
		return "out"
	case DutyDead:
		return "dead"
	}
	return "unknown"
}

// Duty is what was decided about a store.
type Duty struct {
	Store   layout.StoreID
	State   DutyState
	Version uint64              // grows by one with every decision; 0 before the first
	Auto    bool                // decided by the controller, which may take it back
	Reason  string              // for people
	Since   layout.RegistryTime // given by the registry
}

func (d *Duty) code(c *coder) {
	c.fixed(d.Store[:])
	codeUint(c, &d.State, DutyDead)
	c.uint(&d.Version)
	c.bool(&d.Auto)
	c.string(&d.Reason, maxNameSize)
	c.uint((*uint64)(&d.Since))
}

// Duty returns what was decided about a store; the zero version if nothing was.
func (t Topology) Duty(id layout.StoreID) Duty {
	for _, d := range t.Duties {
		if d.Store == id {
			return d
		}
	}
	return Duty{Store: id}
}

// Store returns the registered store of an ID, if there is one.
func (t Topology) Store(id layout.StoreID) (Store, bool) {
	for _, s := range t.Stores {
		if s.ID == id {
			return s, true
		}
	}
	return Store{}, false
}

// leavingNodes are the nodes with stores none of which is in: they are being
// emptied, or counted as lost. Their votes are better held by others.
func leavingNodes(t Topology) map[layout.NodeID]bool {
	leaving := map[layout.NodeID]bool{}
	for _, s := range t.Stores {
		others, any := leaving[s.Node]
		leaving[s.Node] = (!any || others) && t.Duty(s.ID).State != DutyIn
	}
	return leaving
}

// SetDuty decides about a store, if d.Version is still that of its duty, else it
// returns ErrDutyChanged.
func (r *Raft) SetDuty(ctx context.Context, d Duty) error {
	_, err := r.propose(ctx, &setDuty{Request: layout.NewRequestID(), Duty: d})
	return err
}

// setDuty carries the version it expects and no time.
type setDuty struct {
	Request layout.RequestID
	Duty    Duty
}

func (*setDuty) kind() commandKind { return kindSetDuty }
func (x *setDuty) code(c *coder) {
	c.fixed(x.Request[:])
	x.Duty.code(c)
}

func (x *setDuty) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		d := x.Duty
		if _, known := m.stores[d.Store]; !known {
			return refuse(ErrInvalid), nil
		}
		if m.duties[d.Store].Version != d.Version {
			return refuse(ErrDutyChanged), nil
		}
		d.Version++
		d.Since = m.meta.time
		m.duties[d.Store] = d
		m.meta.topologyVersion++
		m.membersChanged = true // the node's vote may have to go
		if err := m.put(dutyKey(d.Store), d.code); err != nil {
			return result{}, err
		}
		return result{}, m.note(Event{Kind: EventDuty, Node: m.stores[d.Store].Node, Store: d.Store, Reason: d.State.String() + ": " + d.Reason})
	})
}
