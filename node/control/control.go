// Package control decides, on the node that leads the registry, which stores
// count and who holds the slots of the others. It turns long absence into a
// recorded duty, gives slots of stores that are out, dead or draining to others, and
// fills up stores that have too few: one decision at a time, each a command of the
// registry with a reason, and told by an event. What follows from a decision, the stores
// do themselves (node/repair).
//
// A wrong decision costs movement, never data: slots settle before a former
// holder lets go. So a controller may lose its leadership at any point, and two may
// decide at once; the registry refuses what was decided by an older state.
package control

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Registry is what a Controller needs of the registry.
type Registry interface {
	LocalTopology() (metadata.Topology, uint64)
	SetDuty(ctx context.Context, d metadata.Duty) error
	MoveSlot(ctx context.Context, s metadata.MoveSlot) error
	RecordEvents(ctx context.Context, request layout.RequestID, events []metadata.Event) error
}

// Report is what a node said when it was asked.
type Report struct {
	Fenced  []layout.StoreID // its stores that take no writes any more
	Missing []layout.StoreID // its stores that it has not found, or could not open
}

// Config says how to decide. All fields are required.
type Config struct {
	Registry Registry
	// Leads reports whether this node is to decide.
	Leads func() bool
	// Ask asks a node directly. An error means that it does not answer.
	Ask func(ctx context.Context, node layout.NodeID) (Report, error)
	// Gossips reports whether gossip believes that a node is there. It can only
	// keep a node from being out, never make it so.
	Gossips func(node layout.NodeID) bool
	// Grace is how long a node does not answer before its stores are out.
	Grace time.Duration
	// Pace is the least time between two decisions.
	Pace time.Duration
	// Moves bounds the slots that are under way from stores that still serve.
	Moves int
	// Rebalance fills up stores that have fewer slots than others.
	Rebalance bool
	Logger    *slog.Logger
}

// Controller decides while its node leads.
type Controller struct {
	cfg  Config
	seen map[layout.NodeID]*sighting

	balanced state // of which it is known that nothing is to be evened out

	told map[layout.StoreID]occasion // of whose slots, or by the zero ID of all together, an event tells already
}

// state is what a look for balance depends on.
type state struct {
	topology uint64
	takers   int
}

// sighting is what this leader knows of a node by its own experience. A new
// leader starts anew, so that a change of leaders only makes it wait longer.
type sighting struct {
	asked   time.Time // first, since the node began to be as it is
	answers bool
	report  Report
	missing map[layout.StoreID]time.Time // since when it has been without a store
}

// New returns a Controller that decides nothing before Run.
func New(cfg Config) *Controller {
	return &Controller{cfg: cfg, seen: map[layout.NodeID]*sighting{}, told: map[layout.StoreID]occasion{}}
}

// idlePaces is how much slower a controller is that found nothing to decide.
const idlePaces = 10

// askInterval is how often nodes are asked, or more often if the grace is short.
const askInterval = 5 * time.Second

// askTimeout bounds the question to one node.
const askTimeout = 2 * time.Second

// Run decides until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	asked, pause := time.Time{}, c.cfg.Pace
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		topology, version := c.cfg.Registry.LocalTopology()
		if !c.cfg.Leads() || len(topology.Groups) == 0 {
			clear(c.seen)
			clear(c.told)
			asked = time.Time{}
			continue
		}
		if time.Since(asked) > min(c.cfg.Grace/8, askInterval) {
			c.ask(ctx, topology)
			asked = time.Now()
		}
		decided, err := c.decide(ctx, topology, version)
		if pause = c.cfg.Pace; !decided {
			pause *= idlePaces
		}
		if err != nil && ctx.Err() == nil &&
			!errors.Is(err, metadata.ErrSlotChanged) && !errors.Is(err, metadata.ErrDutyChanged) {
			c.cfg.Logger.Info("decide", "err", err)
		}
	}
}

// decide makes the most urgent decision there is, or none.
func (c *Controller) decide(ctx context.Context, t metadata.Topology, version uint64) (decided bool, err error) {
	if d, ok := c.duty(t, time.Now()); ok {
		c.cfg.Logger.Info("store", "store", d.Store, "duty", d.State, "reason", d.Reason)
		return true, c.cfg.Registry.SetDuty(ctx, d)
	}
	move, begun, ok := c.move(t, version)
	if !ok {
		return false, nil
	}
	if err := c.tell(ctx, begun); err != nil {
		return true, err
	}
	c.cfg.Logger.Info("move slot", "group", move.Group, "slot", move.Slot, "to", move.To, "reason", move.Reason)
	return true, c.cfg.Registry.MoveSlot(ctx, move)
}

// ask asks every node at the same time.
func (c *Controller) ask(ctx context.Context, t metadata.Topology) {
	type answer struct {
		node   layout.NodeID
		report Report
		err    error
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make(chan answer, len(t.Members))
	for _, m := range t.Members {
		go func() { // ends with ctx; the loop below waits for it
			report, err := c.cfg.Ask(ctx, m.ID)
			answers <- answer{m.ID, report, err}
		}()
	}
	for range t.Members {
		a := <-answers
		answers := a.err == nil
		s := c.seen[a.node]
		if s == nil || s.answers != answers {
			s = &sighting{asked: time.Now(), answers: answers}
			c.seen[a.node] = s
		}
		s.note(a.report, time.Now())
	}
}

// note takes in what the node said. A node that does not answer says nothing.
func (s *sighting) note(r Report, now time.Time) {
	s.report = r
	missing := make(map[layout.StoreID]time.Time, len(r.Missing))
	for _, id := range r.Missing {
		since, known := s.missing[id]
		if !known {
			since = now
		}
		missing[id] = since
	}
	s.missing = missing
}

// lacks reports whether the node said that a store of its takes nothing.
func (s *sighting) lacks(id layout.StoreID) bool {
	return slices.Contains(s.report.Fenced, id) || slices.Contains(s.report.Missing, id)
}
