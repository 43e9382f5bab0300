package metadata

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"partstore/internal/layout"
)

// bench is a state machine without Raft around it.
type bench struct {
	t testing.TB
	*machine
	fs    vfs.FS // of the rows
	index uint64
	now   layout.RegistryTime

	requests uint64 // given by copyOf
}

func memDB(t testing.TB) (*pebble.DB, vfs.FS) {
	t.Helper()
	fs := vfs.NewMem()
	opts := pebbleOptions(fs)
	opts.Logger = pebbleLog{func(err error) { t.Error(err) }}
	if _, measured := t.(*testing.B); !measured {
		opts.CacheSize, opts.MemTableSize = 1<<20, 1<<20 // many small ones; and some flushes
	}
	db, err := pebble.Open("", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, fs
}

func newBench(t testing.TB) *bench {
	t.Helper()
	db, fs := memDB(t)
	m, err := openMachine(db)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, machine: m, fs: fs}
}

// newStockedBench has node 1 with six stores, groups of 4+2, and bucket "b".
func newStockedBench(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	start, groups := testTopology(1)
	b.must(start)
	b.must(groups)
	b.must(&createBucket{Request: testRequest(3), Bucket: Bucket{Name: "b", Owner: "me"}})
	return b
}

// apply has commands decided in one pack.
func (b *bench) apply(commands ...command) []result {
	b.t.Helper()
	p := pack{time: b.now}
	for _, cmd := range commands {
		enc, err := encodeCommand(cmd)
		if err != nil {
			b.t.Fatalf("encode %#v: %v", cmd, err)
		}
		p.commands = append(p.commands, enc)
	}
	return b.applyBytes(encodePack(p))
}

func (b *bench) applyBytes(packs ...[]byte) (all []result) {
	b.t.Helper()
	b.begin()
	for _, p := range packs {
		b.index++
		results, err := b.applyPack(p)
		if err != nil {
			b.t.Fatalf("applyPack: %v", err)
		}
		all = append(all, results...)
	}
	if err := b.commit(b.index, 1); err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) must(cmd command) result {
	b.t.Helper()
	r := b.apply(cmd)[0]
	if r.err() != nil {
		b.t.Fatalf("%T: %v", cmd, r.err())
	}
	return r
}

func (b *bench) want(cmd command, want error) {
	b.t.Helper()
	if got := b.apply(cmd)[0].err(); !errors.Is(got, want) {
		b.t.Errorf("%T = %v, want %v", cmd, got, want)
	}
}

func (b *bench) hash() [32]byte {
	b.t.Helper()
	h, err := stateHash(b.db)
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func (b *bench) rows(kind byte) (n int) {
	b.t.Helper()
	if err := scan(b.db, []byte{kind}, func(_, _ []byte) error { n++; return nil }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func testRequest(n uint64) (id layout.RequestID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func testUpload(n uint64) (id layout.UploadID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func testNodeID(n byte) (id layout.NodeID) { id[0] = n; return id }

// testTopology is a node with six stores and two groups of them.
func testTopology(node byte) (*startNode, *createGroups) {
	s := &startNode{StartNode{Request: testRequest(uint64(node)), Node: testNodeID(node), Name: "n", Zone: "z"}}
	var ids []layout.StoreID
	for i := range byte(6) {
		id := layout.StoreID{node, i + 1}
		ids = append(ids, id)
		s.Stores = append(s.Stores, Store{ID: id, CapacityBytes: 1 << 40})
	}
	return s, &createGroups{
		Request: testRequest(2), Scheme: layout.Scheme{Data: 4, Parity: 2},
		Groups: []layout.Group{{ID: 0, Epoch: 1, Slots: ids}, {ID: 1, Epoch: 1, Slots: ids}},
	}
}

func testPart(n layout.PartNumber, size int64, attempt layout.AttemptID) Part {
	p := Part{Number: n, Size: size, Modified: time.Unix(1700000000, 0).UTC(), ETag: md5.Sum(attempt[:])}
	p.Layout = layout.Layout{Attempt: attempt}
	if size > 0 {
		p.Layout = layout.Layout{
			Attempt: attempt, Scheme: layout.Scheme{Data: 4, Parity: 2}, Size: size,
			Slots: []uint8{0, 1, 2, 3, 4, 5}, Durable: 0x3f,
		}
	}
	return p
}

// narrowPart is a part that was written while two stores of its group were down.
func narrowPart(n layout.PartNumber, size int64, attempt layout.AttemptID) Part {
	p := testPart(n, size, attempt)
	if size > 0 {
		p.Layout.Scheme, p.Layout.Slots, p.Layout.Durable = layout.Scheme{Data: 2, Parity: 2}, []uint8{5, 3, 1, 0}, 0xf
	}
	return p
}

// wider is the command that gives a part the cluster's scheme.
func wider(id layout.UploadID, p Part, attempt layout.AttemptID) *widenPart {
	return &widenPart{WidenedPart{PartRef{id, p.Number, p.Layout.Attempt}, testPart(p.Number, p.Layout.Size, attempt).Layout}}
}

func (b *bench) open(n uint64, key string) UploadRef {
	b.t.Helper()
	ref := UploadRef{Bucket: "b", Key: key, ID: testUpload(n)}
	b.must(&createUpload{Upload{UploadRef: ref, Created: time.Unix(5, 0), Headers: Headers{"content-type": "text/plain"}}})
	return ref
}

func commitOf(ref UploadRef, p Part) *commitPart {
	return &commitPart{Upload: ref.ID, Key: digestKey(ref.Bucket, ref.Key), Part: p}
}

func (b *bench) attempt(seq uint64) layout.AttemptID {
	return layout.NewAttemptID(b.meta.incarnation, b.meta.time, seq)
}

func TestSupersededAttemptIsNotReinstated(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	first, second := commitOf(ref, testPart(1, 100, b.attempt(1))), commitOf(ref, testPart(1, 200, b.attempt(2)))
	b.must(first)
	b.must(second)
	b.must(first) // again: its outcome was lost on the way
	var p Part
	if _, err := getRow(b.db, partKey(ref.ID, 1), p.code); err != nil || p.Size != 200 {
		t.Errorf("part after the repeat has %d bytes, %v; want the later attempt's 200", p.Size, err)
	}
	if n := b.rows(rowGarbage); n != 1 {
		t.Errorf("%d garbage rows, want the superseded part alone", n)
	}
	b.must(&abortUpload{ref})
	b.must(second) // committed before the abort, so it was committed
	b.want(commitOf(ref, testPart(2, 100, b.attempt(3))), ErrUploadNotFound)
}

func TestAttemptsAreFenced(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	old := b.attempt(1)
	b.now = AttemptLifetime
	b.must(commitOf(ref, testPart(1, 1, old))) // just in time
	b.now++
	b.want(commitOf(ref, testPart(2, 1, layout.NewAttemptID(1, 0, 2))), ErrAttemptFenced)
	b.want(commitOf(ref, testPart(2, 1, layout.NewAttemptID(1, b.now+1, 3))), ErrAttemptFenced) // from the future
	live := layout.NewAttemptID(1, b.now, 4)
	b.must(&startNode{StartNode{Request: testRequest(77), Node: testNodeID(1)}})
	b.want(commitOf(ref, testPart(3, 1, live)), ErrAttemptFenced)
	b.want(&putObject{PutObject{Bucket: "b", Key: "o", ID: testUpload(9), Part: testPart(0, 1, live)}}, ErrAttemptFenced)
	b.must(commitOf(ref, testPart(3, 1, layout.NewAttemptID(2, b.now, 1))))
}

func TestCompleteRefusals(t *testing.T) {
	const mib = 1 << 20
	b := newStockedBench(t)
	ref := b.open(1, "k")
	for n, size := range map[layout.PartNumber]int64{0: 4 * mib, 1: 5 * mib, 2: 4*mib - 1, 3: 0} {
		b.must(commitOf(ref, testPart(n, size, b.attempt(uint64(n)+1))))
	}
	list := func(numbers ...layout.PartNumber) (l []CompletePart) {
		for _, n := range numbers {
			l = append(l, CompletePart{Number: n})
		}
		return l
	}
	otherKey := ref
	otherKey.Key = "other"
	tests := []struct {
		name string
		ref  UploadRef
		list []CompletePart
		want error
	}{
		{"no parts", ref, nil, ErrInvalid},
		{"descending", ref, list(1, 0), ErrInvalid},
		{"twice", ref, list(1, 1), ErrInvalid},
		{"absent at the end", ref, list(0, 9), ErrPartNotFound},
		{"absent in the middle, and the rest", ref, []CompletePart{{Number: 4}, {Number: 5}}, ErrPartNotFound},
		{"other ETag", ref, []CompletePart{{Number: 0, ETag: &ETag{1}}}, ErrPartMismatch},
		{"small in the middle", ref, list(0, 2, 3), ErrPartTooSmall},
		{"other key", otherKey, list(0), ErrUploadNotFound},
		{"other bucket", UploadRef{Bucket: "x", Key: "k", ID: ref.ID}, list(0), ErrBucketNotFound},
		{"unknown", UploadRef{Bucket: "b", Key: "k", ID: testUpload(8)}, list(0), ErrUploadNotFound},
	}
	before := b.rows(rowPart)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b.want(&completeUpload{Request: layout.NewRequestID(), CompleteUpload: CompleteUpload{UploadRef: tc.ref, Parts: tc.list}}, tc.want)
		})
	}
	if n := b.rows(rowPart); n != before || b.rows(rowUpload) != 1 {
		t.Errorf("refusals left %d of %d part rows and %d uploads", n, before, b.rows(rowUpload))
	}
}

func TestCompleteMakesTheObject(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	sums := []byte{}
	for n := range layout.PartNumber(3) {
		p := testPart(n, MinPartSize, b.attempt(uint64(n)+1))
		if n != 1 {
			sums = append(sums, p.ETag[:]...)
		}
		b.must(commitOf(ref, p))
	}
	complete := CompleteUpload{
		UploadRef: ref, Parts: []CompletePart{{Number: 0}, {Number: 2}},
		Headers: Headers{"x-qs-meta-a": "1"}, Modified: time.Unix(9, 0).UTC(),
	}
	var o, again Object
	if err := decodeValue(b.must(&completeUpload{Request: layout.NewRequestID(), CompleteUpload: complete}).payload, o.code); err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(sums)
	want := Object{
		Bucket: "b", Key: "k", ID: ref.ID, Size: 2 * MinPartSize, ETag: hex.EncodeToString(sum[:]) + "-2", Parts: 2,
		Modified: complete.Modified, Headers: Headers{"content-type": "text/plain", "x-qs-meta-a": "1"},
	}
	if fmt.Sprint(o) != fmt.Sprint(want) {
		t.Errorf("object = %v, want %v", o, want)
	}
	if b.rows(rowPart) != 3 || b.rows(rowRest) != 1 || b.rows(rowUpload)+b.rows(rowListing) != 0 || b.rows(rowGarbage) != 1 {
		t.Errorf("rows: %d parts, %d uploads, %d garbage", b.rows(rowPart), b.rows(rowUpload), b.rows(rowGarbage))
	}
	// The same wish, later and even after the object is gone, has the same answer.
	b.must(&deleteObject{Request: testRequest(50), Bucket: "b", Key: "k"})
	complete.Modified = time.Unix(99, 0)
	if err := decodeValue(b.must(&completeUpload{Request: layout.NewRequestID(), CompleteUpload: complete}).payload, again.code); err != nil || fmt.Sprint(again) != fmt.Sprint(want) {
		t.Errorf("repeated Complete = %v, %v; want %v", again, err, want)
	}
	complete.Parts = complete.Parts[:1]
	b.want(&completeUpload{Request: layout.NewRequestID(), CompleteUpload: complete}, ErrUploadNotFound)
	b.must(&abortUpload{ref})
}

// A command that was refused, and of which a copy was held up on its way, is
// not done after all when the copy arrives and could be.
func TestARefusalIsFinal(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	complete := &completeUpload{Request: testRequest(20), CompleteUpload: CompleteUpload{UploadRef: ref, Parts: []CompletePart{{Number: 1}}}}
	create := &createUpload{Upload{UploadRef: UploadRef{Bucket: "later", Key: "k", ID: testUpload(2)}}}
	put := &putObject{PutObject{Bucket: "later", Key: "k", ID: testUpload(3), Part: testPart(0, 0, b.attempt(1))}}
	b.want(complete, ErrPartNotFound)
	b.want(create, ErrBucketNotFound)
	b.want(put, ErrBucketNotFound)
	b.must(commitOf(ref, testPart(1, 1, b.attempt(2))))
	b.must(&createBucket{Request: testRequest(21), Bucket: Bucket{Name: "later"}})
	b.want(complete, ErrPartNotFound)
	b.want(create, ErrBucketNotFound)
	b.want(put, ErrBucketNotFound)
	if n := b.rows(rowUpload); n != 1 {
		t.Errorf("%d open uploads, want the one there was", n)
	}
	complete.Request = testRequest(22) // the client tries again
	b.must(complete)
}

func TestRequestsAreDecidedOnce(t *testing.T) {
	b := newStockedBench(t)
	create := &createBucket{Request: testRequest(10), Bucket: Bucket{Name: "c"}}
	b.must(create)
	b.must(create)
	b.want(&createBucket{Request: testRequest(11), Bucket: Bucket{Name: "c"}}, ErrBucketExists)
	drop := &deleteBucket{Request: testRequest(12), Name: "c"}
	b.must(drop)
	b.must(drop)
	b.must(create) // still the answer of then
	b.want(&deleteBucket{Request: testRequest(13), Name: "c"}, ErrBucketNotFound)

	start := &startNode{StartNode{Request: testRequest(20), Node: testNodeID(7)}}
	first := b.must(start)
	if again := b.must(start); !bytes.Equal(first.payload, again.payload) {
		t.Errorf("repeated StartNode gave %x after %x", again.payload, first.payload)
	}
	b.must(&startNode{StartNode{Request: testRequest(21), Node: testNodeID(7)}})
	b.want(start, ErrIncarnationStale)
	_, groups := testTopology(1)
	b.must(groups)
	groups.Request = testRequest(22)
	b.want(groups, ErrGroupsExist)
}

func TestBucketWithContentStays(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k\x00")
	b.want(&deleteBucket{Request: testRequest(10), Name: "b"}, ErrBucketNotEmpty)
	b.must(commitOf(ref, testPart(1, 0, b.attempt(1))))
	b.must(&completeUpload{Request: testRequest(20), CompleteUpload: CompleteUpload{UploadRef: ref, Parts: []CompletePart{{Number: 1}}}})
	b.want(&deleteBucket{Request: testRequest(11), Name: "b"}, ErrBucketNotEmpty)
	b.must(&deleteObject{Request: testRequest(12), Bucket: "b", Key: "k\x00"})
	b.must(&deleteBucket{Request: testRequest(13), Name: "b"})
}

func TestMemoryOfTheStateMachineEnds(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	b.must(commitOf(ref, testPart(1, 1, b.attempt(1))))
	b.must(commitOf(ref, testPart(1, 1, b.attempt(2))))
	b.must(&abortUpload{ref})
	if b.rows(rowExpiry) != b.rows(rowRequest)+b.rows(rowDone)+b.rows(rowAttempt) || b.rows(rowExpiry) == 0 {
		t.Fatalf("%d expiry rows for %d+%d+%d rows", b.rows(rowExpiry), b.rows(rowRequest), b.rows(rowDone), b.rows(rowAttempt))
	}
	b.now = AttemptLifetime
	b.apply()
	if n := b.rows(rowExpiry); n != 0 {
		t.Errorf("%d expiry rows left", n)
	}
	if n := b.rows(rowRequest) + b.rows(rowDone) + b.rows(rowAttempt); n != 0 {
		t.Errorf("%d remembered rows left", n)
	}
	if b.apply(&abortUpload{ref}); b.meta.time != AttemptLifetime {
		t.Errorf("registry time is %d", b.meta.time)
	}
	b.now = 5
	if b.apply(); b.meta.time != AttemptLifetime {
		t.Errorf("registry time went back to %d", b.meta.time)
	}
}

func TestCommitPartIsSmall(t *testing.T) {
	ref := UploadRef{Bucket: "bucket", Key: string(bytes.Repeat([]byte("k"), 1000)), ID: testUpload(1)}
	cmd := commitOf(ref, testPart(9999, MaxPartSize, layout.NewAttemptID(1<<31, 1<<47, 1<<47)))
	cmd.Part.Layout.Group = 1 << 20
	enc, err := encodeCommand(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(encodePack(pack{time: 1 << 45, commands: [][]byte{enc}})); n > 200 {
		t.Errorf("a log entry with one CommitPart has %d bytes, want at most 200", n)
	}
}
