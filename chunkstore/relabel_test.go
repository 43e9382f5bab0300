package chunkstore_test

import (
	"bytes"
	"errors"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/internal/vfs"
)

// Property: power lost at any step of relabelling leaves a store of the one
// cluster or of the other, with its ID and its chunks; relabelling again ends
// it, and once it has returned the store is of the new cluster for good.
func TestRelabelSurvivesPowerLoss(t *testing.T) {
	next := layout.NewClusterID()
	rng := testrand.New(t)
	for cut, finished := 0, false; !finished; cut++ {
		disk := vfs.NewMem()
		d := openMem(t, disk)
		id, content := chunkstoretest.ID(1), []byte("content")
		if err := errors.Join(chunkstoretest.Write(t.Context(), d, id, nil, content), d.Close()); err != nil {
			t.Fatal(err)
		}
		err := chunkstore.Relabel(cutAfter(disk, cut), storeDir, testCluster, next)
		finished = err == nil
		if !finished && !errors.Is(err, errCut) {
			t.Fatalf("cut %d: Relabel = %v", cut, err)
		}
		for range 8 {
			after := disk.CrashKeeping(rng)
			store, now, err := chunkstore.Identify(after, storeDir)
			if err != nil || store != d.ID() || now != next && (finished || now != testCluster) {
				t.Fatalf("cut %d: store %s of cluster %s, %v; finished: %v", cut, store, now, err, finished)
			}
			if err := chunkstore.Relabel(after, storeDir, testCluster, next); err != nil {
				t.Fatalf("cut %d: Relabel again = %v", cut, err)
			}
			d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{FS: after.Crash(), Dir: storeDir, ID: store, Cluster: next})
			if err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
			if got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1); err != nil || !bytes.Equal(got, content) {
				t.Errorf("cut %d: chunk = %q, %v", cut, got, err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRelabelRefuses(t *testing.T) {
	disk := vfs.NewMem()
	d := openMem(t, disk)
	next := layout.NewClusterID()
	if err := chunkstore.Relabel(disk, storeDir, testCluster, next); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("Relabel of an open store = %v, want ErrLocked", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := chunkstore.Relabel(disk, storeDir, layout.NewClusterID(), next); !errors.Is(err, chunkstore.ErrWrongStore) {
		t.Errorf("Relabel of another cluster's store = %v, want ErrWrongStore", err)
	}
	b := readFile(t, disk, storeDir+"/store")
	b[30] ^= 1
	replaceFile(t, disk, storeDir+"/store", b)
	if err := chunkstore.Relabel(disk, storeDir, testCluster, next); !errors.Is(err, chunkstore.ErrBadStore) {
		t.Errorf("Relabel with a damaged identity = %v, want ErrBadStore", err)
	}
}
