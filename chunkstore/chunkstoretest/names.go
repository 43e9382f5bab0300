package chunkstoretest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

func testAbsent(t *testing.T, s chunkstore.Store) {
	checkGone(t, s, ID(0))
	checkError(t, "Delete", s.Delete(t.Context(), ID(0)), chunkstore.ErrNotFound)
	mustWrite(t, s, ID(0), nil, []byte("x"))
	neighbour := ID(0)
	neighbour.Index++
	checkGone(t, s, neighbour)
	checkError(t, "Delete", s.Delete(t.Context(), neighbour), chunkstore.ErrNotFound)
}

func testExists(t *testing.T, s chunkstore.Store) {
	for n, size := range []int{10, 9 * layout.BlockSize} {
		id := ID(n)
		content := Content(id, size)
		mustWrite(t, s, id, []byte("first"), content)
		checkError(t, "second write", Write(t.Context(), s, id, []byte("second"), Content(ID(40), size)), chunkstore.ErrExists)
		checkRead(t, s, id, 0, -1, content)
	}
}

func testRace(t *testing.T, s chunkstore.Store) {
	const racers = 8
	id := ID(0)
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() { errs[i] = Write(t.Context(), s, id, nil, Content(ID(i), layout.BlockSize)) })
	}
	wg.Wait()
	winner := slices.Index(errs, nil)
	if winner < 0 {
		t.Fatalf("no racer won: %v", errs)
	}
	for i, err := range errs {
		if i != winner {
			checkError(t, fmt.Sprintf("racer %d", i), err, chunkstore.ErrExists)
		}
	}
	checkRead(t, s, id, 0, -1, Content(ID(winner), layout.BlockSize))
}

func testDelete(t *testing.T, s chunkstore.Store) {
	id := ID(0)
	mustWrite(t, s, id, nil, []byte("x"))
	if err := s.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkGone(t, s, id)
	checkError(t, "second Delete", s.Delete(t.Context(), id), chunkstore.ErrNotFound)
	mustWrite(t, s, id, nil, []byte("again"))
	checkRead(t, s, id, 0, -1, []byte("again"))
}

func testList(t *testing.T, s chunkstore.Store) {
	const chunks = 40
	want := make([]layout.ChunkID, 0, chunks)
	for n := range chunks {
		id := ID(n)
		id.Index = uint8(n * 5) // so that 5, 10 and 100 meet
		want = append(want, id)
	}
	for _, n := range rand.Perm(chunks) {
		mustWrite(t, s, want[n], []byte{byte(n)}, Content(want[n], n+1))
	}
	for _, limit := range []int{1, 3, 7, chunks, chunks + 1} {
		var got []layout.ChunkID
		after := layout.ChunkID{}
		for {
			page, err := s.List(t.Context(), after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("List after %s, limit %d = %d chunks, %v", after, limit, len(page), err)
			}
			if len(page) == 0 {
				break
			}
			for _, info := range page {
				if n := len(got); info.Size != int64(n+1) || !bytes.Equal(info.Label, []byte{byte(n)}) {
					t.Errorf("List: chunk %d is %+v", n, info)
				}
				got = append(got, info.ID)
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("List by %d = %v, want %v", limit, got, want)
		}
	}
	for _, limit := range []int{0, -1} {
		if page, err := s.List(t.Context(), layout.ChunkID{}, limit); err != nil || len(page) != 0 {
			t.Errorf("List with limit %d = %v, %v; want nothing", limit, page, err)
		}
	}
}
