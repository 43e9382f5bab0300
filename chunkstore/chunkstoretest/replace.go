package chunkstoretest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// RunReplacer tests what a Replacer does beyond a Store. The stores that open
// returns are empty.
func RunReplacer(t *testing.T, open func(t *testing.T) chunkstore.Replacer) {
	for _, tc := range []struct {
		name string
		test func(t *testing.T, s chunkstore.Replacer)
	}{
		{"old chunk stays until the commit", testReplace},
		{"absent chunk has no successor", testReplaceAbsent},
		{"abort leaves the old chunk", testReplaceAborted},
		{"deleted chunk stays gone", testReplaceDeleted},
		{"running reader is never misled", testReplaceRead},
		{"racing successors are whole", testReplaceRace},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, open(t)) })
	}
}

// replaceSizes are chunks of one record and of several pieces.
var replaceSizes = []int{0, 1, 5000, 3 * layout.BlockSize, 19*layout.BlockSize + 3}

// succeed starts a successor and writes all its blocks.
func succeed(t *testing.T, s chunkstore.Replacer, id layout.ChunkID, label, content []byte) chunkstore.Writer {
	t.Helper()
	w, err := s.Replace(t.Context(), id, label)
	if err != nil {
		t.Fatalf("replace chunk %s: %v", id, err)
	}
	t.Cleanup(w.Abort)
	for block := range slices.Chunk(content, layout.BlockSize) {
		if err := w.WriteBlock(block); err != nil {
			t.Fatalf("replace chunk %s: %v", id, err)
		}
	}
	return w
}

// checkIs makes sure that a chunk is there once and is what it should be.
func checkIs(t *testing.T, s chunkstore.Store, id layout.ChunkID, label string, content []byte) {
	t.Helper()
	checkRead(t, s, id, 0, -1, content)
	info, err := s.Stat(t.Context(), id)
	if err != nil || info.Size != int64(len(content)) || string(info.Label) != label {
		t.Errorf("Stat = %+v, %v; want %d bytes, label %q", info, err, len(content), label)
	}
	infos, err := s.List(t.Context(), layout.ChunkID{}, 100)
	count := 0
	for _, info := range infos {
		if info.ID == id {
			count++
		}
	}
	if err != nil || count != 1 {
		t.Errorf("List = %v, %v; want chunk %s once", infos, err, id)
	}
}

func testReplace(t *testing.T, s chunkstore.Replacer) {
	for n, size := range replaceSizes {
		id := ID(n)
		for m, next := range replaceSizes {
			old, fresh := Content(ID(50+m), size), Content(ID(60+m), next)
			if m == 0 {
				mustWrite(t, s, id, []byte("old"), old)
			} else {
				old = Content(ID(60+m-1), replaceSizes[m-1])
			}
			label := map[bool]string{true: "old", false: "new"}[m == 0]
			w := succeed(t, s, id, []byte("new"), fresh)
			checkIs(t, s, id, label, old)
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
			w.Abort()
			checkIs(t, s, id, "new", fresh)
		}
		if err := s.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		checkGone(t, s, id)
	}
}

func testReplaceAbsent(t *testing.T, s chunkstore.Replacer) {
	_, err := s.Replace(t.Context(), ID(0), nil)
	checkError(t, "Replace", err, chunkstore.ErrNotFound)
	mustWrite(t, s, ID(0), nil, []byte("x"))
	if w, err := s.Replace(t.Context(), ID(0), make([]byte, chunkstore.MaxLabelSize+1)); err == nil {
		w.Abort()
		t.Error("Replace with an oversized label = nil error")
	}
}

func testReplaceAborted(t *testing.T, s chunkstore.Replacer) {
	for n, size := range replaceSizes {
		content := Content(ID(n), size)
		mustWrite(t, s, ID(n), []byte("old"), content)
		w := succeed(t, s, ID(n), []byte("new"), Content(ID(50), 18*layout.BlockSize))
		w.Abort()
		if err := w.Commit(); err == nil {
			t.Error("Commit after Abort = nil")
		}
		checkIs(t, s, ID(n), "old", content)
	}
}

func testReplaceDeleted(t *testing.T, s chunkstore.Replacer) {
	for n, size := range replaceSizes {
		mustWrite(t, s, ID(n), nil, []byte("old"))
		w := succeed(t, s, ID(n), nil, Content(ID(50), size))
		if err := s.Delete(t.Context(), ID(n)); err != nil {
			t.Fatal(err)
		}
		checkError(t, "Commit", w.Commit(), chunkstore.ErrNotFound)
		checkGone(t, s, ID(n))
	}
}

func testReplaceRead(t *testing.T, s chunkstore.Replacer) {
	old := Content(ID(50), 20*layout.BlockSize)
	mustWrite(t, s, ID(0), nil, old)
	r, err := s.Open(t.Context(), ID(0), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, layout.BlockSize)
	var got []byte
	for {
		n, err := r.Next(buf)
		if errors.Is(err, io.EOF) && bytes.Equal(got, old) || errors.Is(err, chunkstore.ErrUnavailable) {
			break
		}
		if got = append(got, buf[:n]...); err != nil || !bytes.HasPrefix(old, got) {
			t.Fatalf("the reader has %d bytes, %v", len(got), err)
		}
		if len(got) == layout.BlockSize {
			if err := succeed(t, s, ID(0), nil, Content(ID(51), 20*layout.BlockSize)).Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkIs(t, s, ID(0), "", Content(ID(51), 20*layout.BlockSize))
}

func testReplaceRace(t *testing.T, s chunkstore.Replacer) {
	mustWrite(t, s, ID(0), nil, []byte("old"))
	var contents [][]byte
	var wg sync.WaitGroup
	for n := range 6 {
		content := Content(ID(50+n), replaceSizes[n%len(replaceSizes)])
		contents = append(contents, content)
		w := succeed(t, s, ID(0), nil, content)
		wg.Go(func() {
			if err := w.Commit(); err != nil {
				t.Errorf("successor %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	got, err := Read(t.Context(), s, ID(0), 0, -1)
	if err != nil || !slices.ContainsFunc(contents, func(c []byte) bool { return bytes.Equal(c, got) }) {
		t.Fatalf("the chunk has %d bytes, %v", len(got), err)
	}
	checkIs(t, s, ID(0), "", got)
}
