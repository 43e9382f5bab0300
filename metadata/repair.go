package metadata

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// RepairPolicy is what an operator wants of healing in the whole cluster.
type RepairPolicy struct {
	Paused    bool   // nothing is rebuilt or moved
	Bandwidth uint64 // bytes a second on each node; 0: what each is configured for
	Total     uint64 // bytes a second on all nodes together; 0: no bound
}

// BandwidthOr is the bandwidth of one node, of so many that hold slots: that of the
// policy, or its own where the policy has none, and no more than its share of the
// total.
func (p RepairPolicy) BandwidthOr(own int64, nodes int) int64 {
	if p.Bandwidth > 0 {
		own = int64(p.Bandwidth)
	}
	if p.Total > 0 {
		own = min(own, max(1, int64(p.Total)/int64(max(1, nodes))))
	}
	return own
}

// code leaves a total out that is not set: rows from before there was one have none.
func (p *RepairPolicy) code(c *coder) {
	c.bool(&p.Paused)
	c.uint(&p.Bandwidth)
	if c.decoding && len(c.buf) == 0 || !c.decoding && p.Total == 0 {
		return
	}
	if c.uint(&p.Total); p.Total == 0 {
		c.fail("total of 0")
	}
}

// RepairVerb is what an operator does to healing.
type RepairVerb uint8

// Verbs are part of commands and must not change.
const (
	RepairPause         RepairVerb = 1
	RepairResume        RepairVerb = 2
	RepairThrottle      RepairVerb = 3 // each node
	RepairThrottleTotal RepairVerb = 4 // all nodes together
)

// String returns the operator's word.
func (v RepairVerb) String() string {
	switch v {
	case RepairPause:
		return "pause"
	case RepairResume:
		return "resume"
	case RepairThrottle:
		return "throttle"
	case RepairThrottleTotal:
		return "throttle-total"
	}
	return "unknown"
}

// Throttles reports whether the verb takes a bandwidth.
func (v RepairVerb) Throttles() bool { return v == RepairThrottle || v == RepairThrottleTotal }

// MaxRepairBandwidth bounds what a throttle takes, in bytes a second.
const MaxRepairBandwidth = 1 << 40

// RepairChange is one decision about healing.
type RepairChange struct {
	Verb      RepairVerb
	Bandwidth uint64        // of a throttle; 0 takes the limit back
	Node      layout.NodeID // that the operator asked
}

// changeRepair changes one thing and leaves the rest of the policy alone.
type changeRepair struct {
	Request layout.RequestID
	Change  RepairChange
}

func (*changeRepair) kind() commandKind { return kindChangeRepair }
func (x *changeRepair) code(c *coder) {
	c.fixed(x.Request[:])
	codeUint(c, &x.Change.Verb, RepairThrottleTotal)
	c.uint(&x.Change.Bandwidth)
	c.fixed(x.Change.Node[:])
}

func (x *changeRepair) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if x.Change.Verb.Throttles() && x.Change.Bandwidth > MaxRepairBandwidth {
			return refuse(ErrInvalid), nil
		}
		var p RepairPolicy
		if _, err := m.get(repairKey(), p.code); err != nil {
			return result{}, err
		}
		before := p
		reason := x.Change.Verb.String()
		switch x.Change.Verb {
		case RepairPause:
			p.Paused = true
		case RepairResume:
			p.Paused = false
		case RepairThrottle:
			p.Bandwidth = x.Change.Bandwidth
			reason = fmt.Sprintf("throttle to %d bytes a second on each node", p.Bandwidth)
			if p.Bandwidth == 0 {
				reason = "throttle to what each node is configured for"
			}
		case RepairThrottleTotal:
			p.Total = x.Change.Bandwidth
			reason = fmt.Sprintf("throttle to %d bytes a second on all nodes together", p.Total)
			if p.Total == 0 {
				reason = "throttle all nodes together no more"
			}
		default:
			return refuse(ErrInvalid), nil
		}
		if p == before {
			return result{}, nil
		}
		if err := m.put(repairKey(), p.code); err != nil {
			return result{}, err
		}
		return result{}, m.note(Event{Kind: EventRepairChanged, Node: x.Change.Node, Reason: reason})
	})
}

func repairKey() []byte { return []byte{rowRepair} }

// ChangeRepair records a decision of an operator; every node follows it as soon
// as its copy of the registry has it.
func (r *Raft) ChangeRepair(ctx context.Context, c RepairChange) error {
	_, err := r.propose(ctx, &changeRepair{Request: layout.NewRequestID(), Change: c})
	return err
}

// RepairPolicy returns the policy as this node's copy has it.
func (r *Raft) RepairPolicy() (p RepairPolicy, err error) {
	err = r.asTheyAre(func(rows pebble.Reader) error {
		_, err := getRow(rows, repairKey(), p.code)
		return err
	})
	return p, err
}
