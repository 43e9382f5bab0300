package metadata

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// countingRows counts the keys that iterators come past.
type countingRows struct {
	pebble.Reader
	keys *int
}

func (r countingRows) NewIter(o *pebble.IterOptions) (*pebble.Iterator, error) {
	counted := *o
	counted.SkipPoint = func([]byte) bool { *r.keys++; return false }
	return r.Reader.NewIter(&counted)
}

// plantTrees puts an object and an upload tree/leaf into the bucket, for each
// tree and leaf. The uploads are no more than their rows in the listing.
func (b *bench) plantTrees(trees, leaves int) {
	b.t.Helper()
	for i := range trees {
		batch := b.db.NewBatch()
		for j := range leaves {
			o := Object{Bucket: "b", Key: fmt.Sprintf("tree%06d/leaf%06d", i, j), ETag: "e"}
			value, err := encodeValue(o.code)
			id := testUpload(uint64(i*leaves + j))
			err = errors.Join(err,
				batch.Set(objectKey(o.Bucket, o.Key), value, nil),
				batch.Set(listingKey(o.Bucket, o.Key, 1), id[:], nil))
			if err != nil {
				b.t.Fatal(err)
			}
		}
		if err := batch.Commit(pebble.NoSync); err != nil {
			b.t.Fatal(err)
		}
	}
}

// A listing with a delimiter steps over what is below a common prefix, wherever
// it begins, and so does not come past most of a million keys.
func TestListingSkipsSubTrees(t *testing.T) {
	const trees, limit = 2000, 1000
	leaves := 500
	if raceEnabled {
		leaves /= 5
	}
	b := newStockedBench(t)
	b.plantTrees(trees, leaves)
	for _, marker := range []string{"", "tree000007/", "tree000007/leaf000003", "tree000007/leaf999999"} {
		q := ListQuery{Delimiter: "/", Marker: marker, Limit: limit}
		first := "tree000000/"
		if marker != "" {
			first = "tree000008/"
		}
		keys := 0
		page, err := listObjects(countingRows{b.db, &keys}, "b", q)
		if err != nil || len(page.CommonPrefixes) != limit || page.CommonPrefixes[0] != first || page.Next == "" {
			t.Fatalf("after %q: %+v, %v", marker, page, err)
		}
		if keys > 4*(limit+2) {
			t.Errorf("objects after %q: %d keys for a page of %d", marker, keys, limit)
		}
		keys = 0
		uploads, err := listUploads(countingRows{b.db, &keys}, "b", q, "")
		if err != nil || len(uploads.CommonPrefixes) != limit || uploads.CommonPrefixes[0] != first {
			t.Fatalf("uploads after %q: %+v, %v", marker, uploads, err)
		}
		if keys > 4*(limit+2) {
			t.Errorf("uploads after %q: %d keys for a page of %d", marker, keys, limit)
		}
	}
}

// A page of parts comes past no others, wherever it begins.
func TestListingPartsStartsAtTheMarker(t *testing.T) {
	const limit = 1000
	b := newStockedBench(t)
	ref := b.open(1, "k")
	for n := range layout.PartNumber(10_000) {
		p := testPart(n, 1, b.attempt(uint64(n)))
		value, err := encodeValue(p.code)
		if err = errors.Join(err, b.db.Set(partKey(ref.ID, n), value, pebble.NoSync)); err != nil {
			t.Fatal(err)
		}
	}
	for _, after := range []int{-1, 0, 4321, 8999} {
		keys := 0
		page, err := listParts(countingRows{b.db, &keys}, ref, after, limit)
		if err != nil || len(page.Parts) != limit || int(page.Parts[0].Number) != after+1 {
			t.Fatalf("after %d: %d parts, %v", after, len(page.Parts), err)
		}
		if keys > limit+5 {
			t.Errorf("after %d: %d keys for a page of %d", after, keys, limit)
		}
	}
}

// A page of a thousand common prefixes, and one of a thousand keys, in a bucket
// of a million objects.
func BenchmarkListObjectsOfAMillion(b *testing.B) {
	s := newStockedBench(b)
	s.plantTrees(2000, 500)
	for name, q := range map[string]ListQuery{
		"prefixes": {Delimiter: "/", Marker: "tree000500/", Limit: 1000},
		"keys":     {Prefix: "tree0005", Marker: "tree000500/leaf000100", Limit: 1000},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				page, err := listObjects(s.db, "b", q)
				if err != nil || len(page.Objects)+len(page.CommonPrefixes) != 1000 {
					b.Fatal(len(page.Objects), len(page.CommonPrefixes), err)
				}
			}
		})
	}
}
