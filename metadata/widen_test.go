package metadata

import (
	"reflect"
	"testing"

	"partstore/internal/layout"
)

// row is a part as its record says.
func (b *bench) row(id layout.UploadID, n layout.PartNumber) (p Part) {
	b.t.Helper()
	if err := find(b.db, partKey(id, n), p.code, ErrPartNotFound); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// A part that is widened keeps all but its layout, in every object that names it;
// the chunks it had are garbage, once, however often the command is done.
func TestWideningChangesTheLayoutAlone(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	sealed := narrowPart(1, layout.SealedSize(MinPartSize), b.attempt(2))
	sealed.Size, sealed.Salt = MinPartSize, Salt{7}
	first := commitOf(ref, narrowPart(0, MinPartSize, b.attempt(1)))
	b.must(first)
	b.must(commitOf(ref, sealed))
	open := wider(ref.ID, first.Part, b.attempt(3))
	b.must(open) // of an upload that is open
	b.must(&completeUpload{Request: testRequest(70), CompleteUpload: CompleteUpload{UploadRef: ref, Parts: []CompletePart{{Number: 0}, {Number: 1}}}})
	b.must(b.copyOf("k", "copy"))
	b.must(&deleteObject{Request: testRequest(71), Bucket: "b", Key: "k"})
	shared := wider(ref.ID, sealed, b.attempt(4))
	for range 2 {
		b.must(shared)
		b.must(open)
	}
	b.must(first) // a repeat that comes late takes nothing back
	for _, want := range []struct {
		was   Part
		wider *widenPart
	}{{first.Part, open}, {sealed, shared}} {
		p := want.was
		p.Layout = want.wider.Layout
		if got := b.row(ref.ID, p.Number); !reflect.DeepEqual(got, p) {
			t.Errorf("part %d is %+v, want %+v", p.Number, got, p)
		}
	}
	o, err := findObject(b.db, "b", "copy")
	if parts, partsErr := objectParts(b.db, &o); err != nil || partsErr != nil || len(parts) != 2 || parts[1].Layout.Attempt != shared.Layout.Attempt {
		t.Errorf("the copy has %+v, %v, %v", parts, err, partsErr)
	}
	q := b.queue()
	if len(q) != 2 || !reflect.DeepEqual(*q[0].Part, first.Part) || !reflect.DeepEqual(*q[1].Part, sealed) {
		t.Fatalf("queue = %+v", q)
	}
	named, err := stillNamed(b.db, append(q, Garbage{Upload: ref.ID, Part: &Part{Layout: shared.Layout}}))
	if err != nil || named[0] || named[1] || !named[2] {
		t.Errorf("named: %v, %v", named, err)
	}
	b.must(&deleteObject{Request: testRequest(72), Bucket: "b", Key: "copy"})
	for _, g := range b.queue() {
		b.must(&freeGarbage{[]FreedGarbage{b.freed(g, -1, 9)}})
	}
	if b.rows(rowPart) != 0 || b.rows(rowGarbage) != 0 {
		t.Errorf("%d part rows and %d entries are left", b.rows(rowPart), b.rows(rowGarbage))
	}
}

// A repeat that comes when the wide attempt has been replaced says that it was
// recorded: its chunks are the garbage queue's, not the worker's.
func TestWideningIsDoneOnceItWasDone(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	narrow := narrowPart(0, MinPartSize, b.attempt(1))
	b.must(commitOf(ref, narrow))
	x := wider(ref.ID, narrow, b.attempt(2))
	b.must(x)
	again := commitOf(ref, narrowPart(0, MinPartSize, b.attempt(3)))
	b.must(again)
	b.must(x)
	b.want(wider(ref.ID, narrow, b.attempt(4)), ErrPartChanged)
	if p := b.row(ref.ID, 0); !reflect.DeepEqual(p, again.Part) || b.rows(rowGarbage) != 2 {
		t.Errorf("the part is %+v, with %d entries of garbage", p, b.rows(rowGarbage))
	}
}

// A part that is not what it was when it was read, would not be wider, or would
// lack a chunk, stays as it is.
func TestWhatIsNoWideningIsRefused(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	narrow, full := narrowPart(0, MinPartSize, b.attempt(1)), testPart(1, MinPartSize, b.attempt(2))
	b.must(commitOf(ref, narrow))
	b.must(commitOf(ref, full))
	b.must(commitOf(ref, testPart(2, 0, b.attempt(3))))
	early := b.attempt(4)
	b.now += 10
	b.must(&startNode{StartNode{Request: testRequest(77), Node: testNodeID(1)}})
	b.must(&startNode{StartNode{Request: testRequest(78), Node: testNodeID(2), Stores: []Store{{ID: layout.StoreID{9}, Node: testNodeID(2)}}}})
	stale := layout.NewAttemptID(b.meta.incarnation, b.meta.time, 1) // until the slot moves
	b.now += 10
	b.must(&moveSlot{Request: testRequest(79), MoveSlot: MoveSlot{Slot: 4, Epoch: 1, To: layout.StoreID{9}}})
	b.now += 10
	b.apply()
	want := func(err error, change func(*widenPart)) {
		t.Helper()
		x := wider(ref.ID, narrow, b.attempt(5))
		change(x)
		b.want(x, err)
		if p := b.row(ref.ID, 0); err != nil && !reflect.DeepEqual(p, narrow) || b.rows(rowGarbage) > 0 && err != nil {
			t.Errorf("%v: the part is %+v, with %d entries of garbage", err, p, b.rows(rowGarbage))
		}
	}
	want(ErrPartChanged, func(x *widenPart) { x.Attempt = b.attempt(6) })
	want(ErrPartChanged, func(x *widenPart) { x.Number = 9 })
	want(ErrPartChanged, func(x *widenPart) { x.Upload = testUpload(9) })
	want(ErrInvalid, func(x *widenPart) { x.Number, x.Attempt = 1, full.Layout.Attempt })
	want(ErrInvalid, func(x *widenPart) { *x = *wider(ref.ID, b.row(ref.ID, 2), b.attempt(5)) })
	want(ErrInvalid, func(x *widenPart) { x.Layout.Size++ })
	want(ErrInvalid, func(x *widenPart) { x.Layout.Durable = 0x1f })
	want(ErrInvalid, func(x *widenPart) { x.Layout.Slots = []uint8{0, 1, 2, 3, 4, 6} })
	want(ErrInvalid, func(x *widenPart) { x.Layout.Group = 99 })
	want(ErrInvalid, func(x *widenPart) {
		x.Layout.Scheme, x.Layout.Slots, x.Layout.Durable = layout.Scheme{Data: 3, Parity: 2}, []uint8{0, 1, 2, 3, 4}, 0x1f
	})
	want(ErrAttemptFenced, func(x *widenPart) { x.Layout.Attempt = early })
	want(ErrSlotsMoved, func(x *widenPart) { x.Layout.Attempt = stale })
	want(nil, func(*widenPart) {})
}
