package chunkstore_test

import (
	"errors"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

func TestOpenDisk(t *testing.T) {
	const identity = storeDir + "/store"
	put := func(t *testing.T, fsys vfs.FS, name string) {
		if err := vfs.MkdirAll(fsys, storeDir+"/segments/00000001"); err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.Create(name, vfs.Buffered); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, fsys vfs.FS, cfg *chunkstore.DiskConfig)
		want   error
	}{
		{"unchanged", func(*testing.T, vfs.FS, *chunkstore.DiskConfig) {}, nil},
		{"wrong ID", func(_ *testing.T, _ vfs.FS, c *chunkstore.DiskConfig) { c.ID = layout.NewStoreID() }, chunkstore.ErrWrongStore},
		{"wrong cluster", func(_ *testing.T, _ vfs.FS, c *chunkstore.DiskConfig) { c.Cluster = layout.NewClusterID() }, chunkstore.ErrWrongStore},
		{"store expected in an empty directory", func(_ *testing.T, _ vfs.FS, c *chunkstore.DiskConfig) {
			c.Dir, c.ID = "/elsewhere", layout.NewStoreID()
		}, chunkstore.ErrWrongStore},
		{"store to be made where there is one", func(_ *testing.T, _ vfs.FS, c *chunkstore.DiskConfig) {
			c.ID, c.Make = layout.NewStoreID(), true
		}, chunkstore.ErrWrongStore},
		{"identity damaged", func(t *testing.T, fsys vfs.FS, _ *chunkstore.DiskConfig) {
			b := readFile(t, fsys, identity)
			b[20] ^= 1
			replaceFile(t, fsys, identity, b)
		}, chunkstore.ErrBadStore},
		{"identity cut short", func(t *testing.T, fsys vfs.FS, _ *chunkstore.DiskConfig) {
			replaceFile(t, fsys, identity, readFile(t, fsys, identity)[:63])
		}, chunkstore.ErrBadStore},
		{"identity extended", func(t *testing.T, fsys vfs.FS, _ *chunkstore.DiskConfig) {
			replaceFile(t, fsys, identity, append(readFile(t, fsys, identity), 0))
		}, chunkstore.ErrBadStore},
		{"chunks without identity", func(t *testing.T, fsys vfs.FS, _ *chunkstore.DiskConfig) {
			put(t, fsys, storeDir+"/segments/00000001/x")
			if err := fsys.Remove(identity); err != nil {
				t.Fatal(err)
			}
		}, chunkstore.ErrBadStore},
		{"directory of something else", func(t *testing.T, fsys vfs.FS, c *chunkstore.DiskConfig) {
			c.Dir = "/"
			put(t, fsys, "/vmlinuz")
		}, chunkstore.ErrBadStore},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := vfs.NewMem()
			d := openMem(t, fsys)
			id := d.ID()
			if id.IsZero() {
				t.Error("a new store has no ID")
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			cfg := chunkstore.DiskConfig{FS: fsys, Dir: storeDir, Cluster: testCluster}
			tc.change(t, fsys, &cfg)
			d, err := chunkstore.OpenDisk(cfg)
			if !errors.Is(err, tc.want) {
				t.Fatalf("OpenDisk = %v, want %v", err, tc.want)
			}
			if err != nil {
				return
			}
			defer d.Close()
			if d.ID() != id {
				t.Errorf("ID = %s, was %s", d.ID(), id)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.ID = id
			openDisk(t, cfg)
		})
	}
}

func TestOpenDiskMakesTheStoreItIsTold(t *testing.T) {
	cfg := chunkstore.DiskConfig{FS: vfs.NewMem(), Dir: storeDir, Cluster: testCluster, ID: layout.NewStoreID(), Make: true}
	for range 2 { // it is there by the second time
		d := openDisk(t, cfg)
		if d.ID() != cfg.ID {
			t.Errorf("store %s, want %s", d.ID(), cfg.ID)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneProcessPerStore(t *testing.T) {
	for name, cfg := range map[string]chunkstore.DiskConfig{
		"os":  {FS: vfs.OS{}, Dir: t.TempDir(), Cluster: testCluster},
		"mem": {FS: vfs.NewMem(), Dir: storeDir, Cluster: testCluster},
	} {
		t.Run(name, func(t *testing.T) {
			first := openDisk(t, cfg)
			if _, err := chunkstore.OpenDisk(cfg); !errors.Is(err, vfs.ErrLocked) {
				t.Errorf("second OpenDisk = %v, want %v", err, vfs.ErrLocked)
			}
			if err := errors.Join(first.Close(), first.Close()); err != nil {
				t.Fatal(err)
			}
			openDisk(t, cfg)
		})
	}
}

func TestOpenDiskRefusesBadConfig(t *testing.T) {
	if _, err := chunkstore.OpenDisk(chunkstore.DiskConfig{ReserveBytes: -1}); err == nil {
		t.Error("OpenDisk of an empty config = nil error")
	}
}
