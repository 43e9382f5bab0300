package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"partstore/internal/layout"
)

// MoveSlot gives a slot of a group another store.
type MoveSlot struct {
	Group  layout.GroupID
	Slot   uint8
	Epoch  uint32 // the group's as the caller knows it
	To     layout.StoreID
	Reason string // for people
}

// MoveSlot gives a slot to a store that is in and not in the group yet. It
// returns ErrSlotChanged if the group has another epoch, and ErrDutyChanged if
// the store is not in. Until the slot is settled its chunks may be with its
// former holder.
func (r *Raft) MoveSlot(ctx context.Context, s MoveSlot) error {
	_, err := r.propose(ctx, &moveSlot{Request: layout.NewRequestID(), MoveSlot: s})
	return err
}

// SettledSlot is a slot whose holder has all the chunks that records name in it.
type SettledSlot struct {
	Group layout.GroupID
	Slot  uint8
	Epoch uint32 // of the slot's Move
}

// SettleSlot records that the former holder of a slot is needed no more. It
// returns ErrSlotChanged if the slot changed hands again.
func (r *Raft) SettleSlot(ctx context.Context, s SettledSlot) error {
	_, err := r.propose(ctx, &settleSlot{s})
	return err
}

type moveSlot struct {
	Request layout.RequestID
	MoveSlot
}

func (*moveSlot) kind() commandKind { return kindMoveSlot }
func (x *moveSlot) code(c *coder) {
	c.fixed(x.Request[:])
	c.uint32((*uint32)(&x.Group))
	c.byte(&x.Slot)
	c.uint32(&x.Epoch)
	c.fixed(x.To[:])
	c.string(&x.Reason, maxNameSize)
}

func (x *moveSlot) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) { return x.move(m) })
}

func (x *moveSlot) move(m *machine) (result, error) {
	if int64(x.Group) >= int64(len(m.groups)) || int(x.Slot) >= len(m.groups[x.Group].Slots) {
		return refuse(ErrInvalid), nil
	}
	if _, known := m.stores[x.To]; !known {
		return refuse(ErrInvalid), nil
	}
	g := m.groups[x.Group]
	switch {
	case g.Epoch != x.Epoch || slices.Contains(g.Slots, x.To):
		return refuse(ErrSlotChanged), nil
	case m.duties[x.To].State != DutyIn:
		return refuse(ErrDutyChanged), nil
	}
	g.Epoch++
	g.Slots, g.Moves = slices.Clone(g.Slots), slices.Clone(g.Moves)
	if g.Moves == nil {
		g.Moves = make([]layout.Move, len(g.Slots))
	}
	g.Moves[x.Slot] = layout.Move{Former: m.former(g, x), Epoch: g.Epoch, At: m.meta.time}
	g.Slots[x.Slot] = x.To
	return result{}, m.putGroup(g)
}

// former is the store to look for the slot's chunks besides the new holder. If
// the slot was not settled, that is the one before its holder, unless that has
// nothing to give, or is the new one.
func (m *machine) former(g layout.Group, x *moveSlot) layout.StoreID {
	holder, before := g.Slots[x.Slot], g.Moves[x.Slot].Former
	if before.IsZero() || before == x.To || m.duties[before].State >= DutyOut {
		return holder
	}
	return before
}

type settleSlot struct{ SettledSlot }

func (*settleSlot) kind() commandKind { return kindSettleSlot }
func (x *settleSlot) code(c *coder) {
	c.uint32((*uint32)(&x.Group))
	c.byte(&x.Slot)
	c.uint32(&x.Epoch)
}

// apply needs no memory of having been done: a slot that is settled has no
// former holder.
func (x *settleSlot) apply(m *machine) (result, error) {
	if int64(x.Group) >= int64(len(m.groups)) || int(x.Slot) >= len(m.groups[x.Group].Slots) {
		return refuse(ErrInvalid), nil
	}
	g := m.groups[x.Group]
	switch move := g.Move(x.Slot); {
	case move.Epoch != x.Epoch:
		return refuse(ErrSlotChanged), nil
	case move.Former.IsZero():
		return result{}, nil
	}
	g.Moves = slices.Clone(g.Moves)
	g.Moves[x.Slot].Former, g.Moves[x.Slot].Settled = layout.StoreID{}, m.meta.time
	return result{}, m.putGroup(g)
}

// putGroup writes a group that has Moves.
func (m *machine) putGroup(g layout.Group) error {
	m.groups[g.ID] = g
	m.meta.topologyVersion++
	return errors.Join(
		m.put(groupKey(g.ID), func(c *coder) { codeGroup(&g, c) }),
		m.put(movesKey(g.ID), codeMoves(&g.Moves)),
	)
}

func codeMoves(moves *[]layout.Move) func(*coder) {
	return func(c *coder) {
		codeList(c, moves, maxSlots, func(v *layout.Move, c *coder) {
			c.fixed(v.Former[:])
			c.uint32(&v.Epoch)
			c.uint((*uint64)(&v.At))
			c.uint((*uint64)(&v.Settled))
		})
	}
}

// loadMoves reads what the rows say beside stores and groups, which are loaded.
func (m *machine) loadMoves() error {
	return errors.Join(
		scan(m.db, []byte{rowDuty}, func(_, v []byte) error {
			var d Duty
			err := decodeValue(v, d.code)
			m.duties[d.Store] = d
			return err
		}),
		scan(m.db, []byte{rowMoves}, func(k, v []byte) error {
			if len(k) != 5 || int64(binary.BigEndian.Uint32(k[1:])) >= int64(len(m.groups)) {
				return errMalformed
			}
			return decodeValue(v, codeMoves(&m.groups[binary.BigEndian.Uint32(k[1:])].Moves))
		}),
	)
}

// forgetMoved takes the chunks off a layout that may not be where they belong,
// because their slot changed hands when the attempt had begun. It reports whether
// a write quorum is left.
func (m *machine) forgetMoved(l *layout.Layout) bool {
	if len(l.Slots) == 0 {
		return true // an empty part has no chunks
	}
	g := m.groups[l.Group]
	for i, slot := range l.Slots {
		if move := g.Move(slot); move.Epoch > 0 && l.Attempt.Began() <= move.At {
			l.Durable &^= 1 << i
		}
	}
	return l.DurableCount() >= l.Scheme.WriteQuorum()
}
