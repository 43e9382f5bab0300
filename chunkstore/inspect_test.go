package chunkstore_test

import (
	"bytes"
	"errors"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// TestInspect looks at a closed store, sound and damaged, and changes nothing.
func TestInspect(t *testing.T) {
	fsys, contents, _ := damagedStore(t)
	deleted := chunkstoretest.ID(2) // from a segment that is sealed
	delete(contents, deleted)
	d := openDisk(t, crashConfig(fsys, layout.StoreID{}))
	if err := errors.Join(d.Delete(t.Context(), deleted), d.Close()); err != nil {
		t.Fatal(err)
	}
	names := segmentFiles(t, fsys)
	inspect := func(name string) (live, dead, bad int, store chunkstore.InspectedStore) {
		t.Helper()
		watched := &vfs.Fault{FS: fsys, Before: func(op vfs.Op) error {
			if op.Mutates() {
				t.Errorf("Inspect did %s %s", op.Kind, op.Name)
			}
			return nil
		}}
		store, err := chunkstore.Inspect(watched, name, true, func(s chunkstore.InspectedSegment) error {
			for _, c := range s.Chunks {
				content, known := contents[c.ID]
				switch {
				case c.Dead && c.ID == deleted:
					dead++
				case errors.Is(c.Err, chunkstore.ErrCorrupt):
					bad++
				case c.Err != nil || !known || c.Size != int64(len(content)) || string(c.Label) != "a label of some bytes":
					t.Errorf("%s: %+v", s.Name, c)
				default:
					live++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return live, dead, bad, store
	}
	live, dead, bad, store := inspect(storeDir)
	if live != len(contents) || dead != 1 || bad != 0 || store.Tombstones != 2 || store.Cluster != testCluster {
		t.Errorf("a sound store: %d live, %d dead, %d bad, %+v", live, dead, bad, store)
	}
	one := 0
	for _, name := range names {
		live, _, _, _ := inspect(name)
		one += live
	}
	if one != live {
		t.Errorf("%d chunks segment by segment, %d in all", one, live)
	}
	for _, name := range names {
		file := readFile(t, fsys, name)
		spoiled := bytes.Clone(file)
		for at := vfs.Align + 10; at < len(file)-vfs.Align; at += vfs.Align {
			spoiled[at] ^= 1
		}
		overwrite(t, fsys, name, spoiled)
	}
	if live, _, bad, _ := inspect(storeDir); bad < 3 || live+bad != len(contents) {
		t.Errorf("a damaged store: %d live, %d bad", live, bad)
	}
	if _, err := chunkstore.Inspect(fsys, "/elsewhere", true, nil); err == nil {
		t.Error("Inspect of no store = nil error")
	}
}
