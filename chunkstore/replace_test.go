package chunkstore_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/internal/vfs"
)

// replaceChunk puts a successor in the place of a chunk.
func replaceChunk(t *testing.T, d *chunkstore.Disk, id layout.ChunkID, content []byte) error {
	w, err := d.Replace(t.Context(), id, []byte("new"))
	if err != nil {
		return err
	}
	defer w.Abort()
	for block := range slices.Chunk(content, layout.BlockSize) {
		if err := w.WriteBlock(block); err != nil {
			return err
		}
	}
	return w.Commit()
}

// Power lost at any step of a replacement leaves the old chunk or the new one,
// the new one once Commit has returned, and neither after its delete.
func TestReplaceSurvivesPowerLoss(t *testing.T) {
	rng := testrand.New(t)
	for _, size := range []int{5000, 9*layout.BlockSize + 1} {
		base, id := vfs.NewMem(), chunkstoretest.ID(1)
		before, after := chunkstoretest.Content(id, size), chunkstoretest.Content(chunkstoretest.ID(2), size)
		d, err := chunkstore.OpenDisk(crashConfig(base, layout.StoreID{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(chunkstoretest.Write(t.Context(), d, id, []byte("old"), before), d.Close()); err != nil {
			t.Fatal(err)
		}
		for n, finished := 0, false; !finished; n++ {
			mem := base.Crash()
			replaced, deleting := false, false
			if d, err := chunkstore.OpenDisk(crashConfig(cutAfter(mem, n), layout.StoreID{})); err == nil {
				replaced = replaceChunk(t, d, id, after) == nil
				deleting = replaced
				finished = replaced && d.Delete(t.Context(), id) == nil
				d.Close()
			}
			for _, left := range []vfs.FS{mem.Crash(), mem.CrashKeeping(rng)} {
				d, err := chunkstore.OpenDisk(crashConfig(left, layout.StoreID{}))
				if err != nil {
					t.Fatalf("open after %d changes: %v", n, err)
				}
				got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
				isOld, isNew, isGone := err == nil && bytes.Equal(got, before), err == nil && bytes.Equal(got, after), errors.Is(err, chunkstore.ErrNotFound)
				ok := isOld || isNew
				switch {
				case finished:
					ok = isGone
				case deleting:
					ok = isNew || isGone
				}
				if !ok {
					t.Errorf("%d bytes, after %d changes, replaced: %t: old %t, new %t, gone %t, %v", size, n, replaced, isOld, isNew, isGone, err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// A tombstone that could not be written is owed: deleting the successor must not
// bring the old chunk back with the next start.
func TestReplacedChunkDoesNotComeBack(t *testing.T) {
	mem, id := vfs.NewMem(), chunkstoretest.ID(1)
	var full atomic.Bool
	fsys := &vfs.Fault{FS: mem, Before: func(op vfs.Op) error {
		if full.Load() && op.Mutates() && strings.Contains(op.Name, "tombstones") {
			return syscall.ENOSPC
		}
		return nil
	}}
	d := openDisk(t, crashConfig(fsys, layout.StoreID{}))
	if err := chunkstoretest.Write(t.Context(), d, id, nil, []byte("old")); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if err := replaceChunk(t, d, id, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), id); !errors.Is(err, chunkstore.ErrFull) {
		t.Fatalf("Delete without room for a tombstone = %v", err)
	}
	if got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1); err != nil || string(got) != "new" {
		t.Fatalf("the chunk is %q, %v", got, err)
	}
	full.Store(false)
	if err := d.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	again := openDisk(t, crashConfig(mem.Crash(), layout.StoreID{}))
	if info, err := again.Stat(t.Context(), id); !errors.Is(err, chunkstore.ErrNotFound) {
		t.Errorf("after a restart: %+v, %v", info, err)
	}
}

// What is not a block counts, too: damage to a chunk's header, label or table
// shows in Stat at once, not when the next start needs them.
func TestDamageBesideTheBlocksShowsInStat(t *testing.T) {
	rng := testrand.New(t)
	mem, id := vfs.NewMem(), chunkstoretest.ID(1)
	d := openMem(t, mem)
	label := []byte("a label that is nowhere else")
	if err := chunkstoretest.Write(t.Context(), d, id, label, chunkstoretest.Content(id, 17*layout.BlockSize)); err != nil {
		t.Fatal(err)
	}
	name := segmentFiles(t, mem)[0]
	file := readFile(t, mem, name)
	at := bytes.Index(file, label)
	const header, sum, table = 64, 4, 2 * 8
	for what, span := range map[string][2]int{
		"table": {at - sum - table, at}, "label": {at, at + len(label) + sum}, "header": {at + len(label) + sum, at + len(label) + sum + header},
	} {
		for range 20 {
			spoiled := bytes.Clone(file)
			spoiled[span[0]+rng.IntN(span[1]-span[0])] ^= 1 << rng.IntN(8)
			overwrite(t, mem, name, spoiled)
			if info, err := d.Stat(t.Context(), id); !errors.Is(err, chunkstore.ErrCorrupt) {
				t.Errorf("the %s is damaged: Stat = %+v, %v", what, info, err)
			}
		}
	}
	overwrite(t, mem, name, file)
	if _, err := d.Stat(t.Context(), id); err != nil {
		t.Error(err)
	}
}
