package metadata

import (
	"reflect"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// newSpareBench is a stocked bench with two stores more than slots: 1/7 and 1/8.
func newSpareBench(t testing.TB) *bench {
	t.Helper()
	b := newStockedBench(t)
	b.addSpares()
	return b
}

func (b *bench) addSpares() {
	b.must(&startNode{StartNode{Request: testRequest(8), Node: testNodeID(8), Name: "s", Zone: "z", Stores: []Store{
		{ID: layout.StoreID{1, 7}, CapacityBytes: 1 << 40}, {ID: layout.StoreID{1, 8}, CapacityBytes: 1 << 40},
	}}})
}

func (b *bench) move(request uint64, slot uint8, epoch uint32, to byte) *moveSlot {
	return &moveSlot{Request: testRequest(request), MoveSlot: MoveSlot{Slot: slot, Epoch: epoch, To: layout.StoreID{1, to}, Reason: "test"}}
}

func TestDutyIsVersioned(t *testing.T) {
	b := newSpareBench(t)
	store := layout.StoreID{1, 2}
	out := &setDuty{Request: testRequest(50), Duty: Duty{Store: store, State: DutyOut, Reason: "absent"}}
	b.now = 70
	b.must(out)
	b.must(out) // a repeat is not another decision
	b.want(&setDuty{Request: testRequest(51), Duty: Duty{Store: store, State: DutyIn}}, ErrDutyChanged)
	b.want(&setDuty{Request: testRequest(52), Duty: Duty{Store: layout.StoreID{9}}}, ErrInvalid)
	want := Duty{Store: store, State: DutyOut, Version: 1, Reason: "absent", Since: 70}
	if got := b.topology(layout.ClusterID{}).Duty(store); got != want {
		t.Errorf("duty %+v, want %+v", got, want)
	}
	again, err := openMachine(b.db)
	if err != nil || again.duties[store] != want {
		t.Errorf("after a restart: %+v, %v", again.duties[store], err)
	}
}

func TestSlotChangesHandsOnceAndSettles(t *testing.T) {
	b := newSpareBench(t)
	before := b.topology(layout.ClusterID{})
	b.want(b.move(60, 2, 9, 7), ErrSlotChanged) // another epoch
	b.want(b.move(61, 2, 1, 4), ErrSlotChanged) // holds a slot already
	b.want(b.move(62, 2, 1, 99), ErrInvalid)    // no store
	b.want(b.move(63, 9, 1, 7), ErrInvalid)     // no slot
	b.must(&setDuty{Request: testRequest(64), Duty: Duty{Store: layout.StoreID{1, 8}, State: DutyDraining}})
	b.want(b.move(65, 2, 1, 8), ErrDutyChanged)

	b.now = 1000
	move := b.move(66, 2, 1, 7)
	b.must(move)
	b.must(move)
	g := b.groups[0]
	if g.Epoch != 2 || g.Slots[2] != (layout.StoreID{1, 7}) || g.Move(2) != (layout.Move{Former: layout.StoreID{1, 3}, Epoch: 2, At: 1000}) || !g.Unsettled(2) {
		t.Fatalf("group %+v", g)
	}
	if before.Groups[0].Slots[2] != (layout.StoreID{1, 3}) {
		t.Error("a topology that was handed out changed")
	}
	b.want(&settleSlot{SettledSlot{Slot: 2, Epoch: 1}}, ErrSlotChanged)
	b.want(&settleSlot{SettledSlot{Slot: 1, Epoch: 2}}, ErrSlotChanged)
	b.now = 2000
	for range 2 {
		b.must(&settleSlot{SettledSlot{Slot: 2, Epoch: 2}})
		b.now = 3000
	}
	if g := b.groups[0]; g.Unsettled(2) || g.Move(2).Settled != 2000 {
		t.Errorf("group %+v", g)
	}
	again, err := openMachine(b.db)
	if err != nil || !reflect.DeepEqual(again.groups, b.groups) {
		t.Errorf("after a restart: %+v, %v; want %+v", again.groups, err, b.groups)
	}
}

// If a slot moves on before it is settled, the chunks are still sought where they
// may be.
func TestSlotThatMovesOnKeepsItsFormerHolder(t *testing.T) {
	for name, tc := range map[string]struct {
		former DutyState // of the store the slot was moved from first
		to     byte
		want   byte
	}{
		"still there":     {DutyDraining, 8, 3},
		"lost":            {DutyOut, 8, 7},
		"and comes back":  {DutyIn, 3, 7},
		"dead, to others": {DutyDead, 8, 7},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSpareBench(t)
			b.must(b.move(60, 2, 1, 7))
			b.must(&setDuty{Request: testRequest(61), Duty: Duty{Store: layout.StoreID{1, 3}, State: tc.former}})
			b.must(b.move(62, 2, 2, tc.to))
			if got := b.groups[0].Move(2).Former; got != (layout.StoreID{1, tc.want}) {
				t.Errorf("former holder %v", got)
			}
		})
	}
}

// A PUT that was placed before a slot changed hands is committed without the
// chunk that went to the old store, or not at all.
func TestCommitForgetsChunksOfSlotsThatMoved(t *testing.T) {
	b := newSpareBench(t)
	ref := b.open(1, "k")
	b.now = 1000
	b.apply()
	early := b.attempt(1)
	if early.Began() != 1000 {
		t.Fatalf("attempt began at %d", early.Began())
	}
	first, second := testPart(1, MinPartSize, early), testPart(2, MinPartSize, early)
	b.must(commitOf(ref, first))
	b.must(b.move(60, 2, 1, 7)) // in the same instant
	if b.durable(ref, 1) != 0b111111 {
		t.Error("a record that was there lost a chunk")
	}
	b.must(commitOf(ref, second))
	if got := b.durable(ref, 2); got != 0b111011 {
		t.Errorf("durable %06b", got)
	}
	b.must(b.move(61, 4, 2, 8))
	third := commitOf(ref, testPart(3, MinPartSize, early))
	b.want(third, ErrSlotsMoved)
	b.want(third, ErrSlotsMoved)
	b.want(&putObject{PutObject{Bucket: "b", Key: "o", ID: testUpload(77), Part: testPart(0, 5, early)}}, ErrSlotsMoved)
	b.want(&appendObject{Request: testRequest(70), AppendObject: AppendObject{Bucket: "b", Key: "a", Create: true, ID: testUpload(78), Part: testPart(0, 5, early)}}, ErrSlotsMoved)

	b.now = 1001
	b.apply()
	b.must(commitOf(ref, testPart(4, MinPartSize, b.attempt(2))))
	if got := b.durable(ref, 4); got != 0b111111 {
		t.Errorf("durable %06b of an attempt that began later", got)
	}
}

// Heal by an epoch at which the slot was another store's is not recorded; a
// change of other slots does not matter.
func TestHealIsRecordedForTheHolderOfTheSlot(t *testing.T) {
	b := newSpareBench(t)
	ref := b.open(1, "k")
	p := testPart(0, MinPartSize, b.attempt(1))
	p.Layout.Durable = 0b011111
	b.must(commitOf(ref, p))
	chunk := func(epoch uint32) DurableChunk {
		return DurableChunk{PartRef: PartRef{Upload: ref.ID, Number: 0, Attempt: p.Layout.Attempt}, Epoch: epoch, Index: 5}
	}
	b.must(b.move(60, 5, 1, 7))
	b.must(b.move(61, 1, 2, 8))
	if got := b.recorded(chunk(1), chunk(4)); got[0] || got[1] {
		t.Errorf("recorded %v", got)
	}
	if got := b.recorded(chunk(2)); !got[0] {
		t.Error("a change of another slot kept a chunk from being recorded")
	}
}

// Whatever moves while everything else goes on, no commit makes a record name a
// chunk that was placed before its slot moved, and the rows agree with each other.
func TestMovesMingleWithEverythingElse(t *testing.T) {
	r := testrand.New(t)
	b := newSpareBench(t)
	g := &generator{Rand: r}
	for step := range 3000 {
		switch slot := uint8(r.IntN(6)); r.IntN(60) {
		case 0:
			group := b.groups[r.IntN(2)]
			b.apply(&moveSlot{Request: testRequest(uint64(10_000 + step)), MoveSlot: MoveSlot{
				Group: group.ID, Slot: slot, Epoch: group.Epoch - uint32(r.IntN(2)), To: layout.StoreID{1, byte(1 + r.IntN(8))},
			}})
		case 1:
			b.apply(&settleSlot{SettledSlot{Group: layout.GroupID(r.IntN(2)), Slot: slot, Epoch: b.groups[0].Move(slot).Epoch}})
		case 2:
			d := b.duties[layout.StoreID{1, 1 + slot}]
			d.Store, d.State = layout.StoreID{1, 1 + slot}, DutyState(r.IntN(4))
			b.apply(&setDuty{Request: testRequest(uint64(10_000 + step)), Duty: d})
		}
		cmd := g.command()
		c, commits := cmd.(*commitPart)
		var before, after Part
		if commits {
			if _, err := getRow(b.db, partKey(c.Upload, c.Part.Number), before.code); err != nil {
				t.Fatal(err)
			}
		}
		refused := b.apply(cmd)[0].err()
		if !commits || refused != nil || before.Layout.Attempt == c.Part.Layout.Attempt {
			continue
		}
		found, err := getRow(b.db, partKey(c.Upload, c.Part.Number), after.code)
		if err != nil {
			t.Fatal(err)
		}
		l := after.Layout
		for i, slot := range l.Slots {
			move := b.groups[l.Group].Move(slot)
			if found && l.Attempt == c.Part.Layout.Attempt && l.IsDurable(i) && move.Epoch > 0 && l.Attempt.Began() <= move.At {
				t.Fatalf("step %d: attempt of %d names chunk %d, whose slot moved at %d", step, l.Attempt.Began(), i, move.At)
			}
		}
	}
	again, err := openMachine(b.db)
	if err != nil || !reflect.DeepEqual(again.groups, b.groups) || !reflect.DeepEqual(again.duties, b.duties) {
		t.Errorf("after a restart: %+v, %v; want %+v", again.groups, err, b.groups)
	}
	if report, err := verify(backupOf(t, b)); err != nil || len(report.Problems) > 0 {
		t.Errorf("a backup has problems: %v, %v", report.Problems, err)
	}
}
