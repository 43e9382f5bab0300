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
	AtOnce    uint64 // chunks made at a time on all nodes together; 0: no bound
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

// AtOnceOf is how many chunks one node, of so many that hold slots, makes at a time:
// its share of AtOnce, rounded down, but one at least, so that no store is left
// unhealed; 0 if there is no bound.
func (p RepairPolicy) AtOnceOf(nodes int) int {
	if p.AtOnce == 0 {
		return 0
	}
	return max(1, int(p.AtOnce)/max(1, nodes))
}

// code leaves out what is not set at the end: rows from before there was a total, or
// a bound of what is made at once, have none.
func (p *RepairPolicy) code(c *coder) {
	c.bool(&p.Paused)
	c.uint(&p.Bandwidth)
	if c.decoding && len(c.buf) == 0 || !c.decoding && p.Total == 0 && p.AtOnce == 0 {
		return
	}
	c.uint(&p.Total)
	if c.decoding && len(c.buf) == 0 || !c.decoding && p.AtOnce == 0 {
		if p.Total == 0 {
			c.fail("total of 0")
		}
		return
	}
	if c.uint(&p.AtOnce); p.AtOnce == 0 {
		c.fail("nothing made at once")
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
	RepairAtOnce        RepairVerb = 5 // chunks made at a time on all nodes together
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
	case RepairAtOnce:
		return "at-once"
	}
	return "unknown"
}

// Throttles reports whether the verb takes a limit.
func (v RepairVerb) Throttles() bool {
	return v == RepairThrottle || v == RepairThrottleTotal || v == RepairAtOnce
}

func (v RepairVerb) maxLimit() uint64 {
	if v == RepairAtOnce {
		return MaxRepairAtOnce
	}
	return MaxRepairBandwidth
}

// Bounds of what is not 0. A bandwidth below the least, which is a block a second, is
// more likely a number whose unit was forgotten.
const (
	MinRepairBandwidth = 64 << 10 // bytes a second
	MaxRepairBandwidth = 1 << 40
	MaxRepairAtOnce    = 1 << 20 // chunks
)

// RepairChange is one decision about healing.
type RepairChange struct {
	Verb  RepairVerb
	Limit uint64        // of a verb that takes one: bytes a second, or chunks; 0 takes it back
	Node  layout.NodeID // that the operator asked
}

// Check reports, as ErrInvalid, a limit that no cluster should have, and one that
// so many nodes that hold slots cannot keep.
func (c RepairChange) Check(nodes int) error {
	switch {
	case !c.Verb.Throttles() || c.Limit == 0:
	case c.Limit > c.Verb.maxLimit():
		return fmt.Errorf("%w: %s %d: the most is %d", ErrInvalid, c.Verb, c.Limit, c.Verb.maxLimit())
	case c.Verb == RepairAtOnce && c.Limit < uint64(nodes):
		return fmt.Errorf("%w: %s %d: the least is %d, one chunk for each node that holds slots", ErrInvalid, c.Verb, c.Limit, nodes)
	case c.Verb != RepairAtOnce && c.Limit < MinRepairBandwidth:
		return fmt.Errorf("%w: %s to %d bytes a second: the least is 64 KiB/s", ErrInvalid, c.Verb, c.Limit)
	}
	return nil
}

// changeRepair changes one thing and leaves the rest of the policy alone.
type changeRepair struct {
	Request layout.RequestID
	Change  RepairChange
}

func (*changeRepair) kind() commandKind { return kindChangeRepair }
func (x *changeRepair) code(c *coder) {
	c.fixed(x.Request[:])
	codeUint(c, &x.Change.Verb, RepairAtOnce)
	c.uint(&x.Change.Limit)
	c.fixed(x.Change.Node[:])
}

// apply takes a bandwidth below the least, as nodes did before there was one: all
// copies must come to the same. ChangeRepair proposes none.
func (x *changeRepair) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if x.Change.Verb.Throttles() && x.Change.Limit > x.Change.Verb.maxLimit() {
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
			p.Bandwidth = x.Change.Limit
			reason = fmt.Sprintf("throttle to %d bytes a second on each node", p.Bandwidth)
			if p.Bandwidth == 0 {
				reason = "throttle to what each node is configured for"
			}
		case RepairThrottleTotal:
			p.Total = x.Change.Limit
			reason = fmt.Sprintf("throttle to %d bytes a second on all nodes together", p.Total)
			if p.Total == 0 {
				reason = "throttle all nodes together no more"
			}
		case RepairAtOnce:
			p.AtOnce = x.Change.Limit
			reason = fmt.Sprintf("make %d chunks at once on all nodes together", p.AtOnce)
			if p.AtOnce == 0 {
				reason = "bound no more how many chunks are made at once"
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
// as its copy of the registry has it. A limit that Check reports is refused.
func (r *Raft) ChangeRepair(ctx context.Context, c RepairChange) error {
	t, _ := r.LocalTopology()
	nodes := make(map[layout.StoreID]layout.NodeID, len(t.Stores))
	for _, s := range t.Stores {
		nodes[s.ID] = s.Node
	}
	if err := c.Check(layout.Holding(t.Groups, func(s layout.StoreID) layout.NodeID { return nodes[s] })); err != nil {
		return err
	}
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
