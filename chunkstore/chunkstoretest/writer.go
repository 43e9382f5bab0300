package chunkstoretest

import (
	"slices"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

func testInvisible(t *testing.T, s chunkstore.Store) {
	id := ID(0)
	content := Content(id, 12*layout.BlockSize)
	w, err := s.Create(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for block := range slices.Chunk(content, layout.BlockSize) {
		if err := w.WriteBlock(block); err != nil {
			t.Fatal(err)
		}
		checkGone(t, s, id)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	checkRead(t, s, id, 0, -1, content)
}

// checkGone makes sure that nothing can see a chunk.
func checkGone(t *testing.T, s chunkstore.Store, id layout.ChunkID) {
	t.Helper()
	_, err := s.Stat(t.Context(), id)
	checkError(t, "Stat", err, chunkstore.ErrNotFound)
	_, err = Read(t.Context(), s, id, 0, -1)
	checkError(t, "Open", err, chunkstore.ErrNotFound)
	infos, err := s.List(t.Context(), layout.ChunkID{}, 10)
	if err != nil || slices.ContainsFunc(infos, func(i chunkstore.Info) bool { return i.ID == id }) {
		t.Errorf("List = %v, %v; want no chunk %s", infos, err, id)
	}
}

func testAbort(t *testing.T, s chunkstore.Store) {
	for n, blocks := range []int{0, 1, 9} {
		id := ID(n)
		w, err := s.Create(t.Context(), id, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range blocks {
			if err := w.WriteBlock(make([]byte, layout.BlockSize)); err != nil {
				t.Fatal(err)
			}
		}
		w.Abort()
		w.Abort()
		checkGone(t, s, id)
		mustWrite(t, s, id, nil, []byte("second try"))
		checkRead(t, s, id, 0, -1, []byte("second try"))
	}
}

func testEnded(t *testing.T, s chunkstore.Store) {
	for n, end := range []func(chunkstore.Writer) error{
		func(w chunkstore.Writer) error { w.Abort(); return nil },
		chunkstore.Writer.Commit,
	} {
		w, err := s.Create(t.Context(), ID(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(w); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteBlock([]byte("late")); err == nil {
			t.Error("WriteBlock after the end = nil")
		}
		if err := w.Commit(); err == nil {
			t.Error("Commit after the end = nil")
		}
		w.Abort()
	}
	checkRead(t, s, ID(1), 0, -1, nil)
}

func testRefusals(t *testing.T, s chunkstore.Store) {
	for n, tc := range []struct {
		name   string
		blocks []int
	}{
		{"empty block", []int{0}},
		{"empty block at the end", []int{layout.BlockSize, 0}},
		{"long block", []int{layout.BlockSize + 1}},
		{"block after a short one", []int{layout.BlockSize, 10, 10}},
		{"full block after a short one", []int{layout.BlockSize - 1, layout.BlockSize}},
	} {
		w, err := s.Create(t.Context(), ID(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, size := range tc.blocks {
			err = w.WriteBlock(make([]byte, size))
			if last := i == len(tc.blocks)-1; (err != nil) != last {
				t.Errorf("%s: WriteBlock %d = %v", tc.name, i, err)
			}
		}
		if err := w.Commit(); err == nil {
			t.Errorf("%s: Commit = nil", tc.name)
		}
		w.Abort()
		checkGone(t, s, ID(n))
	}
}
