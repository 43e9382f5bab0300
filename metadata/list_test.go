package metadata

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
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

// plantTrees puts objects tree/leaf into the bucket, in few batches.
func (b *bench) plantTrees(trees, leaves int) {
	b.t.Helper()
	for i := range trees {
		batch := b.db.NewBatch()
		for j := range leaves {
			o := Object{Bucket: "b", Key: fmt.Sprintf("tree%06d/leaf%06d", i, j), ETag: "e"}
			value, err := encodeValue(o.code)
			if err != nil {
				b.t.Fatal(err)
			}
			if err := batch.Set(objectKey(o.Bucket, o.Key), value, nil); err != nil {
				b.t.Fatal(err)
			}
		}
		if err := batch.Commit(pebble.NoSync); err != nil {
			b.t.Fatal(err)
		}
	}
}

// A listing with a delimiter steps over what is below a common prefix, wherever
// it begins, and so does not come past most of the keys.
func TestListingSkipsSubTrees(t *testing.T) {
	const trees, leaves, limit = 60, 400, 20
	b := newStockedBench(t)
	b.plantTrees(trees, leaves)
	for i := range 40 {
		for j := range 20 {
			b.open(uint64(1000+100*i+j), fmt.Sprintf("tree%06d/leaf%06d", i, j))
		}
	}
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
