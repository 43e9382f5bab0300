package chunkstore_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// faulty is a file system in memory whose operations fail as told.
type faulty struct {
	vfs.Fault
	fail atomic.Pointer[failure]
}

type failure struct {
	kind vfs.OpKind
	name string // part of the name; "" means any
	err  error
}

func newFaulty() *faulty {
	f := &faulty{Fault: vfs.Fault{FS: vfs.NewMem()}}
	f.Before = func(op vfs.Op) error {
		if fail := f.fail.Load(); fail != nil && fail.kind == op.Kind && strings.Contains(op.Name, fail.name) {
			return fail.err
		}
		return nil
	}
	return f
}

func TestWriteFaults(t *testing.T) {
	long := chunkstoretest.Content(chunkstoretest.ID(0), 9*layout.BlockSize)
	for _, tc := range []struct {
		name    string
		failure failure
		content []byte
		want    error
		fences  bool
	}{
		{"sync", failure{vfs.OpSync, "/segments/", syscall.EIO}, long, chunkstore.ErrFenced, true},
		{"sync, no room", failure{vfs.OpSync, "/segments/", syscall.ENOSPC}, nil, chunkstore.ErrFenced, true},
		{"write, broken drive", failure{vfs.OpWrite, "/segments/", syscall.EIO}, long, chunkstore.ErrFenced, true},
		{"write, read-only drive", failure{vfs.OpWrite, "/segments/", syscall.EROFS}, nil, chunkstore.ErrFenced, true},
		{"write, no room", failure{vfs.OpWrite, "/segments/", syscall.ENOSPC}, long, chunkstore.ErrFull, false},
		{"write, quota", failure{vfs.OpWrite, "/segments/", syscall.EDQUOT}, nil, chunkstore.ErrFull, false},
		{"write, odd failure", failure{vfs.OpWrite, "/segments/", syscall.ENXIO}, nil, chunkstore.ErrUnavailable, false},
		{"new segment, no room", failure{vfs.OpCreate, "/segments/", syscall.ENOSPC}, long, chunkstore.ErrFull, false},
		{"new segment, too many open files", failure{vfs.OpCreate, "/segments/", syscall.EMFILE}, long, chunkstore.ErrUnavailable, false},
		{"new segment, read-only drive", failure{vfs.OpCreate, "/segments/", syscall.EROFS}, long, chunkstore.ErrFenced, true},
		{"sync of the directory", failure{vfs.OpSyncDir, "/segments", syscall.EIO}, long, chunkstore.ErrFenced, true},
		{"sync of the directory, too many open files", failure{vfs.OpSyncDir, "/segments", syscall.EMFILE}, long, chunkstore.ErrUnavailable, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := newFaulty()
			var told atomic.Int32
			cfg := chunkstore.DiskConfig{FS: fsys, Dir: storeDir, OnFence: func(error) { told.Add(1) }}
			d := openDisk(t, cfg)
			old := chunkstoretest.ID(50)
			if err := chunkstoretest.Write(t.Context(), d, old, nil, []byte("old")); err != nil {
				t.Fatal(err)
			}
			fsys.fail.Store(&tc.failure)
			victim := chunkstoretest.ID(0)
			err := chunkstoretest.Write(t.Context(), d, victim, nil, tc.content)
			if !errors.Is(err, tc.want) {
				t.Errorf("write = %v, want %v", err, tc.want)
			}
			fsys.fail.Store(nil)
			checkAbsent(t, d, victim)
			checkContent(t, d, old, "old")
			if fenced := d.Fenced() != nil; fenced != tc.fences || (told.Load() == 1) != tc.fences {
				t.Fatalf("Fenced = %v, told %d times; want fenced: %t", d.Fenced(), told.Load(), tc.fences)
			}
			if tc.fences {
				checkFenced(t, d, old)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				d = openDisk(t, cfg)
				checkFenced(t, d, old)
				return
			}
			if err := chunkstoretest.Write(t.Context(), d, victim, nil, []byte("new")); err != nil {
				t.Errorf("write after the fault = %v", err)
			}
		})
	}
}

func checkAbsent(t *testing.T, d *chunkstore.Disk, id layout.ChunkID) {
	t.Helper()
	if _, err := d.Stat(t.Context(), id); !errors.Is(err, chunkstore.ErrNotFound) {
		t.Errorf("Stat = %v, want %v", err, chunkstore.ErrNotFound)
	}
}

func checkContent(t *testing.T, d *chunkstore.Disk, id layout.ChunkID, want string) {
	t.Helper()
	if got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1); err != nil || string(got) != want {
		t.Errorf("Read = %q, %v; want %q", got, err, want)
	}
}

// checkFenced makes sure that a store refuses every change and serves reads.
func checkFenced(t *testing.T, d *chunkstore.Disk, old layout.ChunkID) {
	t.Helper()
	err := chunkstoretest.Write(t.Context(), d, chunkstoretest.ID(60), nil, nil)
	for call, err := range map[string]error{"Fenced": d.Fenced(), "Create": err, "Delete": d.Delete(t.Context(), old)} {
		if !errors.Is(err, chunkstore.ErrFenced) {
			t.Errorf("%s = %v, want %v", call, err, chunkstore.ErrFenced)
		}
	}
	checkContent(t, d, old, "old")
}

func TestFenceStopsWritersUnderWay(t *testing.T) {
	fsys := newFaulty()
	d := openMem(t, fsys)
	w, err := d.Create(t.Context(), chunkstoretest.ID(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	fsys.fail.Store(&failure{vfs.OpSync, "/segments/", syscall.EIO})
	if err := chunkstoretest.Write(t.Context(), d, chunkstoretest.ID(2), nil, nil); !errors.Is(err, chunkstore.ErrFenced) {
		t.Fatalf("write = %v", err)
	}
	fsys.fail.Store(nil)
	if err := w.Commit(); !errors.Is(err, chunkstore.ErrFenced) {
		t.Errorf("Commit = %v, want %v", err, chunkstore.ErrFenced)
	}
	checkAbsent(t, d, chunkstoretest.ID(1))
}

func TestDeleteFaults(t *testing.T) {
	for _, tc := range []struct {
		name    string
		failure failure
		want    error
		fences  bool
	}{
		{"sync", failure{vfs.OpSync, "/tombstones", syscall.EIO}, chunkstore.ErrFenced, true},
		{"write, broken drive", failure{vfs.OpWrite, "/tombstones", syscall.EIO}, chunkstore.ErrFenced, true},
		{"write, no room", failure{vfs.OpWrite, "/tombstones", syscall.ENOSPC}, chunkstore.ErrFull, false},
		{"hole", failure{vfs.OpPunch, "/segments/", syscall.EIO}, nil, false},
		{"hole, impossible", failure{vfs.OpPunch, "/segments/", errors.ErrUnsupported}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := newFaulty()
			d := openMem(t, fsys)
			id, old := chunkstoretest.ID(1), chunkstoretest.ID(2)
			for _, id := range []layout.ChunkID{id, old} {
				if err := chunkstoretest.Write(t.Context(), d, id, nil, []byte("old")); err != nil {
					t.Fatal(err)
				}
			}
			fsys.fail.Store(&tc.failure)
			err := d.Delete(t.Context(), id)
			if fenced := d.Fenced() != nil; !errors.Is(err, tc.want) || fenced != tc.fences {
				t.Errorf("Delete = %v, want %v; Fenced = %v, want %t", err, tc.want, d.Fenced(), tc.fences)
			}
			fsys.fail.Store(nil)
			if err == nil {
				checkAbsent(t, d, id)
			} else {
				checkContent(t, d, id, "old")
			}
			checkContent(t, d, old, "old")
		})
	}
}

func TestReadFaults(t *testing.T) {
	for _, tc := range []struct {
		name    string
		failure failure
		want    error
	}{
		{"unreadable sector", failure{vfs.OpRead, "/segments/", syscall.EIO}, chunkstore.ErrCorrupt},
		{"too many open files", failure{vfs.OpOpen, "/segments/", syscall.EMFILE}, chunkstore.ErrUnavailable},
		{"no permission", failure{vfs.OpOpen, "/segments/", syscall.EACCES}, chunkstore.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := newFaulty()
			d := openMem(t, fsys)
			id := chunkstoretest.ID(1)
			if err := chunkstoretest.Write(t.Context(), d, id, nil, []byte("x")); err != nil {
				t.Fatal(err)
			}
			fsys.fail.Store(&tc.failure)
			_, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
			if !errors.Is(err, tc.want) || errors.Is(err, chunkstore.ErrNotFound) {
				t.Errorf("Read = %v, want %v", err, tc.want)
			}
			if d.Fenced() != nil {
				t.Errorf("Fenced = %v; a read never fences", d.Fenced())
			}
		})
	}
}

func TestVanishedDriveIsNotAnAbsentChunk(t *testing.T) {
	fsys := vfs.NewMem()
	d := openMem(t, fsys)
	if err := fsys.Remove(storeDir + "/store"); err != nil {
		t.Fatal(err)
	}
	_, err := d.Stat(t.Context(), chunkstoretest.ID(1))
	if !errors.Is(err, chunkstore.ErrUnavailable) || errors.Is(err, chunkstore.ErrNotFound) {
		t.Errorf("Stat = %v, want %v", err, chunkstore.ErrUnavailable)
	}
}

func TestReserveIsKept(t *testing.T) {
	d := openDisk(t, chunkstore.DiskConfig{FS: vfs.NewMem(), Dir: storeDir, ReserveBytes: 1 << 62})
	if space, err := d.Space(); err != nil || space.FreeBytes != 0 || space.CapacityBytes == 0 {
		t.Errorf("Space = %+v, %v", space, err)
	}
	if _, err := d.Create(t.Context(), chunkstoretest.ID(1), nil); !errors.Is(err, chunkstore.ErrFull) {
		t.Errorf("Create = %v, want %v", err, chunkstore.ErrFull)
	}
}

// TestRoomComesBack deletes everything: each segment goes when it is full and
// nothing is left in it, and the room of deleted chunks before that.
func TestRoomComesBack(t *testing.T) {
	fsys := vfs.NewMem()
	d := openDisk(t, chunkstore.DiskConfig{FS: fsys, Dir: storeDir, SegmentBytes: crashSegment})
	var ids []layout.ChunkID
	for n := range 40 {
		ids = append(ids, chunkstoretest.ID(n))
		if err := chunkstoretest.Write(t.Context(), d, ids[n], nil, chunkstoretest.Content(ids[n], n*20_000)); err != nil {
			t.Fatal(err)
		}
	}
	full := d.Usage()
	if full.Chunks != len(ids) || full.LiveBytes < 39*20*20_000 || full.Segments < 10 {
		t.Errorf("Usage = %+v", full)
	}
	for n, id := range slices.Backward(ids) {
		if err := d.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if n == len(ids)/2 {
			if got := allocated(t, fsys); got > full.LiveBytes/2 {
				t.Errorf("%d of %d bytes are taken when the longer half of the chunks is gone", got, full.LiveBytes)
			}
		}
	}
	if got := d.Usage(); got.Chunks != 0 || got.LiveBytes != 0 {
		t.Errorf("Usage = %+v, want nothing", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if entries, err := fsys.ReadDir(storeDir + "/segments"); err != nil || len(entries) > 0 {
		t.Errorf("segments left: %v, %v", entries, err)
	}
}

// allocated is what all segments take on the drive.
func allocated(t *testing.T, fsys vfs.FS) (total int64) {
	t.Helper()
	entries, err := fsys.ReadDir(storeDir + "/segments")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := fsys.Stat(storeDir + "/segments/" + e.Name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			t.Fatal(err)
		}
		total += info.Allocated
	}
	return total
}
