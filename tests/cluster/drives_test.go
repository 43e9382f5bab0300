package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node"
	"partstore/node/admin"
	"partstore/node/datadir"
)

// driveOf is where a node's second drive is mounted.
func driveOf(dataDir string) string { return dataDir + "-drive" }

// startDrives starts three nodes of two drives each. The directory of the second
// drive is always there, as a mount point is.
func startDrives(t *testing.T) *testcluster.Cluster {
	t.Helper()
	c := testcluster.Start(t, 3, smallScheme, func(cfg *node.Config) {
		cfg.StoreDirs = []string{driveOf(cfg.DataDir)}
		if err := os.MkdirAll(cfg.StoreDirs[0], 0o700); err != nil {
			t.Error(err)
		}
		cfg.OutGrace, cfg.HealInterval, cfg.GCGrace = time.Second, 300*time.Millisecond, 100*time.Millisecond
	})
	c.Must(c.Client(1).CreateBucket(t.Context(), bucket), "create bucket")
	return c
}

// secondStore is what the cluster says of a node's second drive.
func secondStore(c *testcluster.Cluster, i int) (admin.Store, error) {
	n := nodeNamed(c, 1, i)
	at := slices.IndexFunc(n.Stores, func(s admin.Store) bool { return s.Dir == driveOf(c.Dir(i)) && s.Duty != "dead" })
	if at < 0 {
		return admin.Store{}, fmt.Errorf("node %d has no store there: %+v", i, n)
	}
	return n.Stores[at], nil
}

// checkDrives reads every object through every node, and looks whether its chunks
// are on as many nodes as they are.
func checkDrives(t *testing.T, c *testcluster.Cluster, objects map[string][]byte) {
	t.Helper()
	rnd := testrand.New(t)
	for key, want := range objects {
		for i := 1; i <= c.Nodes; i++ {
			checkExact(t, c, rnd, i, key, want)
		}
		report, err := adminOf(c, 1).InspectObject(t.Context(), bucket, key)
		c.Must(err)
		for _, p := range report.Parts {
			on := map[layout.NodeID]bool{}
			for _, chunk := range p.Chunks {
				on[chunk.Node.ID] = true
			}
			if len(on) != p.Scheme.Total() {
				t.Errorf("%s: part %d has %d chunks on %d nodes", key, p.Number, p.Scheme.Total(), len(on))
			}
		}
	}
}

// A drive that is gone costs its own chunks: the node starts with the other one,
// does not take the mount point for a new drive, and makes the chunks anew. A
// drive that is put in its place is filled. Nodes fail as a whole as before.
func TestADriveIsLostAndReplaced(t *testing.T) {
	c := startDrives(t)
	objects := map[string][]byte{}
	for i, sizes := range [][]int{{1}, {64<<10 + 1}, {1 << 20}, {4 << 20, 100_000}} {
		key := fmt.Sprintf("object-%d", i)
		objects[key] = uploadWhole(t, c, others(3), key, uint64(100*i), sizes...)
	}
	checkDrives(t, c, objects)
	lost, err := secondStore(c, 2)
	c.Must(err)
	if lost.Slots == 0 {
		t.Errorf("the second drive holds nothing: %+v", lost)
	}

	changeRepair(c, 1, metadata.RepairPause) // so that it can be seen
	c.Must(c.Stop(2))
	c.Must(os.Rename(driveOf(c.Dir(2)), driveOf(c.Dir(2))+"-away"))
	c.Must(c.Start(2))
	c.WaitReady()
	checkDrives(t, c, objects)
	c.Await("the cluster says which drive is missing", func() error {
		s, err := secondStore(c, 2)
		status, statusErr := adminOf(c, 3).Status(t.Context())
		told := slices.ContainsFunc(status.Reasons, func(r admin.Reason) bool { return r.Code == admin.ReasonStoreDown })
		if err != nil || statusErr != nil || s.ID != lost.ID || s.State != admin.StoreDown || s.Fault == "" || !told {
			return errors.Join(err, statusErr, fmt.Errorf("%+v, %+v", s, status))
		}
		return nil
	})
	if entries, err := os.ReadDir(driveOf(c.Dir(2))); err != nil || len(entries) > 0 {
		t.Errorf("the mount point holds %v (%v)", entries, err)
	}
	changeRepair(c, 1, metadata.RepairResume)
	c.Eventually("the cluster is whole again", func() bool { _, ok := saysOK(c, 3); return ok })
	waitUntilWhole(c, 3, objects)
	checkDrives(t, c, objects)

	s, err := secondStore(c, 2)
	c.Must(err)
	_, err = adminOf(c, 1).DecideStore(t.Context(), admin.StoreDecision{Store: lost.ID, Duty: "dead", Version: s.Version, Reason: "it burnt"})
	c.Must(err)
	c.Await("the node forgets the drive", func() error {
		id, err := datadir.Load(c.Dir(2), "node2")
		if err == nil && len(id.Stores) > 0 {
			err = fmt.Errorf("it knows %+v", id.Stores)
		}
		return err
	})
	c.Must(c.Stop(2))
	c.Must(os.WriteFile(filepath.Join(driveOf(c.Dir(3)), "fenced"), []byte("a sync failed"), 0o600)) // found by the next start
	c.Must(c.Stop(3))
	c.Must(c.Start(2))
	c.Must(c.Start(3))
	c.WaitReady()
	c.Await("the new drive has its share, and the fenced one has none", func() error {
		fresh, err := secondStore(c, 2)
		fenced, fencedErr := secondStore(c, 3)
		if err != nil || fresh.ID == lost.ID || fresh.State != admin.StoreUp || fresh.Slots == 0 || fresh.Arriving > 0 ||
			fencedErr != nil || fenced.State != admin.StoreFenced || fenced.Fault == "" || fenced.Slots > 0 {
			return errors.Join(err, fencedErr, fmt.Errorf("%+v, %+v", fresh, fenced))
		}
		return nil
	})
	c.Eventually("the cluster is whole with them", func() bool { _, ok := saysOK(c, 1); return ok })
	waitUntilWhole(c, 1, objects)
	checkDrives(t, c, objects)
	c.Must(c.Kill(2))
	rnd := testrand.New(t)
	for key, want := range objects {
		awaitExact(t, c, rnd, 3, key, want)
	}
}
