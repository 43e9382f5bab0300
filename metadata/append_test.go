package metadata

import (
	"errors"
	"testing"

	"partstore/internal/layout"
)

// appendOf is a command that appends size bytes to what is there now, or begins
// it.
func (b *bench) appendOf(key string, id uint64, size int64) *appendObject {
	b.t.Helper()
	b.requests++
	a := AppendObject{Bucket: "b", Key: key, Create: true, ID: testUpload(id), Headers: Headers{"content-type": "log"}}
	if o, err := findObject(b.db, "b", key); err == nil {
		a.Create, a.ID, a.Position, a.Part.Number = false, o.ID, o.Size, layout.PartNumber(o.Parts)
	}
	a.Part = testPart(a.Part.Number, size, b.attempt(1<<40+b.requests))
	return &appendObject{Request: testRequest(1<<40 + b.requests), AppendObject: a}
}

func TestAppendExtends(t *testing.T) {
	b := newStockedBench(t)
	check := func(size int64, parts int, etag string) {
		t.Helper()
		o, err := findObject(b.db, "b", "log")
		if err != nil || o.Size != size || o.Parts != parts || !o.Appendable || o.Headers["content-type"] != "log" || o.ETag != etag {
			t.Errorf("object = %+v, %v; want %d bytes in %d parts, ETag %s", o, err, size, parts, etag)
		}
	}
	b.must(b.appendOf("log", 1, 0)) // begins without a byte
	check(0, 0, "70bf45eba5f29d5e8b43d742746214f0-0")
	second := b.appendOf("log", 0, 5)
	second.Headers = nil // count once
	b.must(second)
	check(5, 1, "3e645fc5a0608804703e0ff71b21a783-1")
	third := b.appendOf("log", 0, 6)
	b.must(third)
	b.must(third) // proposed twice
	check(11, 2, "2cc56ef8f33fbe125b893d3ed772c94f-2")
	b.must(b.appendOf("log", 0, 0))
	check(11, 2, "2cc56ef8f33fbe125b893d3ed772c94f-2")
	gone := b.appendOf("log", 0, 6)
	b.must(&deleteObject{Request: testRequest(51), Bucket: "b", Key: "log"})
	b.want(gone, ErrPosition) // though the object had no byte, perhaps
	if b.rows(rowPart) != 2 {
		t.Errorf("%d part rows", b.rows(rowPart))
	}
}

func TestAppendRefuses(t *testing.T) {
	b := newStockedBench(t)
	b.putSmall(1, "plain")
	b.want(b.appendOf("plain", 0, 5), ErrNotAppendable)
	late := b.appendOf("log", 2, 5)
	rival := b.appendOf("log", 3, 5) // also begins it
	b.must(late)
	b.want(rival, ErrPosition)
	one, two := b.appendOf("log", 0, 5), b.appendOf("log", 0, 7)
	b.must(one)
	b.want(two, ErrPosition)
	short := b.appendOf("log", 0, 5)
	short.Position--
	b.want(short, ErrPosition)
	number := b.appendOf("log", 0, 5)
	number.Part.Number++
	b.want(number, ErrInvalid)
	nothing := b.appendOf("other", 4, 5)
	nothing.Position = 5
	b.want(nothing, ErrPosition)
	nowhere := b.appendOf("log", 0, 5)
	nowhere.Bucket = "nowhere"
	b.want(nowhere, ErrBucketNotFound)
	fenced := b.appendOf("log", 0, 5)
	fenced.Part.Layout.Attempt = layout.NewAttemptID(99, 0, 1)
	b.want(fenced, ErrAttemptFenced)
	again := b.appendOf("third", 2, 5) // by the ID of another object
	b.want(again, ErrInvalid)
	b.want(b.copyOf("log", "copy"), ErrInvalid)
	if o, err := findObject(b.db, "b", "log"); err != nil || o.Size != 10 || o.Parts != 2 {
		t.Errorf("object = %+v, %v", o, err)
	}
	if _, err := findObject(b.db, "b", "third"); !errors.Is(err, ErrObjectNotFound) {
		t.Errorf("third: %v", err)
	}
}

// A move takes the parts along, and appends go on under the new key.
func TestAppendableObjectMoves(t *testing.T) {
	b := newStockedBench(t)
	b.must(b.appendOf("log", 1, 5))
	b.must(b.moveOf("log", "log.1"))
	b.must(b.appendOf("log.1", 0, 6))
	b.must(b.appendOf("log", 2, 7))
	o, err := findObject(b.db, "b", "log.1")
	if err != nil || o.Size != 11 || o.ID != testUpload(1) {
		t.Errorf("moved: %+v, %v", o, err)
	}
	if len(b.garbage()) != 0 {
		t.Errorf("garbage: %v", b.garbage())
	}
	b.must(&deleteObject{Request: testRequest(50), Bucket: "b", Key: "log.1"})
	if !b.garbage()[testUpload(1)] {
		t.Error("the deleted object is no garbage")
	}
}
