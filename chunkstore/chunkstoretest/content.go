package chunkstoretest

import (
	"bytes"
	"errors"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

func testSizes(t *testing.T, s chunkstore.Store) {
	const b = layout.BlockSize
	for n, size := range []int{0, 1, 511, 4096, b - 1, b, b + 1, 2 * b, 3*b + 7, 4*b - 300, 5 * b, 21*b + 5} {
		id := ID(n)
		content := Content(id, size)
		mustWrite(t, s, id, []byte("label"), content)
		checkRead(t, s, id, 0, -1, content)
		info, err := s.Stat(t.Context(), id)
		if err != nil || info.ID != id || info.Size != int64(size) || string(info.Label) != "label" {
			t.Errorf("Stat of chunk of %d bytes = %+v, %v", size, info, err)
		}
	}
}

func testLabels(t *testing.T, s chunkstore.Store) {
	for n, size := range []int{0, 1, 100, chunkstore.MaxLabelSize} {
		id := ID(n)
		label := Content(id, size)
		mustWrite(t, s, id, label, []byte("x"))
		info, err := s.Stat(t.Context(), id)
		if err != nil || !bytes.Equal(info.Label, label) {
			t.Errorf("Stat = %d bytes of label, %v; want the %d that were written", len(info.Label), err, size)
		}
	}
	if w, err := s.Create(t.Context(), ID(9), make([]byte, chunkstore.MaxLabelSize+1)); err == nil {
		w.Abort()
		t.Error("Create with an oversized label = nil error")
	}
}

func testRanges(t *testing.T, s chunkstore.Store) {
	const blocks, last = 6, 99
	id := ID(0)
	content := Content(id, (blocks-1)*layout.BlockSize+last)
	mustWrite(t, s, id, nil, content)
	for first := int64(0); first <= blocks+1; first++ {
		for count := int64(-1); count <= blocks+2; count++ {
			from := min(int(first)*layout.BlockSize, len(content))
			to := len(content)
			if count >= 0 {
				to = min(from+int(count)*layout.BlockSize, to)
			}
			checkRead(t, s, id, first, count, content[from:to])
		}
	}
	checkRead(t, s, id, 1<<50, -1, nil)
	checkRead(t, s, id, 1, 1<<62, content[layout.BlockSize:])
	if r, err := s.Open(t.Context(), id, -1, 1); err == nil {
		r.Close()
		t.Error("Open from block -1 = nil error")
	}
}

func testRuns(t *testing.T, s chunkstore.Store) {
	const blocks, last = 19, 99
	id := ID(0)
	content := Content(id, (blocks-1)*layout.BlockSize+last)
	mustWrite(t, s, id, nil, content)
	for _, atOnce := range []int{1, 4, 8, 30} {
		for _, r := range []struct{ first, count int64 }{
			{0, -1}, {0, blocks}, {0, 1}, {3, 1}, {0, 8}, {5, 8}, {7, 9}, {16, 2}, {17, 2}, {18, 1}, {18, -1}, {17, 40}, {19, 2}, {4, 0}, {1 << 50, -1},
		} {
			from := min(int(min(r.first, blocks))*layout.BlockSize, len(content))
			to := len(content)
			if r.count >= 0 {
				to = min(from+int(r.count)*layout.BlockSize, to)
			}
			got, err := ReadRuns(t.Context(), s, id, r.first, r.count, atOnce)
			if errors.Is(err, errors.ErrUnsupported) {
				return // a RunReader is optional
			}
			if err != nil || !bytes.Equal(got, content[from:to]) {
				t.Errorf("blocks %d+%d, %d at a time = %d bytes, %v; want %d bytes, equal: %t",
					r.first, r.count, atOnce, len(got), err, to-from, bytes.Equal(got, content[from:to]))
			}
		}
	}
}
