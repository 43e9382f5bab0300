package metadata

import (
	"errors"
	"testing"
	"time"

	"partstore/internal/layout"
)

// copyOf is a command that copies within bucket "b" what is there now.
func (b *bench) copyOf(from, to string) *copyObject {
	b.t.Helper()
	o, err := findObject(b.db, "b", from)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := versionOf(o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.requests++
	return &copyObject{
		Request: testRequest(1<<40 + b.requests), From: v, Bucket: "b", Key: to,
		Headers: Headers{"content-type": "copied"}, Modified: time.Unix(1_800_000_000+int64(b.requests), 0).UTC(),
	}
}

func (b *bench) moveOf(from, to string) *copyObject {
	b.t.Helper()
	x := b.copyOf(from, to)
	x.Move = true
	return x
}

// copyAnyhow copies or moves an object, if it is there.
func (b *bench) copyAnyhow(from, to string, move bool) {
	b.t.Helper()
	if _, err := findObject(b.db, "b", from); err != nil {
		return
	}
	x := b.copyOf(from, to)
	x.Move = move
	b.must(x)
}

// garbage is the uploads that are garbage as a whole.
func (b *bench) garbage() map[layout.UploadID]bool {
	b.t.Helper()
	ids := map[layout.UploadID]bool{}
	err := scan(b.db, []byte{rowGarbage}, func(_, value []byte) error {
		var g Garbage
		err := decodeValue(value, g.code)
		if g.extent() == garbageWhole {
			ids[g.Upload] = true
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return ids
}

// checkObjects makes sure that what an object names is not garbage.
func (b *bench) checkObjects() {
	b.t.Helper()
	garbage := b.garbage()
	err := scan(b.db, []byte{rowObject}, func(key, value []byte) error {
		var o Object
		err := decodeValue(value, o.code)
		if garbage[o.ID] {
			b.t.Fatalf("object %q names parts that are garbage", key)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) putSmall(id uint64, key string) layout.UploadID {
	b.t.Helper()
	b.must(&putObject{PutObject{Bucket: "b", Key: key, ID: testUpload(id), Part: testPart(0, 7, b.attempt(id))}})
	return testUpload(id)
}

// The parts of an object outlive every name but the last, whatever becomes of
// the others.
func TestPartsGoWithTheLastName(t *testing.T) {
	remove := func(b *bench, key string) {
		b.requests++
		b.must(&deleteObject{Request: testRequest(1<<41 + b.requests), Bucket: "b", Key: key})
	}
	b := newStockedBench(t)
	id := b.putSmall(1, "one")
	b.must(b.copyOf("one", "two"))
	b.must(b.copyOf("two", "three"))
	b.must(b.copyOf("two", "two"))    // in its own place
	b.must(b.copyOf("one", "three"))  // in place of another of its names
	b.must(b.moveOf("three", "four")) // one name for another
	b.must(b.moveOf("one", "two"))    // in place of another, again
	b.must(b.moveOf("two", "two"))
	remove(b, "two")
	remove(b, "one") // there is none
	if b.garbage()[id] {
		t.Fatal("garbage while one name is left")
	}
	o, err := findObject(b.db, "b", "four")
	if err != nil || o.ID != id || o.Key != "four" || o.Size != 7 || o.Parts != 1 {
		t.Fatalf("the last name is of %+v, %v", o, err)
	}
	b.putSmall(2, "four")
	if !b.garbage()[id] || b.garbage()[testUpload(2)] {
		t.Fatalf("garbage: %v", b.garbage())
	}
	if n, err := getRow(b.db, namesKey(id), nil); n || err != nil {
		t.Errorf("a count is left: %v, %v", n, err)
	}
}

func TestCopyIsOfWhatWasRead(t *testing.T) {
	b := newStockedBench(t)
	b.putSmall(1, "one")
	stale := b.copyOf("one", "two")
	b.must(b.copyOf("one", "one")) // other headers
	b.want(stale, ErrObjectChanged)
	fresh := b.moveOf("one", "two")
	first := b.must(fresh)
	second := b.must(fresh) // proposed twice, though the source is gone
	if string(first.payload) != string(second.payload) {
		t.Error("a repeat has another answer")
	}
	b.want(stale, ErrObjectChanged) // a refusal is as final
	if _, err := findObject(b.db, "b", "one"); !errors.Is(err, ErrObjectNotFound) {
		t.Errorf("source of the move: %v", err)
	}
	gone := b.copyOf("two", "three")
	b.must(&deleteObject{Request: testRequest(77), Bucket: "b", Key: "two"})
	b.want(gone, ErrObjectChanged)
	b.putSmall(2, "one")
	nowhere := b.copyOf("one", "two")
	nowhere.Bucket = "nowhere"
	b.want(nowhere, ErrBucketNotFound)
	unnamed := b.copyOf("one", "two")
	unnamed.Key = ""
	b.want(unnamed, ErrInvalid)
}

func TestCopyHasItsOwnHeaders(t *testing.T) {
	b := newStockedBench(t)
	b.must(&createBucket{Request: testRequest(9), Bucket: Bucket{Name: "other"}})
	b.putSmall(1, "one")
	x := b.copyOf("one", "two")
	x.Bucket = "other"
	b.must(x)
	source, err := findObject(b.db, "b", "one")
	if err != nil || len(source.Headers) != 0 {
		t.Errorf("source: %+v, %v", source, err)
	}
	o, err := findObject(b.db, "other", "two")
	if err != nil || o.Headers["content-type"] != "copied" || !o.Modified.Equal(x.Modified) || o.ETag != source.ETag || o.Bucket != "other" {
		t.Errorf("copy: %+v, %v", o, err)
	}
	b.want(&deleteBucket{Request: testRequest(10), Name: "other"}, ErrBucketNotEmpty)
}
