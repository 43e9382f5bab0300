package chunkstore

import (
	"flag"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/internal/vfs"
)

// TestIndexFollowsTheModel does random things to an index and to a map.
func TestIndexFollowsTheModel(t *testing.T) {
	rng := testrand.New(t)
	var x index
	model := map[layout.ChunkID]foundChunk{}
	ids := make([]layout.ChunkID, 4000)
	for i := range ids {
		// Ascending, as they come, from several nodes.
		ids[i] = layout.ChunkID{Attempt: layout.NewAttemptID(layout.Incarnation(i%5), 1, uint64(i)), Index: uint8(i % 3)}
	}
	for step := range 60_000 {
		id := ids[rng.IntN(len(ids))]
		if step < len(ids) {
			id = ids[step]
		}
		if rng.IntN(5) < 3 || step < len(ids) {
			c := foundChunk{entry: entry{header{id: id, labelSize: step % 99, size: int64(step), sequence: uint64(step)}, place{1, uint32(step)}}}
			for range rng.IntN(3) {
				c.pieces++
				c.table = append(c.table, place{2, uint32(step)})
			}
			x.put(c.entry, c.table)
			model[id] = c
		} else {
			x.remove(id)
			delete(model, id)
		}
		if step%4999 == 0 {
			checkIndex(t, &x, model, ids)
		}
	}
	for _, id := range ids {
		x.remove(id)
	}
	checkIndex(t, &x, nil, ids)
	if len(x.pages) != 0 || len(x.tables) != 0 {
		t.Errorf("an empty index has %d pages and %d tables", len(x.pages), len(x.tables))
	}
}

func checkIndex(t *testing.T, x *index, model map[layout.ChunkID]foundChunk, ids []layout.ChunkID) {
	t.Helper()
	sorted := slices.SortedFunc(maps.Keys(model), layout.ChunkID.Compare)
	found := make([]foundChunk, len(sorted))
	for i, id := range sorted {
		found[i] = model[id]
	}
	built := buildIndex(found)
	for _, x := range []*index{x, &built} {
		for _, id := range ids {
			e, found := x.find(id)
			if c, want := model[id]; found != want || found && (e != c.entry || !slices.Equal(x.table(e), c.table)) {
				t.Fatalf("find %s = %+v, %t; want %+v", id, e, found, c)
			}
		}
		var listed []layout.ChunkID
		for after := (layout.ChunkID{}); ; after = listed[len(listed)-1] {
			page := x.after(after, 7)
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				listed = append(listed, e.id)
			}
		}
		if !slices.Equal(listed, sorted) || x.count != len(sorted) {
			t.Fatalf("listed %d of %d chunks, count %d", len(listed), len(sorted), x.count)
		}
	}
}

// TestFewFilesAreOpen reads from more segments than may be open.
func TestFewFilesAreOpen(t *testing.T) {
	d, err := OpenDisk(DiskConfig{FS: vfs.NewMem(), Dir: "/store", Cluster: layout.NewClusterID(), SegmentBytes: minSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.files.limit = 3
	ids := make([]layout.ChunkID, 60)
	for n := range ids {
		ids[n] = layout.ChunkID{Attempt: layout.NewAttemptID(1, 1, uint64(n))}
		w := d.newWriter(t.Context(), ids[n], nil)
		for range 7 {
			if err := w.WriteBlock(make([]byte, layout.BlockSize)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if _, err := readAll(t.Context(), d, id); err != nil {
			t.Fatal(err)
		}
		if open := d.files.count.Load(); open > d.files.limit {
			t.Fatalf("%d segments are open, of %d", open, len(d.segments))
		}
	}
	if len(d.segments) < 10 {
		t.Errorf("only %d segments", len(d.segments))
	}
}

var scale = flag.Int("scale", 20_000, "chunks of TestScale")

// TestScale opens a store of many chunks, with footers and without, and pages
// through it. It judges answers and prints times.
func TestScale(t *testing.T) {
	dir := t.TempDir()
	cfg := DiskConfig{Dir: dir, Cluster: layout.NewClusterID(), SegmentBytes: 64 << 20}
	d, err := OpenDisk(cfg)
	if err != nil {
		t.Fatal(err)
	}
	write := make(chan int)
	failed := make(chan error, 64)
	for range 64 {
		go func() {
			var err error
			for n := range write {
				w := d.newWriter(t.Context(), layout.ChunkID{Attempt: layout.NewAttemptID(layout.Incarnation(n%6+1), 1<<20, uint64(n))}, make([]byte, 200))
				if err == nil {
					err = w.WriteBlock(make([]byte, 1000))
				}
				if err == nil {
					err = w.Commit()
				}
				w.Abort()
			}
			failed <- err
		}()
	}
	for n := range *scale {
		write <- n
	}
	close(write)
	for range 64 {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	open := func(how string) {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if how == "without footers" {
			cutFooters(t, dir)
		}
		d = nil
		before := heap()
		began := time.Now()
		if d, err = OpenDisk(cfg); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d chunks: open %s took %v, %d bytes of memory per chunk", *scale, how, time.Since(began), (heap()-before)/uint64(*scale))
	}
	open("with footers")
	open("without footers")
	began, listed := time.Now(), 0
	for after := (layout.ChunkID{}); ; {
		page, err := d.List(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		listed += len(page)
		after = page[len(page)-1].ID
	}
	t.Logf("%d chunks: listing took %v", *scale, time.Since(began))
	if listed != *scale {
		t.Errorf("%d chunks listed, want %d", listed, *scale)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools hold survives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cutFooters cuts the last unit off every segment, the end of its footer.
func cutFooters(t *testing.T, dir string) {
	t.Helper()
	fsys := vfs.OS{}
	entries, err := fsys.ReadDir(dir + "/segments")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := fsys.OpenWrite(dir + "/segments/" + e.Name)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err == nil {
			err = f.Truncate(size - unitSize)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}
