package repair

import (
	"context"
	"errors"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
)

// A slot that changed hands is settled by a pass of its holder over all records:
// what the pass heals anyway is what the slot lacks. The former holder lets go of
// its chunks afterwards, in a pass of its own.

// slotID names a slot of a group.
type slotID struct {
	group layout.GroupID
	slot  uint8
}

// arrivalCheck is how often a healer looks whether a slot waits for its store.
const arrivalCheck = 250 * time.Millisecond

// await returns when the next pass is due: after the interval, or, if a slot
// waits for this store and the pause is over, at once.
func (h *Healer) await(ctx context.Context, pause time.Duration) error {
	began := time.Now()
	tick := time.NewTicker(min(arrivalCheck, h.cfg.Interval))
	defer tick.Stop()
	for time.Since(began) < h.cfg.Interval {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Since(began) > pause && len(h.unsettled()) > 0 {
			return nil
		}
	}
	return ctx.Err()
}

// unsettled are the slots this store holds without being known to have all their
// chunks, with the epoch at which it got them.
func (h *Healer) unsettled() map[slotID]uint32 {
	var slots map[slotID]uint32
	for _, g := range h.cfg.View().Groups {
		for slot := range g.Moves {
			if g.Unsettled(uint8(slot)) && g.Slots[slot] == h.cfg.Self {
				if slots == nil {
					slots = map[slotID]uint32{}
				}
				slots[slotID{g.ID, uint8(slot)}] = g.Moves[slot].Epoch
			}
		}
	}
	return slots
}

// arrivals is what one pass over the records does for slots that changed hands.
type arrivals struct {
	*Healer
	waiting map[slotID]uint32 // had moved when the pass began, and lack nothing yet found
	stale   []staleChunk
}

// staleChunk is a chunk of this store that is another's by now.
type staleChunk struct {
	id   layout.ChunkID
	slot slotID
}

func (h *Healer) arriving() *arrivals { return &arrivals{Healer: h, waiting: h.unsettled()} }

// incomplete keeps a slot from being settled by this pass.
func (a *arrivals) incomplete(id slotID) { delete(a.waiting, id) }

// settle records the slots that lack nothing. The pass has seen every record
// there was when they moved; later ones name no chunk that was placed before.
func (a *arrivals) settle(ctx context.Context, healed *Healed) {
	for id, epoch := range a.waiting {
		err := a.cfg.Records.SettleSlot(ctx, metadata.SettledSlot{Group: id.group, Slot: id.slot, Epoch: epoch})
		switch {
		case err == nil:
			healed.Settled++
		case !errors.Is(err, metadata.ErrSlotChanged): // else it is another store's by now, or anew
			a.cfg.Logger.Info("slot not settled", "group", id.group, "slot", id.slot, "err", err)
		}
	}
}

// examine notes the chunks of a part that are on this store and belong to
// another that has had them for long enough.
func (a *arrivals) examine(ctx context.Context, l layout.Layout) {
	if len(a.stale) >= maxSick {
		return // the next pass finds the others
	}
	group, known := a.cfg.View().Group(l.Group)
	if !known || group.Moves == nil {
		return
	}
	for i, slot := range l.Slots {
		if a.belongsElsewhere(group, slot) {
			if _, err := a.cfg.Store.Stat(ctx, l.Chunk(i)); err == nil {
				a.stale = append(a.stale, staleChunk{l.Chunk(i), slotID{l.Group, slot}})
			}
		}
	}
}

func (h *Healer) belongsElsewhere(g layout.Group, slot uint8) bool {
	move := g.Move(slot)
	return g.Slots[slot] != h.cfg.Self && move.Epoch > 0 && !g.Unsettled(slot) &&
		move.Settled+layout.RegistryTime(h.cfg.Grace.Milliseconds()) <= h.cfg.Now()
}

// letGo deletes the chunks that were noted. This store may be given the slot
// again at any time, and would then count on what it has: so it asks the registry, not its
// copy, and heals nothing meanwhile.
func (a *arrivals) letGo(ctx context.Context, healed *Healed) error {
	stale := a.stale
	a.stale = nil
	if len(stale) == 0 {
		return nil
	}
	a.work.Lock()
	defer a.work.Unlock()
	topology, err := a.cfg.Topology(ctx)
	if err != nil {
		return err
	}
	for _, c := range stale {
		if int64(c.slot.group) >= int64(len(topology.Groups)) || !a.belongsElsewhere(topology.Groups[c.slot.group], c.slot.slot) {
			continue
		}
		switch err := a.cfg.Store.Delete(ctx, c.id); {
		case err == nil:
			healed.LetGo++
		case !errors.Is(err, chunkstore.ErrNotFound):
			return err
		}
	}
	return nil
}

// copy makes a chunk from the one of another store.
func (h *Healer) copy(ctx context.Context, l layout.Layout, i int, from chunkstore.Store, start starter) error {
	info, err := from.Stat(ctx, l.Chunk(i))
	if err != nil {
		return err
	}
	r, err := from.Open(ctx, l.Chunk(i), 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	return h.write(ctx, l, i, start, movedPerByte(l.Scheme, true), func(begin beginner) error {
		w, err := begin(info.Label)
		if err != nil {
			return err
		}
		return readWhole(r, l.Chunk(i), l.Scheme.ChunkSize(l.Size), w.WriteBlock)
	})
}
