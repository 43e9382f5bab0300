package chunkstoretest

import (
	"errors"
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

func testWrittenRuns(t *testing.T, s chunkstore.Store) {
	const blocks, last = 19, 99
	for n, run := range []int{1, 2, 3, 8, blocks, blocks + 1} {
		content := Content(ID(n), (blocks-1)*layout.BlockSize+last)
		w, err := s.Create(t.Context(), ID(n), []byte("label"))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		runs, ok := w.(chunkstore.RunWriter)
		if !ok {
			return // a RunWriter is optional
		}
		list := slices.Collect(slices.Chunk(content, layout.BlockSize))
		if n == 1 { // blocks and runs mix
			if err := w.WriteBlock(list[0]); err != nil {
				t.Fatal(err)
			}
			list = list[1:]
		}
		for r := range slices.Chunk(list, run) {
			if err := runs.WriteRun(r); err != nil {
				t.Fatalf("WriteRun of %d of %d blocks = %v", len(r), blocks, err)
			}
		}
		if err := errors.Join(runs.WriteRun(nil), w.Commit()); err != nil {
			t.Fatalf("runs of %d: Commit = %v", run, err)
		}
		checkRead(t, s, ID(n), 0, -1, content)
	}
	for n, sizes := range [][]int{{layout.BlockSize, 10, 10}, {layout.BlockSize, layout.BlockSize + 1}, {0, layout.BlockSize}} {
		w, err := s.Create(t.Context(), ID(100+n), nil)
		if err != nil {
			t.Fatal(err)
		}
		var run [][]byte
		for _, size := range sizes {
			run = append(run, make([]byte, size))
		}
		if err := w.(chunkstore.RunWriter).WriteRun(run); err == nil {
			t.Errorf("WriteRun of blocks of %d bytes = nil", sizes)
		}
		if err := w.Commit(); err == nil {
			t.Errorf("Commit after a run of blocks of %d bytes = nil", sizes)
		}
		w.Abort()
		checkGone(t, s, ID(100+n))
	}
}

func testWrittenFrames(t *testing.T, s chunkstore.Store) {
	const blocks, last = 19, 99
	content := Content(ID(0), (blocks-1)*layout.BlockSize+last)
	write := func(id layout.ChunkID, read func(n int64, room, frame []byte) error) (bool, error) {
		w, err := s.Create(t.Context(), id, []byte("label"))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		frames, ok := w.(chunkstore.FrameWriter)
		if !ok {
			return false, nil // a FrameWriter is optional
		}
		seal, number := chunkstore.NewSeal(id), int64(0)
		for block := range slices.Chunk(content, layout.BlockSize) {
			frame := seal.AppendFrame(nil, number, block)
			err := frames.WriteFrame(len(frame), func(room []byte) error {
				if len(room) < len(frame)+chunkstore.FrameSpare {
					t.Errorf("room of %d bytes for a frame of %d", len(room), len(frame))
				}
				return read(number, room, frame)
			})
			if err != nil {
				if err := w.Commit(); err == nil {
					t.Error("Commit after an error of WriteFrame = nil")
				}
				return true, err
			}
			number++
		}
		return true, w.Commit()
	}
	whole := func(_ int64, room, frame []byte) error {
		copy(room, frame)
		for i := range chunkstore.FrameSpare {
			room[len(frame)+i] = 0xff // is nobody's
		}
		return nil
	}
	if can, err := write(ID(0), whole); !can {
		return
	} else if err != nil {
		t.Fatalf("frames = %v", err)
	}
	checkRead(t, s, ID(0), 0, -1, content)
	errRead := errors.New("cannot be read")
	for n, at := range []int64{0, 7, 8, blocks - 1} {
		_, err := write(ID(10+n), func(number int64, room, frame []byte) error {
			if number == at {
				copy(room, frame[:10])
				return errRead
			}
			return whole(number, room, frame)
		})
		checkError(t, "WriteFrame of what cannot be read", err, errRead)
		checkGone(t, s, ID(10+n))
		_, err = write(ID(20+n), func(number int64, room, frame []byte) error {
			err := whole(number, room, frame)
			if number == at {
				room[len(frame)/2] ^= 1
			}
			return err
		})
		checkError(t, "WriteFrame of a damaged frame", err, chunkstore.ErrCorrupt)
		checkGone(t, s, ID(20+n))
	}
}
