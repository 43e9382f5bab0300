package chunkstore_test

import (
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

func TestDiskConforms(t *testing.T) {
	chunkstoretest.Run(t, func(t *testing.T) chunkstore.Store {
		return openDisk(t, chunkstore.DiskConfig{FS: vfs.OS{}, Dir: t.TempDir()})
	})
}

func TestDiskOnMemConforms(t *testing.T) {
	chunkstoretest.Run(t, func(t *testing.T) chunkstore.Store {
		return openDisk(t, chunkstore.DiskConfig{FS: vfs.NewMem(), Dir: "/drive/store"})
	})
	chunkstoretest.RunReplacer(t, func(t *testing.T) chunkstore.Replacer {
		return openDisk(t, chunkstore.DiskConfig{FS: vfs.NewMem(), Dir: "/drive/store"})
	})
}

func TestMemoryConforms(t *testing.T) {
	chunkstoretest.Run(t, func(*testing.T) chunkstore.Store { return chunkstore.NewMemory() })
	chunkstoretest.RunReplacer(t, func(*testing.T) chunkstore.Replacer { return chunkstore.NewMemory() })
}

var testCluster = layout.ClusterID{1, 2, 3}

// openDisk opens a store until the end of the test.
func openDisk(t *testing.T, cfg chunkstore.DiskConfig) *chunkstore.Disk {
	t.Helper()
	cfg.Cluster = testCluster
	d, err := chunkstore.OpenDisk(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
