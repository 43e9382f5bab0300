package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"partstore/internal/layout"
	"partstore/metadata"
)

const reasonRebalance = "rebalance"

// burst is moves with one reason, of which one event tells: the slots of a store that
// is not in, or all that even out what the stores hold. What it says is the plan when
// the first of them is decided; another leader tells of what is left by then.
type burst struct {
	store    layout.StoreID // whose slots they are; zero if of several
	occasion occasion
	event    metadata.Event
}

// occasion is what gives rise to a burst: a decision about its store, or stores and
// decisions about them that are new.
type occasion struct {
	stores    int
	decisions uint64
}

// clearance is the burst that takes all slots off the store of a wish; nil if an
// event tells of it already. It applies the burst to the plan.
func (c *Controller) clearance(t metadata.Topology, plan *layout.Plan, first wish, wishes []wish) *burst {
	store := first.holder()
	b := &burst{store: store, occasion: occasion{decisions: t.Duty(store).Version}}
	if c.told[store] == b.occasion {
		return nil
	}
	to, waiting := map[layout.StoreID]int{}, 0
	for _, w := range wishes {
		if w.holder() != store {
			continue
		}
		taker, ok := plan.Successor(w.group.ID, w.slot)
		if !ok {
			waiting++
			continue
		}
		plan.Apply(layout.Change{Group: w.group, Slot: w.slot, To: taker})
		to[taker]++
	}
	reason := fmt.Sprintf("%s: %s to %s", first.state, slots(sum(to)), shares(to))
	if waiting > 0 {
		reason += fmt.Sprintf("; %d more wait for a store that may have them", waiting)
	}
	s, _ := t.Store(store) // else of no node
	b.event = metadata.Event{Kind: metadata.EventSlotsMove, Node: s.Node, Store: store, Reason: reason}
	return b
}

// rebalance is the burst of changes that a plan wants; nil if an event tells of it
// already. It applies the burst to the plan.
func (c *Controller) rebalance(t metadata.Topology, plan *layout.Plan) *burst {
	b := &burst{occasion: occasion{stores: len(t.Stores)}}
	for _, d := range t.Duties {
		b.occasion.decisions += d.Version
	}
	if c.told[b.store] == b.occasion {
		return nil
	}
	from, to := map[layout.StoreID]int{}, map[layout.StoreID]int{}
	fresh := 0
	for change, ok := plan.Balance(); ok; change, ok = plan.Balance() {
		if plan.Held(change.To) == 0 {
			fresh++
		}
		from[change.Group.Slots[change.Slot]]++
		to[change.To]++
		plan.Apply(change)
	}
	reason := reasonRebalance
	if fresh > 0 {
		reason += fmt.Sprintf(", new stores: %d", fresh)
	}
	b.event = metadata.Event{Kind: metadata.EventSlotsMove, Reason: fmt.Sprintf("%s: %s from %s to %s", reason, slots(sum(to)), shares(from), shares(to))}
	return b
}

// tell records the event of a burst before its first move, once. A move of which no
// event tells is not made.
func (c *Controller) tell(ctx context.Context, b *burst) error {
	if b == nil {
		return nil
	}
	if err := c.cfg.Registry.RecordEvents(ctx, layout.NewRequestID(), []metadata.Event{b.event}); err != nil {
		return err
	}
	c.told[b.store] = b.occasion
	return nil
}

func sum(counts map[layout.StoreID]int) (n int) {
	for _, more := range counts {
		n += more
	}
	return n
}

func slots(n int) string {
	if n == 1 {
		return "1 slot"
	}
	return fmt.Sprintf("%d slots", n)
}

// maxShares is how many stores an event names.
const maxShares = 8

// shares says how many slots each store has, the largest share first.
func shares(counts map[layout.StoreID]int) string {
	stores := slices.SortedFunc(maps.Keys(counts), func(a, b layout.StoreID) int {
		return cmp.Or(-cmp.Compare(counts[a], counts[b]), slices.Compare(a[:], b[:]))
	})
	var list []string
	for i, s := range stores {
		if i == maxShares {
			list = append(list, fmt.Sprintf("%d more stores", len(stores)-i))
			break
		}
		list = append(list, fmt.Sprintf("%s (%d)", s, counts[s]))
	}
	return strings.Join(list, ", ")
}
