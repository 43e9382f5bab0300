package chunkstore_test

import (
	"strings"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// TestWriteOrder holds the order of operations that durability rests on.
func TestWriteOrder(t *testing.T) {
	var trace strings.Builder
	fsys := &vfs.Fault{FS: directDrive{vfs.NewMem()}, Before: func(op vfs.Op) error {
		if op.Mutates() {
			trace.WriteString(string(op.Kind) + " " + op.Name + "\n")
		}
		return nil
	}}
	step := func(name string) { trace.WriteString("# " + name + "\n") }
	step("new store")
	d := openMem(t, fsys)
	id := func(n uint64) layout.ChunkID { return layout.ChunkID{Attempt: layout.NewAttemptID(1, 1<<16, n)} }
	write := func(id layout.ChunkID, size int) {
		if err := chunkstoretest.Write(t.Context(), d, id, nil, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	step("first chunk")
	write(id(1), 100)
	step("second chunk")
	write(id(2), 100)
	step("long chunk")
	write(id(3), 20*layout.BlockSize)
	step("aborted chunk")
	w, err := d.Create(t.Context(), id(4), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if err := w.WriteBlock(make([]byte, layout.BlockSize)); err != nil {
			t.Fatal(err)
		}
	}
	w.Abort()
	for _, n := range []uint64{1, 3} {
		step("delete")
		if err := d.Delete(t.Context(), id(n)); err != nil {
			t.Fatal(err)
		}
	}
	step("close")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	step("open again")
	d = openDisk(t, chunkstore.DiskConfig{FS: fsys, Dir: storeDir})
	step("delete the last chunk")
	if err := d.Delete(t.Context(), id(2)); err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "writeorder.golden", trace.String())
}
