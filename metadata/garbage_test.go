package metadata

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// queue is the garbage queue of a bench.
func (b *bench) queue() (entries []Garbage) {
	b.t.Helper()
	err := scan(b.db, []byte{rowGarbage}, func(k, v []byte) error {
		entries = append(entries, Garbage{})
		return decodeGarbage(k, v, &entries[len(entries)-1])
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return entries
}

// freed is the entry with those of its parts that come after a number.
func (b *bench) freed(g Garbage, after, limit int) FreedGarbage {
	b.t.Helper()
	f := FreedGarbage{Since: g.Since, Sequence: g.Sequence, Upload: g.Upload}
	parts, err := garbageParts(b.db, &g, after, limit)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range parts {
		f.Parts = append(f.Parts, FreedPart{p.Number, p.Layout.Attempt})
	}
	return f
}

// An upload's entry stays until the last of its part rows is gone, in whatever
// pieces and however often they are said to be free.
func TestGarbageIsTakenAwayInPieces(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	for i := range layout.PartNumber(5) {
		b.must(commitOf(ref, testPart(i, 1, b.attempt(uint64(i)))))
	}
	b.must(commitOf(ref, testPart(0, 2, b.attempt(9)))) // in place of the first
	b.must(&abortUpload{ref})
	entries := b.queue()
	if len(entries) != 2 || entries[0].Part == nil || entries[1].Part != nil {
		t.Fatalf("queue = %+v", entries)
	}
	single, whole := b.freed(entries[0], -1, 9), entries[1]
	for _, want := range []int{3, 1, 0} {
		piece := &freeGarbage{[]FreedGarbage{b.freed(whole, -1, 2), single}}
		for range 2 {
			b.must(piece)
		}
		if got := b.rows(rowPart); got != want {
			t.Fatalf("%d part rows, want %d", got, want)
		}
		if got, left := len(b.queue()), min(want, 1); got != left {
			t.Fatalf("%d entries with %d part rows", got, want)
		}
	}
	b.must(&abortUpload{b.open(2, "without parts")})
	b.must(&freeGarbage{[]FreedGarbage{b.freed(b.queue()[0], -1, 9)}})
	if len(b.queue()) != 0 {
		t.Error("the entry of an upload without parts stays")
	}
}

// A Complete looks at the parts it names and writes one row about all others,
// however many they are.
func TestCompleteDoesNotTouchWhatItDoesNotName(t *testing.T) {
	const parts = 300
	written := map[int]uint32{}
	for _, all := range []int{4, parts} {
		b := newStockedBench(t)
		ref := b.open(1, "k")
		for n := range all {
			b.must(commitOf(ref, testPart(layout.PartNumber(n), MinPartSize, b.attempt(uint64(n)))))
		}
		x := &completeUpload{Request: testRequest(70), CompleteUpload: CompleteUpload{UploadRef: ref, Parts: []CompletePart{{Number: 1}, {Number: 3}}}}
		rows := map[string][]byte{}
		err := scan(b.db, partsPrefix(ref.ID), func(key, value []byte) error {
			if n, _ := partNumberOf(key); n != 1 && n != 3 {
				rows[string(key)] = slices.Clone(value)
			}
			return nil
		})
		for key := range rows {
			err = errors.Join(err, b.db.Set([]byte(key), []byte("not a part"), pebble.NoSync)) // whoever reads it says so
		}
		if err != nil {
			t.Fatal(err)
		}
		b.begin()
		if r, err := x.apply(b.machine); err != nil || r.err() != nil {
			t.Fatal(err, r.err())
		}
		written[all] = b.batch.Count()
		if err := b.commit(b.index, 1); err != nil {
			t.Fatal(err)
		}
		o, err := findObject(b.db, "b", "k")
		if got, partsErr := objectParts(b.db, &o); err != nil || partsErr != nil || len(got) != 2 || got[0].Number != 1 || got[1].Number != 3 {
			t.Fatalf("the object has %v, %v, %v", got, err, partsErr)
		}
		for key, value := range rows {
			if err := b.db.Set([]byte(key), value, pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
		for left := all - 2; left > 0; left = max(0, left-50) {
			if rest := b.queue()[0]; rest.left != left {
				t.Fatalf("%d parts left of %d", rest.left, left)
			}
			b.must(&freeGarbage{[]FreedGarbage{b.freed(b.queue()[0], -1, 50)}})
		}
		if b.rows(rowGarbage)+b.rows(rowRest) != 0 || b.rows(rowPart) != 2 {
			t.Errorf("%d entries and %d part rows when all is freed", b.rows(rowGarbage), b.rows(rowPart))
		}
	}
	if written[4] != written[parts] {
		t.Errorf("rows written: %v", written)
	}
}

// What an object left goes with the object's own parts, if it is still there.
func TestWhatAnObjectLeftIsQueuedOnce(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	for n := range layout.PartNumber(3) {
		b.must(commitOf(ref, testPart(n, 1, b.attempt(uint64(n)))))
	}
	b.must(&completeUpload{Request: testRequest(70), CompleteUpload: CompleteUpload{UploadRef: ref, Parts: []CompletePart{{Number: 1}}}})
	late := &freeGarbage{[]FreedGarbage{b.freed(b.queue()[0], -1, 9)}}
	b.must(b.copyOf("k", "copy"))
	b.must(&deleteObject{Request: testRequest(71), Bucket: "b", Key: "k"})
	if q := b.queue(); len(q) != 1 || q[0].extent() != garbageRest {
		t.Fatalf("the copy has lost what it names: %v", q)
	}
	b.must(&deleteObject{Request: testRequest(72), Bucket: "b", Key: "copy"})
	b.must(late) // the sweep that knew the entry before
	if q := b.queue(); len(q) != 1 || q[0].extent() != garbageWhole || b.rows(rowRest) != 0 || b.rows(rowPart) != 3 {
		t.Fatalf("queue = %v, with %d part rows", q, b.rows(rowPart))
	}
	b.must(&freeGarbage{[]FreedGarbage{b.freed(b.queue()[0], -1, 9)}})
	if len(b.queue()) != 0 || b.rows(rowPart) != 0 {
		t.Errorf("%d entries, %d part rows", len(b.queue()), b.rows(rowPart))
	}
}

// Logs of earlier binaries lead to the rows they led to then.
func TestCompleteByRowIsWhatItWas(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	for n := range layout.PartNumber(3) {
		b.must(commitOf(ref, testPart(n, 1, b.attempt(uint64(n)))))
	}
	b.must(&completeUpload{byRow: true, Request: testRequest(70), CompleteUpload: CompleteUpload{UploadRef: ref, Parts: []CompletePart{{Number: 1}}}})
	q := b.queue()
	if len(q) != 2 || q[0].Part == nil || q[0].Part.Number != 0 || q[1].Part == nil || q[1].Part.Number != 2 || b.rows(rowAttempt) != 2 || b.rows(rowPart) != 1 {
		t.Errorf("queue = %v", q)
	}
	if b.meta.format != 0 && b.meta.format != oldestFormat {
		t.Errorf("rows of format %d", b.meta.format)
	}
}

// Sets of part numbers are what a map is.
func TestPartSetIsASet(t *testing.T) {
	r := testrand.New(t)
	for range lessWithRace(50) {
		var s PartSet
		has := map[int]bool{}
		for range r.IntN(40) {
			n := r.IntN(int(layout.MaxPartNumber) + 1)
			if r.IntN(2) == 0 {
				n = min(n, r.IntN(20))
			}
			s, has[n] = s.with(layout.PartNumber(n)), true
		}
		nextIn, nextOut := int(layout.MaxPartNumber)+1, int(layout.MaxPartNumber)+1
		for n := int(layout.MaxPartNumber); n >= 0; n-- {
			if has[n] {
				nextIn = n
			} else {
				nextOut = n
			}
			if s.Has(layout.PartNumber(n)) != has[n] || s.next(n, true) != nextIn || s.next(n, false) != nextOut {
				t.Fatalf("of %d in %v: %t, %d, %d", n, s, s.Has(layout.PartNumber(n)), s.next(n, true), s.next(n, false))
			}
		}
	}
}

// What makes no sense changes nothing, not even what else the command names.
func TestNonsensicalFreeingIsRefusedWhole(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	b.must(commitOf(ref, testPart(0, 1, b.attempt(1))))
	b.must(commitOf(ref, testPart(0, 1, b.attempt(2))))
	b.must(&abortUpload{b.open(2, "j")})
	good, other := b.freed(b.queue()[0], -1, 1), b.queue()[1]
	for name, bad := range map[string]FreedGarbage{
		"another upload":  {Since: other.Since, Sequence: other.Sequence, Upload: testUpload(77)},
		"parts of a part": {Since: good.Since, Sequence: good.Sequence, Upload: good.Upload, Parts: []FreedPart{{}}},
	} {
		b.want(&freeGarbage{[]FreedGarbage{good, bad}}, ErrInvalid)
		if n := len(b.queue()); n != 2 {
			t.Errorf("%s: %d entries left", name, n)
		}
	}
	// What an object names is kept by what says what it does not.
	kept := b.open(3, "i")
	for n := range layout.PartNumber(2) {
		b.must(commitOf(kept, testPart(n, 1, b.attempt(10+uint64(n)))))
	}
	b.must(&completeUpload{Request: testRequest(70), CompleteUpload: CompleteUpload{UploadRef: kept, Parts: []CompletePart{{Number: 1}}}})
	rest := b.queue()[2]
	bad := b.freed(rest, -1, 9)
	bad.Parts = append(bad.Parts, FreedPart{1, b.attempt(11)})
	b.want(&freeGarbage{[]FreedGarbage{good, bad}}, ErrInvalid)
	if len(b.queue()) != 3 || b.rows(rowPart) != 3 {
		t.Errorf("a part that an object names: %d entries and %d part rows left", len(b.queue()), b.rows(rowPart))
	}
	b.must(&freeGarbage{[]FreedGarbage{b.freed(rest, -1, 9)}})
	b.must(&deleteObject{Request: testRequest(71), Bucket: "b", Key: "i"})
	b.must(&freeGarbage{[]FreedGarbage{b.freed(b.queue()[2], -1, 9)}})
	// An open upload is nobody's garbage, whatever the queue says.
	enc, err := encodeValue((&Garbage{Upload: ref.ID}).code)
	if err != nil || b.db.Set(garbageKey(5, 999), enc, pebble.NoSync) != nil {
		t.Fatal(err)
	}
	b.want(&freeGarbage{[]FreedGarbage{b.freed(Garbage{Since: 5, Sequence: 999, Upload: ref.ID}, -1, 9)}}, ErrInvalid)
	if b.rows(rowPart) != 1 {
		t.Error("the part of an open upload is gone")
	}
}

// The second check finds what the first cannot have queued.
func TestStillNamedAsksTheRecordsThemselves(t *testing.T) {
	b := newVariedBench(t) // upload 1 is an object, 2 is open, 3 was aborted, 10 replaced 9
	live := testPart(0, MinPartSize, b.attempt(0))
	entries := []Garbage{
		{Upload: testUpload(1)}, {Upload: testUpload(2)}, {Upload: testUpload(3)}, {Upload: testUpload(9)}, {Upload: testUpload(10)},
		{Upload: testUpload(1), Part: &live},
		{Upload: testUpload(2), Kept: PartSet{}.with(1)}, // an upload that is open
	}
	var rest Garbage
	for _, g := range b.queue() {
		switch g.extent() {
		case garbagePart:
			entries = append(entries, g)
		case garbageRest:
			rest = g
		}
	}
	// What upload 1 left to its object, less, more, as much of something else.
	for _, kept := range []PartSet{rest.Kept, PartSet{}.with(0), slices.Clone(rest.Kept).with(5), PartSet{}.with(0).with(5)} {
		g := rest
		g.Kept = kept
		one, err := stillNamed(b.db, []Garbage{g})
		if want := !slices.Equal(kept, rest.Kept); err != nil || one[0] != want {
			t.Errorf("all but %v: %v, %v; want %t", kept, one, err, want)
		}
	}
	got, err := stillNamed(b.db, entries)
	want := []bool{true, true, false, false, true, true, true, false}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("stillNamed = %v, %v; want %v", got, err, want)
	}
}

// However commands and the taking away of garbage mingle, with repeats of both:
// every upload and object keeps its parts, and in the end nothing else is left.
func TestTakingGarbageAwayTouchesNothingThatIsNamed(t *testing.T) {
	r := testrand.New(t)
	b, g := newStockedBench(t), &generator{Rand: r}
	m := newModel(b)
	m.freed = map[layout.UploadID]bool{}
	var past []*freeGarbage
	for step := range lessWithRace(4000) {
		if step%4 == 0 {
			g.look(t, b, m)
		}
		cmd := g.command()
		want := m.apply(cmd)
		if got := b.apply(cmd)[0].err(); got != want && !(got == ErrUploadNotFound && m.isLateCommit(cmd) || got == ErrPartChanged && m.isLateWidening(cmd)) { //nolint:errorlint // sentinels on both sides
			t.Fatalf("step %d: %T = %v, want %v", step, cmd, got, want)
		}
		if entries := b.queue(); len(entries) > 0 && r.IntN(3) == 0 {
			past = append(past, b.freeSome(r, entries))
			b.must(past[len(past)-1])
			b.must(past[r.IntN(len(past))])
			m.noteFreed(entries, b.queue())
		}
		if r.IntN(50) == 0 {
			m.compare(t, b, r)
		}
		if r.IntN(400) == 0 {
			b = b.reborn()
		}
	}
	for entries := b.queue(); len(entries) > 0; entries = b.queue() {
		b.must(b.freeSome(r, entries))
		m.noteFreed(entries, b.queue())
	}
	m.compare(t, b, r)
	parts := map[layout.UploadID]int{} // copies have theirs in common
	for _, u := range m.uploads {
		parts[u.ref.ID] = len(u.parts)
	}
	for _, u := range m.objects {
		parts[u.ref.ID] = len(u.parts)
	}
	named := 0
	for _, n := range parts {
		named += n
	}
	if rows := b.rows(rowPart); rows != named || len(past) < 10 {
		t.Errorf("%d part rows, uploads and objects have %d; %d times garbage was taken away", rows, named, len(past))
	}
	if report, err := verify(backupOf(t, b)); err != nil || len(report.Problems) > 0 {
		t.Errorf("a backup has problems: %v, %v", report.Problems, err)
	}
}

func (m *model) noteFreed(before, after []Garbage) {
	for _, g := range before {
		stays := slices.ContainsFunc(after, func(o Garbage) bool { return o.Sequence == g.Sequence })
		if g.extent() == garbageWhole && !stays {
			m.freed[g.Upload] = true
		}
	}
}

// isLateCommit reports whether a command commits a part of an upload that has
// ended: its row, which alone could tell a repeat, may be gone by now.
func (m *model) isLateCommit(cmd command) bool {
	c, ok := cmd.(*commitPart)
	if !ok {
		return false
	}
	_, ended := m.ended[c.Upload]
	return ended
}

// isLateWidening reports whether a command widens a part that nothing names: its
// row may be gone by now.
func (m *model) isLateWidening(cmd command) bool {
	x, ok := cmd.(*widenPart)
	if !ok || m.uploads[x.Upload] != nil {
		return false
	}
	for _, u := range m.objects {
		if _, named := u.parts[x.Number]; named && u.ref.ID == x.Upload {
			return false
		}
	}
	return true
}

func (b *bench) freeSome(r *rand.Rand, entries []Garbage) *freeGarbage {
	x := &freeGarbage{}
	for range 1 + r.IntN(3) {
		x.Freed = append(x.Freed, b.freed(entries[r.IntN(len(entries))], r.IntN(3)-1, 1+r.IntN(4)))
	}
	return x
}
