package metadata

import (
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// coordinator is a node that makes attempts. It believes in the incarnation it
// was given and in the registry time it saw last.
type coordinator struct {
	node        layout.NodeID
	incarnation layout.Incarnation
	now         layout.RegistryTime
	tries       []*try // of this incarnation
}

// fenceCrashes is how often a coordinator is to crash between chunks and record.
var fenceCrashes = flag.Int("fence.crashes", 100, "crashes of coordinators in TestNoRecordNamesWhatWasCollected")

// try is an attempt at a part whose commit may be proposed at any time, any
// number of times.
type try struct {
	ref    UploadRef
	part   Part
	judged bool          // its chunks were deleted
	sent   bool          // its commit has been proposed
	append *appendObject // nil: it is a part of an upload
	widen  *widenPart    // not nil: it is to take the place of a narrower one
}

func (x *try) command() command {
	switch {
	case x.append != nil:
		return x.append
	case x.widen != nil:
		return x.widen
	}
	return commitOf(x.ref, x.part)
}

// No chunk that a record names, now or at any time to come, can be judged
// collectable: whatever the order in which attempts begin, commits arrive late,
// twice or after their coordinator has started anew, parts are replaced, uploads
// end, registry time passes, snapshots are taken over and chunks are judged.
func TestNoRecordNamesWhatWasCollected(t *testing.T) {
	steps := lessWithRace(4000)
	crashes, decisions, freed, widened, lives := 0, 0, 0, 0, 0
	r := testrand.New(t)
	for ; lives < 5 || crashes < *fenceCrashes && !raceEnabled; lives++ {
		b := newStockedBench(t)
		request := uint64(1000)
		start := func(c *coordinator) {
			request++
			got := b.must(&startNode{StartNode{Request: testRequest(request), Node: c.node}})
			if err := decodeValue(got.payload, func(x *coder) { x.uint32((*uint32)(&c.incarnation)) }); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(c.tries, func(x *try) bool { return !x.sent }) {
				crashes++ // its chunks are there, and their commit, if it comes, comes late
			}
			c.now, c.tries = b.meta.time, nil
		}
		coordinators := []*coordinator{{node: testNodeID(2)}, {node: testNodeID(3)}, {node: testNodeID(4)}}
		for _, c := range coordinators {
			start(c)
		}
		var refs []UploadRef
		var tries []*try
		judged, late := 0, 0
		byAttempt := map[layout.AttemptID]*try{}
		for step := range uint64(steps) {
			c := coordinators[r.IntN(len(coordinators))]
			if len(refs) == 0 || r.IntN(40) == 0 {
				refs = append(refs, b.open(5000+step, "k"))
			}
			ref := refs[len(refs)-1-r.IntN(min(len(refs), 4))]
			switch n := r.IntN(20); {
			case n < 5:
				shape := []func(layout.PartNumber, int64, layout.AttemptID) Part{testPart, narrowPart}[r.IntN(2)]
				p := shape(layout.PartNumber(r.IntN(3)), MinPartSize, layout.NewAttemptID(c.incarnation, c.now, step))
				x := b.widening(r, p.Layout.Attempt)
				if x == nil || n < 3 {
					x = &try{ref: ref, part: p}
				}
				tries, byAttempt[p.Layout.Attempt], c.tries = append(tries, x), x, append(c.tries, x)
			case n < 11 && len(tries) > 0:
				x := tries[len(tries)-1-r.IntN(min(len(tries), []int{3, 60}[r.IntN(2)]))]
				x.sent = true
				got := b.apply(x.command())[0].err()
				if got != nil && !errors.Is(got, ErrUploadNotFound) && !errors.Is(got, ErrAttemptFenced) && !errors.Is(got, ErrPosition) && !errors.Is(got, ErrPartChanged) {
					t.Fatalf("step %d: %T = %v", step, x.command(), got)
				}
				if x.judged {
					late++
				}
				if x.widen != nil && got == nil {
					widened++
				}
				if errors.Is(got, ErrPartChanged) && !x.judged { // whoever hears that deletes the chunks at once
					x.judged = true
					judged++
				}
			case n < 12:
				b.must(&abortUpload{ref})
			case n < 13:
				request++
				list := []CompletePart{{Number: layout.PartNumber(r.IntN(3))}}
				b.apply(&completeUpload{Request: testRequest(request), CompleteUpload: CompleteUpload{UploadRef: ref, Parts: list}})
			case n < 14 && r.IntN(4) == 0:
				x := &try{part: testPart(0, MinPartSize, layout.NewAttemptID(c.incarnation, c.now, step))}
				app := b.appendOf("log", 9000+step, MinPartSize)
				x.part.Number, app.Part.Layout.Attempt = app.Part.Number, x.part.Layout.Attempt
				x.ref, x.append = UploadRef{Bucket: "b", Key: "log", ID: app.ID}, app
				tries, byAttempt[x.part.Layout.Attempt], c.tries = append(tries, x), x, append(c.tries, x)
			case n < 14 && r.IntN(3) > 0:
				request++
				b.copyAnyhow("k", []string{"k", "copy 1", "copy 2"}[r.IntN(3)], r.IntN(3) == 0)
				b.copyAnyhow([]string{"copy 1", "copy 2"}[r.IntN(2)], "k", r.IntN(2) == 0)
				b.copyAnyhow("log", "log.1", true)
				if r.IntN(2) == 0 {
					b.must(&deleteObject{Request: testRequest(request + 1<<32), Bucket: "b", Key: "k"})
				}
			case n < 14:
				start(c)
			case n < 16:
				b.now += layout.RegistryTime(r.Int64N(int64(AttemptLifetime) / 2))
				b.apply()
			case n < 17 && r.IntN(2) == 0 && len(b.queue()) > 0:
				for _, a := range b.collect(r) {
					if x := byAttempt[a]; x != nil && !x.judged {
						x.judged = true
						judged++
					}
				}
			case n < 17:
				c.now = b.meta.time // the others have not heard of it
			case n < 18 && r.IntN(20) == 0:
				b = b.reborn()
			case len(tries) > 0:
				for _, x := range b.judge(sample(r, tries, 50), &decisions) {
					if !x.judged {
						x.judged = true
						judged++
					}
				}
			}
			err := scan(b.db, []byte{rowPart}, func(_, v []byte) error {
				var p Part
				err := decodeValue(v, p.code)
				if x := byAttempt[p.Layout.Attempt]; x != nil && x.judged {
					t.Fatalf("step %d: a record names %s, whose chunks were collected", step, p.Layout.Attempt)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			b.checkObjects()
		}
		b.now += 2 * AttemptLifetime
		b.apply()
		free := map[*try]bool{}
		for _, x := range b.judge(tries, &decisions) {
			free[x] = true
		}
		for _, g := range b.queue() {
			if x := byAttempt[partOf(g)]; x != nil {
				if free[x] {
					t.Fatalf("%s waits in the garbage queue, and can be collected", x.part.Layout.Attempt)
				}
				free[x] = true // later, by the queue
			}
		}
		for _, x := range tries {
			if !free[x] && !b.names(x) {
				t.Fatalf("no record names %s, its fence has passed, and it cannot be collected", x.part.Layout.Attempt)
			}
		}
		freed += judged
		if judged < steps/40 || late == 0 {
			t.Errorf("%d of %d attempts judged, %d of them proposed afterwards: the test shows little", judged, len(tries), late)
		}
	}
	t.Logf("%d lives, %d crashes between chunks and record, %d decisions to free or keep, %d attempts freed", lives, crashes, decisions, freed)
	if widened < 5 {
		t.Errorf("only %d parts were widened", widened)
	}
	if least := 100_000; decisions < least && !raceEnabled || decisions < least/10 {
		t.Errorf("only %d decisions", decisions)
	}
}

// widening is an attempt to widen a part there is, be it of an open upload, of
// an object or garbage; nil if none is narrow.
func (b *bench) widening(r *rand.Rand, attempt layout.AttemptID) *try {
	b.t.Helper()
	parts, err := allParts(b.db, nil, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	parts = slices.DeleteFunc(parts, func(p OwnedPart) bool { return !p.Layout.Narrow(layout.Scheme{Data: 4, Parity: 2}) })
	if len(parts) == 0 {
		return nil
	}
	now := parts[r.IntN(len(parts))]
	wide := testPart(now.Number, now.Size, attempt)
	return &try{ref: UploadRef{ID: now.Upload}, part: wide, widen: wider(now.Upload, now.Part, attempt)}
}

// collect works a piece of the garbage queue off, and returns the attempts whose
// chunks were deleted for that.
func (b *bench) collect(r *rand.Rand) (attempts []layout.AttemptID) {
	b.t.Helper()
	entries := b.queue()
	g := entries[r.IntN(len(entries))]
	f := b.freed(g, -1, 1+r.IntN(3))
	if g.Part != nil {
		attempts = append(attempts, g.Part.Layout.Attempt)
	}
	for _, p := range f.Parts {
		attempts = append(attempts, p.Attempt)
	}
	b.must(&freeGarbage{[]FreedGarbage{f}})
	return attempts
}

// partOf is the attempt of an entry for one part, else none.
func partOf(g Garbage) (a layout.AttemptID) {
	if g.Part != nil {
		a = g.Part.Layout.Attempt
	}
	return a
}

// sample picks some of all, perhaps one of them twice.
func sample(r *rand.Rand, all []*try, n int) (some []*try) {
	for range n {
		some = append(some, all[r.IntN(len(all))])
	}
	return some
}

// judge returns those whose chunks may be deleted.
func (b *bench) judge(tries []*try, decisions *int) (free []*try) {
	b.t.Helper()
	attempts := make([]layout.AttemptID, len(tries))
	for i, x := range tries {
		attempts[i] = x.part.Layout.Attempt
	}
	verdict, err := collectable(b.db, attempts)
	if err != nil {
		b.t.Fatal(err)
	}
	*decisions += len(attempts)
	for _, x := range tries {
		if verdict[x.part.Layout.Attempt] {
			free = append(free, x)
		}
	}
	return free
}

// names reports whether a part row names the attempt.
func (b *bench) names(x *try) bool {
	b.t.Helper()
	var p Part
	found, err := getRow(b.db, partKey(x.ref.ID, x.part.Number), p.code)
	if err != nil {
		b.t.Fatal(err)
	}
	return found && p.Layout.Attempt == x.part.Layout.Attempt
}
