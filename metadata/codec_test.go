package metadata

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"partstore/internal/layout"
)

var update = flag.Bool("update", false, "rewrite golden files")

// samples has one command of every kind, with every field set.
func samples() []command {
	ref := UploadRef{Bucket: "photos", Key: "2024/\x00/ü.jpg", ID: testUpload(1)}
	start, groups := testTopology(1)
	created := time.Unix(1700000000, 123456000).UTC()
	headers := Headers{"content-type": "image/jpeg", "x-qs-meta-who": "me"}
	etag := ETag{1, 2, 3}
	key := AccessKey{ID: "QYKEY", User: "usr-1", Disabled: true, Created: created, Sealed: []byte{9, 8, 7}}
	return []command{
		&createBucket{Request: testRequest(1), Bucket: Bucket{Name: "photos", Owner: "usr-1", Created: created}},
		&deleteBucket{Request: testRequest(2), Name: "photos"},
		&createUpload{Upload{UploadRef: ref, Created: created, Headers: headers}},
		commitOf(ref, testPart(7, 5<<20, layout.NewAttemptID(3, 1000, 9))),
		&completeUpload{Request: testRequest(5), CompleteUpload: CompleteUpload{
			UploadRef: ref, Parts: []CompletePart{{Number: 0}, {Number: 7, ETag: &etag}},
			ETag: "abc", Headers: headers, Modified: created,
		}},
		&completeUpload{byRow: true, Request: testRequest(5), CompleteUpload: CompleteUpload{
			UploadRef: ref, Parts: []CompletePart{{Number: 0}, {Number: 7, ETag: &etag}},
			ETag: "abc", Headers: headers, Modified: created,
		}},
		&abortUpload{ref},
		&putObject{PutObject{Bucket: "photos", Key: "k", ID: testUpload(2), Part: testPart(0, 0, layout.NewAttemptID(3, 1000, 10)), Headers: headers}},
		&deleteObject{Request: testRequest(3), Bucket: "photos", Key: "k"},
		start,
		groups,
		&setWishes{Request: testRequest(4), Version: 300, Wishes: []memberWish{{testNodeID(1), WishVote}, {testNodeID(2), WishGone}}},
		&takeDigest{},
		&createUser{Request: testRequest(6), User: User{ID: "usr-1", Name: "William", Created: created}},
		&deleteUser{Request: testRequest(7), ID: "usr-1"},
		&createKey{Request: testRequest(8), Key: key},
		&changeKey{Request: testRequest(9), Was: [16]byte{1, 2}, Key: key},
		&deleteKey{Request: testRequest(10), ID: "QYKEY"},
		&changeSetting{Request: testRequest(11), Bucket: "photos", Setting: SettingACL, Document: []byte(`{"acl":[]}`)},
		&bindDomain{Request: testRequest(12), Domain: Domain{Name: "img.example.com", Bucket: "photos", Type: "normal", Created: created}},
		&unbindDomain{Request: testRequest(13), Bucket: "photos", Name: "img.example.com"},
		&expireObject{Request: testRequest(14), From: objectVersion{Bucket: "photos", Key: "k", Version: [16]byte{3}}},
		&copyObject{
			Request: testRequest(6), From: objectVersion{Bucket: "photos", Key: "k", Version: [16]byte{4, 5}},
			Bucket: "copies", Key: "ü", Headers: headers, Modified: created, Move: true,
		},
		&appendObject{Request: testRequest(7), AppendObject: AppendObject{
			Bucket: "logs", Key: "today", ID: testUpload(3), Position: 300,
			Part: testPart(2, 7, layout.NewAttemptID(3, 1000, 11)), Headers: headers,
		}},
		&setDuty{Request: testRequest(15), Duty: Duty{Store: layout.StoreID{1, 2}, State: DutyOut, Version: 300, Auto: true, Reason: "absent for 10m"}},
		&moveSlot{Request: testRequest(16), MoveSlot: MoveSlot{Group: 300, Slot: 5, Epoch: 7, To: layout.StoreID{1, 7}, Reason: "out"}},
		&settleSlot{SettledSlot{Group: 300, Slot: 5, Epoch: 8}},
		&widenPart{WidenedPart{
			PartRef: PartRef{Upload: testUpload(1), Number: 7, Attempt: layout.NewAttemptID(3, 1000, 9)},
			Layout:  testPart(7, 5<<20, layout.NewAttemptID(4, 2000, 1)).Layout,
		}},
		&recordEvents{Request: testRequest(15), Events: []Event{
			{Kind: EventStoreFenced, Node: testNodeID(1), Store: layout.StoreID{2, 3}, Reason: "sync failed: ü"}, {Kind: EventHealClear},
		}},
		&changeRepair{Request: testRequest(16), Change: RepairChange{Verb: RepairThrottle, Limit: 64 << 20, Node: testNodeID(1)}},
		&recordDurable{[]DurableChunk{{
			PartRef: PartRef{Upload: testUpload(1), Number: 7, Attempt: layout.NewAttemptID(3, 1000, 9)}, Epoch: 300, Index: 5,
		}}},
		&freeGarbage{[]FreedGarbage{
			{Since: 70000, Sequence: 9, Upload: testUpload(1), Parts: []FreedPart{{Number: 7, Attempt: layout.NewAttemptID(3, 1000, 9)}}},
			{Since: 70001, Sequence: 10, Upload: testUpload(2)},
		}},
	}
}

// The encoding of a command is what the logs of running clusters are made of.
// If this test fails, the change needs a new command version.
func TestCommandEncodingIsStable(t *testing.T) {
	for _, cmd := range samples() {
		t.Run(fmt.Sprintf("%T", cmd)[len("*metadata."):], func(t *testing.T) {
			enc, err := encodeCommand(cmd)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", fmt.Sprintf("command-%02d.golden", cmd.kind()))
			if *update {
				if err := os.WriteFile(path, []byte(hex.Dump(enc)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.Dump(enc); got != string(want) {
				t.Errorf("encoding changed:\ngot\n%s\nwant\n%s", got, want)
			}
			back, err := decodeCommand(enc)
			if err != nil || !reflect.DeepEqual(back, cmd) {
				t.Errorf("decodeCommand = %+v, %v; want %+v", back, err, cmd)
			}
		})
	}
}

// The same for rows: they outlive the binary that wrote them.
func TestRowEncodingIsStable(t *testing.T) {
	b := newStockedBench(t)
	first, second := b.open(1, "a\x00b"), b.open(2, "c")
	b.must(commitOf(first, testPart(1, 5<<20, b.attempt(1))))
	b.must(commitOf(first, testPart(1, 6<<20, b.attempt(2))))
	b.must(&completeUpload{Request: testRequest(90), CompleteUpload: CompleteUpload{UploadRef: first, Parts: []CompletePart{{Number: 1}}}})
	b.must(&abortUpload{second})
	b.must(commitOf(b.open(3, "\x00"), testPart(7, 5<<20, b.attempt(3))))
	b.must(&createUser{Request: testRequest(91), User: User{ID: "usr-1", Name: "William", Created: time.Unix(1700000000, 0)}})
	b.must(&createKey{Request: testRequest(92), Key: AccessKey{ID: "QYKEY", User: "usr-1", Sealed: []byte{1, 2}}})
	b.must(&changeSetting{Request: testRequest(93), Bucket: "b", Setting: SettingACL, Document: []byte("{}")})
	b.must(&bindDomain{Request: testRequest(94), Domain: Domain{Name: "img.example.com", Bucket: "b", Type: "normal"}})
	b.must(&changeRepair{Request: testRequest(95), Change: RepairChange{Verb: RepairPause, Node: testNodeID(1)}})
	leaves := b.open(4, "d")
	for n := range layout.PartNumber(3) {
		b.must(commitOf(leaves, testPart(9*n, 5<<20, b.attempt(uint64(n)+4))))
	}
	b.must(&completeUpload{Request: testRequest(96), CompleteUpload: CompleteUpload{UploadRef: leaves, Parts: []CompletePart{{Number: 9}}}})
	var got strings.Builder
	err := scan(b.db, nil, func(k, v []byte) error {
		fmt.Fprintf(&got, "%q\n  %x\n", k, v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "rows.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("rows changed:\ngot\n%s\nwant\n%s", got.String(), want)
	}
}

// Encoding only reads: the race detector sees if it does not.
func TestOneValueIsEncodedByMany(t *testing.T) {
	values := []func(*coder){(&manifest{index: 1, term: 2, files: []fileSum{{name: "a", size: 3, sum: 4}}}).code}
	for _, cmd := range samples() {
		values = append(values, cmd.code)
	}
	for _, kind := range []messageKind{messageReadIndex, messageTerm} {
		values = append(values, (&request{kind: kind}).code, (&answer{kind: kind}).code)
	}
	for i, code := range values {
		want, err := encodeValue(code)
		if err != nil {
			t.Fatalf("value %d: %v", i, err)
		}
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				if got, err := encodeValue(code); err != nil || !bytes.Equal(got, want) {
					t.Errorf("value %d: %x, %v; want %x", i, got, err, want)
				}
			})
		}
		work.Wait()
	}
}

func TestUnknownCommandsAreRefused(t *testing.T) {
	enc, err := encodeCommand(&deleteBucket{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"version":   func(b []byte) []byte { b[0]++; return b },
		"kind":      func(b []byte) []byte { b[1] = 200; return b },
		"cut":       func(b []byte) []byte { return b[:len(b)-1] },
		"left over": func(b []byte) []byte { return append(b, 0) },
		"empty":     func([]byte) []byte { return nil },
		"too large": func([]byte) []byte { return make([]byte, maxCommandSize+1) },
	} {
		if cmd, err := decodeCommand(change(bytes.Clone(enc))); err == nil {
			t.Errorf("%s: decoded %+v", name, cmd)
		}
	}
}

func TestOversizedValuesAreInvalid(t *testing.T) {
	long := string(make([]byte, maxKeySize+1))
	if _, err := encodeCommand(&abortUpload{UploadRef{Key: long}}); err == nil {
		t.Error("a key above the limit was encoded")
	}
	if _, err := encodeCommand(commitOf(UploadRef{}, Part{Size: -1})); err == nil {
		t.Error("a negative size was encoded")
	}
}

func TestCompleteOfAllPartsFitsAnEntry(t *testing.T) {
	c := CompleteUpload{UploadRef: UploadRef{Bucket: "b", Key: string(bytes.Repeat([]byte("k"), 1024))}}
	for n := range maxParts {
		c.Parts = append(c.Parts, CompletePart{Number: layout.PartNumber(n), ETag: &ETag{byte(n)}})
	}
	enc, err := encodeCommand(&completeUpload{CompleteUpload: c})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(encodePack(pack{commands: [][]byte{enc}})); n > 512<<10 {
		t.Errorf("entry of %d bytes", n)
	}
}

func FuzzCommand(f *testing.F) {
	for _, cmd := range samples() {
		enc, err := encodeCommand(cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(enc)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cmd, err := decodeCommand(b)
		if err != nil {
			return
		}
		if again, err := encodeCommand(cmd); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x, %v", b, cmd, again, err)
		}
	})
}

func FuzzPack(f *testing.F) {
	f.Add(encodePack(pack{time: 5}))
	f.Add(encodePack(pack{time: 1 << 40, commands: [][]byte{{1}, {}, make([]byte, 300)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePack(b)
		if err != nil {
			return
		}
		if again := encodePack(p); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}

func FuzzRequest(f *testing.F) {
	for _, q := range []request{
		{kind: messagePropose, number: 3, term: 300, commands: [][]byte{{1, 2}, nil}},
		{kind: messageReadIndex}, {kind: messageTerm, from: server{testNodeID(1), 2}, to: server{testNodeID(2), 300}}, {kind: messageDigest, index: 300, digest: [32]byte{2}}, {kind: messageMembers, members: membersRequest{id: testRequest(1), verb: MembersReplace, node: testNodeID(3), by: testNodeID(4), version: 7, force: true, generation: 2}},
	} {
		b, err := encodeValue(q.code)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var q request
		if decodeValue(b, q.code) != nil {
			return
		}
		if again, err := encodeValue(q.code); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, a := range []answer{
		{kind: messagePropose, results: []result{{code: 3}, {payload: []byte("x")}}},
		{kind: messageReadIndex, index: 7}, {kind: messageTerm, index: 1, term: 1000, room: roomNone}, {kind: messageDigest, index: 300, digest: [32]byte{1}}, {kind: messageMembers, status: statusMembersUnsafe, reason: ": no"},
	} {
		b, err := encodeValue(a.code)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a answer
		if decodeValue(b, a.code) != nil {
			return
		}
		if again, err := encodeValue(a.code); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
	})
}

// FuzzRows covers what is read back from Pebble.
func FuzzRows(f *testing.F) {
	f.Add(uint8(0), []byte{})
	decoders := []func() func(*coder){
		func() func(*coder) { return new(meta).code },
		func() func(*coder) { return new(uploadRow).code },
		func() func(*coder) { return new(doneRow).code },
		func() func(*coder) { return new(Garbage).code },
		func() func(*coder) { return new(Object).code },
		func() func(*coder) { return new(Part).code },
		func() func(*coder) { return new(Member).code },
		func() func(*coder) { return new(Store).code },
		func() func(*coder) { return new(result).encode },
		func() func(*coder) { return new(User).code },
		func() func(*coder) { return new(AccessKey).code },
		func() func(*coder) { return new(Domain).code },
		func() func(*coder) { return new(Event).code },
		func() func(*coder) { return new(RepairPolicy).code },
		func() func(*coder) { return new(Duty).code },
		func() func(*coder) { return codeMoves(new([]layout.Move)) },
		func() func(*coder) { g := new(layout.Group); return func(c *coder) { codeGroup(g, c) } },
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		code := decoders[int(which)%len(decoders)]()
		if decodeValue(b, code) != nil {
			return
		}
		if again, err := encodeValue(code); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
	})
}

func TestListingKeysKeepTheOrderOfKeys(t *testing.T) {
	for _, a := range modelKeys {
		if key, ok := unescape(listingKey("b", a, 7)[len(listingsPrefix("b")):]); !ok || key != a {
			t.Errorf("unescape(%q) = %q, %v", a, key, ok)
		}
		for _, b := range modelKeys {
			want := bytes.Compare([]byte(a), []byte(b))
			if want == 0 {
				continue
			}
			if got := bytes.Compare(listingKey("b", a, 1<<60), listingKey("b", b, 0)); got != want {
				t.Errorf("rows of %q and %q compare as %d, keys as %d", a, b, got, want)
			}
		}
	}
}
