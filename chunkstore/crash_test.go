package chunkstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/internal/vfs"
)

var errCut = errors.New("power cut")

// cutAfter lets n operations change the file system and fails all that follow.
func cutAfter(fsys vfs.FS, n int) vfs.FS {
	var done atomic.Int64
	return &vfs.Fault{FS: fsys, Before: func(op vfs.Op) error {
		if op.Mutates() && done.Add(1) > int64(n) {
			return errCut
		}
		return nil
	}}
}

// history is what a workload was told about each chunk before the power went.
type history struct {
	store     layout.StoreID // zero if the store was never open
	content   map[layout.ChunkID][]byte
	committed map[layout.ChunkID]bool // acknowledged, and no delete began
	gone      map[layout.ChunkID]bool // never committed, or its delete was acknowledged
}

// crashSizes are chunks of one record and of several pieces, enough to fill
// some of the shortest segments.
var crashSizes = []int{1, 5000, layout.BlockSize, 17*layout.BlockSize + 1, 0, 8 * layout.BlockSize, 300, 9 * layout.BlockSize, 6 * layout.BlockSize, 8*layout.BlockSize - 1}

const crashSegment = 1 << 20

func crashConfig(fsys vfs.FS, id layout.StoreID) chunkstore.DiskConfig {
	return chunkstore.DiskConfig{FS: fsys, Dir: storeDir, ID: id, Cluster: testCluster, SegmentBytes: crashSegment}
}

// workload writes, aborts and deletes chunks until an operation fails. It
// reports whether it got through.
func workload(t *testing.T, fsys vfs.FS) (h history, finished bool) {
	h = history{content: map[layout.ChunkID][]byte{}, committed: map[layout.ChunkID]bool{}, gone: map[layout.ChunkID]bool{}}
	d, err := chunkstore.OpenDisk(crashConfig(fsys, layout.StoreID{}))
	if err != nil {
		return h, false
	}
	defer d.Close()
	h.store = d.ID()
	for n, size := range crashSizes {
		id := chunkstoretest.ID(n)
		h.content[id] = chunkstoretest.Content(id, size)
		h.gone[id] = true
		if n == 3 {
			abortOne(t, d, id, h.content[id])
			continue
		}
		delete(h.gone, id) // from here on it may exist
		if chunkstoretest.Write(t.Context(), d, id, []byte("label"), h.content[id]) != nil {
			return h, false
		}
		h.committed[id] = true
		if n%3 == 2 {
			victim := chunkstoretest.ID(n - 1)
			delete(h.committed, victim)
			if d.Delete(t.Context(), victim) != nil {
				return h, false
			}
			h.gone[victim] = true
		}
	}
	// Enough for segments to be emptied, or to be worth compacting; then some of
	// what was moved, whose former segments a crash may bring back.
	for _, n := range []int{5, 8, 0, 2, 6} {
		victim := chunkstoretest.ID(n)
		delete(h.committed, victim)
		if d.Delete(t.Context(), victim) != nil {
			return h, false
		}
		h.gone[victim] = true
		d.Settle()
	}
	return h, true
}

func abortOne(t *testing.T, d *chunkstore.Disk, id layout.ChunkID, content []byte) {
	w, err := d.Create(t.Context(), id, nil)
	if err != nil {
		return
	}
	defer w.Abort()
	for block := range slices.Chunk(append(content, make([]byte, 12*layout.BlockSize)...), layout.BlockSize) {
		if w.WriteBlock(block) != nil {
			return
		}
	}
}

// check opens what the crash left and holds it against the history.
func (h history) check(t *testing.T, fsys vfs.FS) {
	t.Helper()
	d, err := chunkstore.OpenDisk(crashConfig(fsys, h.store))
	if err != nil {
		t.Errorf("open after crash: %v", err)
		return
	}
	defer d.Close()
	for id, want := range h.content {
		got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
		switch absent := errors.Is(err, chunkstore.ErrNotFound); {
		case h.committed[id] && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("committed chunk %s of %d bytes = %d bytes, %v", id, len(want), len(got), err)
		case h.gone[id] && !absent:
			t.Errorf("chunk %s = %d bytes, %v; want it gone", id, len(got), err)
		case !absent && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("chunk %s of unknown fate = %d bytes, %v; want all %d or none", id, len(got), err, len(want))
		}
	}
	if _, solid := fsys.(noHoles); !solid {
		usage := d.Usage()
		limit := usage.LiveBytes + int64(usage.Segments)*20*vfs.Align // header, footer, and some waste
		if got := allocated(t, fsys); got > limit {
			t.Errorf("%d bytes are taken after the crash, of them %d live", got, usage.LiveBytes)
		}
	}
	id := chunkstoretest.ID(99)
	if err := chunkstoretest.Write(t.Context(), d, id, nil, []byte("life goes on")); err != nil {
		t.Errorf("write after crash: %v", err)
	}
}

func TestPowerLossAnywhere(t *testing.T) {
	rng := testrand.New(t)
	for name, drive := range drives {
		t.Run(name, func(t *testing.T) {
			for n := 0; n < 400; n++ {
				mem := vfs.NewMem()
				fsys := cutAfter(drive(mem), n)
				h, finished := workload(t, fsys)
				t.Run(fmt.Sprintf("after %d changes", n), func(t *testing.T) {
					h.check(t, drive(mem.Crash()))
					for range 2 {
						h.check(t, drive(mem.CrashKeeping(rand.New(rand.NewPCG(rng.Uint64(), 0)))))
					}
				})
				if finished {
					if n < 50 {
						t.Errorf("the workload made only %d changes", n)
					}
					return
				}
			}
			t.Error("the workload never got through")
		})
	}
}

// TestVisibleIsDurable kills the process, but not the machine, anywhere: what
// the next process shows must survive the power loss after that.
func TestVisibleIsDurable(t *testing.T) {
	for n := 0; n < 400; n++ {
		mem := vfs.NewMem()
		fsys := cutAfter(mem, n)
		h, finished := workload(t, fsys)
		visible := history{store: h.store, content: h.content, committed: map[layout.ChunkID]bool{}}
		d, err := chunkstore.OpenDisk(crashConfig(mem, layout.StoreID{}))
		if err != nil {
			t.Fatalf("open after %d changes: %v", n, err)
		}
		infos, err := d.List(t.Context(), layout.ChunkID{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			visible.committed[info.ID] = true
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		visible.check(t, mem.Crash())
		if finished {
			return
		}
	}
	t.Error("the workload never got through")
}
