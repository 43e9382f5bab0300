package chunkstore_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// TestCompaction deletes most chunks where the file system has no holes: the
// rest is moved, and what is taken on the drive shrinks.
func TestCompaction(t *testing.T) {
	fsys := noHoles{vfs.NewMem()}
	d := openDisk(t, crashConfig(fsys, layout.StoreID{}))
	const chunks = 60
	size := func(n int) int { return n * 17_000 }
	for n := range chunks {
		id := chunkstoretest.ID(n)
		if err := chunkstoretest.Write(t.Context(), d, id, []byte("label"), chunkstoretest.Content(id, size(n))); err != nil {
			t.Fatal(err)
		}
	}
	var open []chunkstore.Reader // of chunks that will be moved
	for n := range chunks {
		id := chunkstoretest.ID(n)
		if n%5 != 0 {
			if err := d.Delete(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			continue
		}
		r, err := d.Open(t.Context(), id, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		open = append(open, r)
	}
	d.Settle()
	usage := d.Usage()
	if got, limit := allocated(t, fsys), 3*usage.LiveBytes+2*crashSegment; got > limit {
		t.Errorf("%d bytes are taken, %d are live; at most %d make sense", got, usage.LiveBytes, limit)
	}
	check := func(d *chunkstore.Disk) {
		t.Helper()
		for n := range chunks {
			id := chunkstoretest.ID(n)
			if n%5 != 0 {
				checkAbsent(t, d, id)
				continue
			}
			got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
			if err != nil || !bytes.Equal(got, chunkstoretest.Content(id, size(n))) {
				t.Errorf("moved chunk %d = %d bytes, %v", n, len(got), err)
			}
			if info, err := d.Stat(t.Context(), id); err != nil || string(info.Label) != "label" {
				t.Errorf("Stat of moved chunk %d = %+v, %v", n, info, err)
			}
		}
	}
	check(d)
	buf := make([]byte, layout.BlockSize)
	for n, r := range open {
		if _, err := r.Next(buf); err != nil && size(n*5) > 0 {
			t.Errorf("chunk %d was moved while it is read: %v", n*5, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check(openDisk(t, crashConfig(fsys, layout.StoreID{})))
}

// TestShortSegmentsAreMerged restarts a store again and again.
func TestShortSegmentsAreMerged(t *testing.T) {
	fsys := vfs.NewMem()
	const restarts = 40
	for n := range restarts {
		d := openDisk(t, chunkstore.DiskConfig{FS: fsys, Dir: storeDir})
		d.Settle()
		id := chunkstoretest.ID(n)
		if err := chunkstoretest.Write(t.Context(), d, id, nil, chunkstoretest.Content(id, 100)); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d := openDisk(t, chunkstore.DiskConfig{FS: fsys, Dir: storeDir})
	d.Settle()
	if got := d.Usage(); got.Segments > restarts/2 || got.Chunks != restarts {
		t.Errorf("Usage after %d restarts = %+v", restarts, got)
	}
	for n := range restarts {
		id := chunkstoretest.ID(n)
		checkContent(t, d, id, string(chunkstoretest.Content(id, 100)))
	}
}

// TestEverythingAtOnce writes, reads, lists and deletes while segments come
// and go. A chunk is exact or gone, and gone only if somebody deletes it.
func TestEverythingAtOnce(t *testing.T) {
	for name, drive := range drives {
		t.Run(name, func(t *testing.T) {
			d := openDisk(t, crashConfig(drive(vfs.NewMem()), layout.StoreID{}))
			const workers, each = 6, 10
			var wg sync.WaitGroup
			for worker := range workers {
				wg.Go(func() {
					for i := range each {
						id := chunkstoretest.ID(i*workers + worker)
						content := chunkstoretest.Content(id, (i%7)*90_000+worker)
						if err := chunkstoretest.Write(t.Context(), d, id, nil, content); err != nil {
							t.Errorf("write %s: %v", id, err)
						}
						if i%4 != 0 {
							if err := d.Delete(t.Context(), id); err != nil {
								t.Errorf("delete %s: %v", id, err)
							}
						}
						for back := range i {
							id := chunkstoretest.ID(back*workers + (worker+1)%workers)
							got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
							want := chunkstoretest.Content(id, (back%7)*90_000+(worker+1)%workers)
							if err == nil && !bytes.Equal(got, want) || err != nil && !errors.Is(err, chunkstore.ErrNotFound) {
								t.Errorf("read %s = %d bytes, %v", id, len(got), err)
							}
						}
						if _, err := d.List(t.Context(), layout.ChunkID{}, 20); err != nil {
							t.Errorf("list: %v", err)
						}
					}
				})
			}
			wg.Wait()
			d.Settle()
			for n := range workers * each {
				id := chunkstoretest.ID(n)
				_, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
				if deleted := n/workers%4 != 0; errors.Is(err, chunkstore.ErrNotFound) != deleted || !deleted && err != nil {
					t.Errorf("chunk %d at the end: %v, deleted: %t", n, err, deleted)
				}
			}
		})
	}
}
