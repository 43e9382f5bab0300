package metadata

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// A backup of a cluster becomes a registry that works: everything in it is
// there on every node that joins, incarnations given since the backup are not
// given again, and what it never had is not found.
func TestRestoredBackupIsACluster(t *testing.T) {
	old := newCluster(t, 3, nil)
	inc := stock(t, old.nodes[0])
	ref := newUpload(t, old.nodes[0], "b", "k")
	for i := range 50 {
		p := testPart(layout.PartNumber(i), MinPartSize, layout.NewAttemptID(inc, old.nodes[0].Now(), uint64(i)))
		if err := old.nodes[i%3].CommitPart(t.Context(), ref, p); err != nil {
			t.Fatal(err)
		}
	}
	var backup bytes.Buffer
	if err := old.follower().Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	late := newUpload(t, old.nodes[0], "b", "after the backup")
	start, _ := testTopology(1)
	start.Request = layout.NewRequestID()
	lost, err := old.nodes[0].StartNode(t.Context(), start.StartNode)
	if err != nil {
		t.Fatal(err)
	}

	c := &cluster{t: t, dir: t.TempDir(), net: newNetwork(), id: layout.NewClusterID(), running: map[layout.NodeID]bool{}}
	t.Cleanup(c.close)
	n := &testNode{id: layout.NewNodeID()}
	n.dir = filepath.Join(c.dir, n.id.String())
	report, err := RestoreBackup(bytes.NewReader(backup.Bytes()), Config{Dir: n.dir, Node: n.id, Cluster: c.id}, func(int) {})
	if err != nil || report.Rows.Parts != 50 {
		t.Fatalf("RestoreBackup = %+v, %v", report, err)
	}
	c.nodes = append(c.nodes, n)
	c.start(n)
	for range 2 {
		joined := c.add()
		if err := n.AddMember(t.Context(), joined.id, 1); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range c.nodes {
		page, err := n.Parts(t.Context(), ref, -1, 100)
		if err != nil || len(page.Parts) != 50 {
			t.Errorf("node %d: %d parts, %v", i, len(page.Parts), err)
		}
		if _, err := n.Upload(t.Context(), late); !errors.Is(err, ErrUploadNotFound) {
			t.Errorf("node %d: an upload made after the backup = %v, want ErrUploadNotFound", i, err)
		}
	}
	start.Request = layout.NewRequestID()
	if inc, err = n.StartNode(t.Context(), start.StartNode); err != nil || inc <= lost {
		t.Errorf("StartNode = incarnation %d, %v; %d was given before", inc, err, lost)
	}
	if err := c.nodes[1].CommitPart(t.Context(), ref, testPart(60, 1, layout.NewAttemptID(inc, n.Now(), 1))); err != nil {
		t.Errorf("CommitPart: %v", err)
	}
	c.sameState()
	c.stop(n)
	c.start(n)
	c.sameState()
}

// What is no backup leaves nothing, and nothing that is there is overwritten.
func TestRestoreRefusesWhatIsNoBackup(t *testing.T) {
	r := testrand.New(t)
	whole := backupOf(t, newVariedBench(t))
	cfg := Config{Node: testNodeID(1), Cluster: layout.ClusterID{6}}
	restore := func(b []byte, cfg Config) error {
		_, err := RestoreBackup(bytes.NewReader(b), cfg, func(int) {})
		return err
	}
	for range 20 {
		cfg.Dir = filepath.Join(t.TempDir(), "registry")
		bad := bytes.Clone(whole)
		bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		if err := restore(bad, cfg); !errors.Is(err, ErrDamaged) {
			t.Fatalf("RestoreBackup of a damaged one = %v, want ErrDamaged", err)
		}
		if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("a damaged backup left %s: %v", cfg.Dir, err)
		}
	}
	cfg.Dir = filepath.Join(t.TempDir(), "registry")
	same := cfg
	same.Cluster = testBackupInfo.Cluster
	if err := restore(whole, same); !errors.Is(err, ErrInvalid) {
		t.Errorf("RestoreBackup under the old cluster ID = %v, want ErrInvalid", err)
	}
	if err := restore(whole, cfg); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := restore(whole, cfg); !errors.Is(err, ErrInvalid) {
		t.Errorf("RestoreBackup over a registry = %v, want ErrInvalid", err)
	}
	after, err := os.ReadDir(cfg.Dir)
	if err != nil || !slices.EqualFunc(before, after, func(a, b os.DirEntry) bool { return a.Name() == b.Name() }) {
		t.Errorf("it left %v of %v, %v", after, before, err)
	}
}

// A directory of the old history does not open in the new one.
func TestOldDirectoryIsRefusedInTheNewHistory(t *testing.T) {
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	stock(t, n)
	c.stop(n)
	c.id = layout.NewClusterID()
	if err := c.tryStart(n); err == nil {
		t.Error("a registry of another cluster opened")
		c.stop(n)
	}
}
