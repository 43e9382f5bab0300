package metadata

import (
	"maps"
	"slices"
	"testing"

	"partstore/internal/layout"
)

// slotsModel is who holds which slots, the duties of stores, what operators want of
// healing, and the events of all that, as maps and a list without an end.
type slotsModel struct {
	now    layout.RegistryTime // of the command
	stores map[layout.StoreID]layout.NodeID
	holder map[modelSlot]layout.StoreID
	moves  map[modelSlot]layout.Move // the last of each
	epoch  map[layout.GroupID]uint32
	duties map[layout.StoreID]Duty
	policy RepairPolicy
	events []Event
}

type modelSlot struct {
	group layout.GroupID
	slot  uint8
}

// newSlotsModel has what the rows of a bench say, which has moved nothing yet.
func newSlotsModel(b *bench) *slotsModel {
	s := &slotsModel{
		stores: map[layout.StoreID]layout.NodeID{}, holder: map[modelSlot]layout.StoreID{}, moves: map[modelSlot]layout.Move{},
		epoch: map[layout.GroupID]uint32{}, duties: map[layout.StoreID]Duty{},
	}
	for id, store := range b.stores {
		s.stores[id] = store.Node
	}
	for _, g := range b.groups {
		s.epoch[g.ID] = g.Epoch
		for i, holder := range g.Slots {
			s.holder[modelSlot{g.ID, uint8(i)}] = holder
		}
	}
	return s
}

// forget takes the chunks off a layout whose slots moved when the attempt had begun.
func (s *slotsModel) forget(l layout.Layout) layout.Layout {
	for i, slot := range l.Slots {
		if move, moved := s.moves[modelSlot{l.Group, slot}]; moved && l.Attempt.Began() <= move.At {
			l.Durable &^= 1 << i
		}
	}
	return l
}

func (s *slotsModel) note(e Event) {
	e.Sequence, e.Time = uint64(len(s.events)+1), s.now
	s.events = append(s.events, e)
}

func (m *model) applySlots(cmd command) error {
	s := m.slots
	switch x := cmd.(type) {
	case *setDuty:
		return m.once(x.Request, func() error { return s.setDuty(x.Duty) })
	case *moveSlot:
		return m.once(x.Request, func() error { return s.move(x.MoveSlot) })
	case *settleSlot:
		return s.settle(x.SettledSlot)
	case *recordDurable:
		for _, d := range x.Chunks {
			m.recordDurable(d)
		}
		return nil
	case *changeRepair:
		return m.once(x.Request, func() error {
			s.change(x.Change)
			return nil
		})
	case *recordEvents:
		return m.once(x.Request, func() error {
			for _, e := range x.Events {
				s.note(e)
			}
			return nil
		})
	}
	return m.applyAccess(cmd)
}

func (s *slotsModel) setDuty(d Duty) error {
	node, known := s.stores[d.Store]
	switch {
	case !known:
		return ErrInvalid
	case s.duties[d.Store].Version != d.Version:
		return ErrDutyChanged
	}
	d.Version++
	d.Since = s.now
	s.duties[d.Store] = d
	s.note(Event{Kind: EventDuty, Node: node, Store: d.Store, Reason: d.State.String() + ": " + d.Reason})
	return nil
}

func (s *slotsModel) move(x MoveSlot) error {
	at := modelSlot{x.Group, x.Slot}
	holder, known := s.holder[at]
	if _, exists := s.stores[x.To]; !exists || !known {
		return ErrInvalid
	}
	if s.epoch[x.Group] != x.Epoch {
		return ErrSlotChanged
	}
	for other, h := range s.holder {
		if other.group == x.Group && h == x.To {
			return ErrSlotChanged
		}
	}
	if s.duties[x.To].State != DutyIn {
		return ErrDutyChanged
	}
	former := s.moves[at].Former
	if former.IsZero() || former == x.To || s.duties[former].State == DutyOut || s.duties[former].State == DutyDead {
		former = holder
	}
	s.epoch[x.Group]++
	s.holder[at], s.moves[at] = x.To, layout.Move{Former: former, Epoch: s.epoch[x.Group], At: s.now}
	return nil
}

func (s *slotsModel) settle(x SettledSlot) error {
	at := modelSlot{x.Group, x.Slot}
	move := s.moves[at]
	switch _, known := s.holder[at]; {
	case !known:
		return ErrInvalid
	case move.Epoch != x.Epoch:
		return ErrSlotChanged
	case !move.Former.IsZero():
		move.Former, move.Settled = layout.StoreID{}, s.now
		s.moves[at] = move
	}
	return nil
}

func (s *slotsModel) change(c RepairChange) {
	before := s.policy
	switch c.Verb {
	case RepairPause, RepairResume:
		s.policy.Paused = c.Verb == RepairPause
	case RepairThrottle:
		s.policy.Bandwidth = c.Limit
	case RepairThrottleTotal:
		s.policy.Total = c.Limit
	case RepairAtOnce:
		s.policy.AtOnce = c.Limit
	}
	if s.policy != before {
		s.note(Event{Kind: EventRepairChanged, Node: c.Node})
	}
}

// recordDurable has the record of a part name a chunk, if the record is the one that
// was meant and the slot is the same store's since.
func (m *model) recordDurable(d DurableChunk) {
	u := m.every[d.Upload]
	if u == nil {
		return
	}
	for _, parts := range []map[layout.PartNumber]Part{u.parts, u.rest} {
		p, found := parts[d.Number]
		l := p.Layout
		if found && l.Attempt == d.Attempt && int(d.Index) < len(l.Slots) && m.slots.moves[modelSlot{l.Group, l.Slots[d.Index]}].Epoch <= d.Epoch && d.Epoch <= m.slots.epoch[l.Group] && d.Epoch > 0 {
			p.Layout.Durable |= 1 << d.Index
			parts[d.Number] = p
		}
	}
}

func (s *slotsModel) compare(t *testing.T, b *bench) {
	t.Helper()
	fresh, err := openMachine(b.db) // what the rows say, not what is kept besides
	if err != nil {
		t.Fatal(err)
	}
	for at, holder := range s.holder {
		if g := fresh.groups[at.group]; g.Slots[at.slot] != holder || g.Move(at.slot) != s.moves[at] || g.Epoch != s.epoch[at.group] {
			t.Fatalf("slot %+v = %+v; want %s since %+v, epoch %d", at, g, holder, s.moves[at], s.epoch[at.group])
		}
	}
	if !maps.Equal(fresh.duties, s.duties) {
		t.Fatalf("duties %+v, want %+v", fresh.duties, s.duties)
	}
	var p RepairPolicy
	if _, err := getRow(b.db, repairKey(), p.code); err != nil || p != s.policy {
		t.Fatalf("policy %+v, %v; want %+v", p, err, s.policy)
	}
	events, _, err := lastEvents(b.db, MaxEvents)
	for i, e := range events {
		if e.Kind == EventRepairChanged {
			events[i].Reason = "" // words
		}
	}
	if want := s.events[max(0, len(s.events)-MaxEvents):]; err != nil || !slices.Equal(events, want) {
		t.Fatalf("events %+v, %v; want %+v", events, err, want)
	}
}

// slotChange makes a command about slots and what is decided about stores.
func (g *generator) slotChange(id uint64) command {
	request := testRequest(id)
	store := layout.StoreID{1, byte(1 + g.IntN(9))} // the last is none
	group := g.groups[g.IntN(len(g.groups))]
	slot := uint8(g.IntN(len(group.Slots)))
	late := uint32(max(0, g.IntN(6)-4))
	switch g.IntN(8) {
	case 0:
		d := Duty{Store: store, State: DutyState(g.IntN(4)), Auto: g.IntN(2) == 0, Reason: "test", Version: g.duties[store].Version}
		if g.IntN(2) == 0 {
			d.State = DutyIn // else there is soon nowhere to go
		}
		return &setDuty{Request: request, Duty: d}
	case 1, 2, 3:
		return &moveSlot{Request: request, MoveSlot: MoveSlot{Group: group.ID, Slot: slot, Epoch: group.Epoch - late, To: store, Reason: "test"}}
	case 4:
		return &settleSlot{SettledSlot{Group: group.ID, Slot: slot, Epoch: group.Move(slot).Epoch + late}}
	case 5:
		return &changeRepair{Request: request, Change: RepairChange{Verb: RepairVerb(1 + g.IntN(5)), Limit: uint64(g.IntN(3)), Node: testNodeID(1)}}
	case 6:
		return &recordEvents{Request: request, Events: []Event{{Kind: EventSlotsMove, Store: store, Reason: "test"}, {Kind: EventRebuilt}}}
	}
	if len(g.rows) == 0 {
		return &recordDurable{}
	}
	p := g.rows[g.IntN(len(g.rows))]
	return &recordDurable{[]DurableChunk{{PartRef: PartRef{p.Upload, p.Number, p.Layout.Attempt}, Epoch: group.Epoch - late, Index: slot}}}
}
