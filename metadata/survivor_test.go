package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// survivor takes up the copy of a stopped node.
func (c *cluster) survivor(n *testNode) *Survivor {
	c.t.Helper()
	s, err := OpenSurvivor(Config{Dir: n.dir, Node: n.id, Generation: n.gen, Cluster: c.id, Peers: testPeers{c.net, n.id}, LowSpace: 1 << 20})
	if err != nil {
		c.t.Fatalf("OpenSurvivor: %v", err)
	}
	return s
}

// succeed is a cluster of another ID in which nothing runs yet.
func (c *cluster) succeed() *cluster {
	next := &cluster{t: c.t, dir: c.t.TempDir(), net: newNetwork(), id: layout.NewClusterID(), running: map[layout.NodeID]bool{}}
	c.t.Cleanup(next.close)
	return next
}

// Property: of one copy alone comes a registry with all that was acknowledged
// and reached the copy, the entries behind the rows included, and the copy
// stays what it was.
func TestRecoveredCopyIsACluster(t *testing.T) {
	old := newCluster(t, 3, nil)
	inc := stock(t, old.nodes[0])
	ref := newUpload(t, old.nodes[0], "b", "k")
	n := old.nodes[1]
	for i := range 50 {
		if err := n.CommitPart(t.Context(), ref, testPart(layout.PartNumber(i), MinPartSize, layout.NewAttemptID(inc, n.Now(), uint64(i)))); err != nil {
			t.Fatal(err)
		}
	}
	late := testPart(50, MinPartSize, layout.NewAttemptID(inc, n.Now(), 50))
	for _, n := range old.nodes {
		old.stop(n)
	}
	appendEntry(t, old.config(n), commitOf(ref, late))

	s := old.survivor(n)
	report := s.Report()
	if report.Last <= report.Committed || len(report.Members) != 3 || report.Written.IsZero() {
		t.Errorf("Report = %+v, want three members and an entry that is not known to be committed", report)
	}
	c := old.succeed()
	heir := &testNode{id: n.id, gen: 2, dir: filepath.Join(c.dir, "registry")}
	made, err := s.Recover(Config{Dir: heir.dir, Node: heir.id, Generation: heir.gen, Cluster: c.id}, func(int) {})
	if err != nil || made.Index != report.Last {
		t.Fatalf("Recover = %+v, %v; want all up to entry %d", made, err, report.Last)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := old.survivor(n)
	if !reflect.DeepEqual(again.Report(), report) {
		t.Errorf("the copy has %+v now, had %+v", again.Report(), report)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}

	c.nodes = append(c.nodes, heir)
	c.start(heir)
	joined := c.add()
	if err := heir.AddMember(t.Context(), joined.id, 1); err != nil {
		t.Fatal(err)
	}
	for i, n := range c.nodes {
		page, err := n.Parts(t.Context(), ref, -1, 100)
		if err != nil || len(page.Parts) != 51 || page.Parts[50].ETag != late.ETag {
			t.Errorf("node %d: %d parts, %v", i, len(page.Parts), err)
		}
		if _, err := n.Upload(t.Context(), UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}); !errors.Is(err, ErrUploadNotFound) {
			t.Errorf("node %d: an upload that never was = %v, want ErrUploadNotFound", i, err)
		}
	}
	start, _ := testTopology(1)
	start.Request = layout.NewRequestID()
	if next, err := heir.StartNode(t.Context(), start.StartNode); err != nil || next <= inc+incarnationGap {
		t.Errorf("StartNode = incarnation %d, %v; want one beyond all that were given", next, err)
	}
	c.sameState()
}

// appendEntry has a command in the log of a stopped node, as its leader had
// sent it before it went.
func appendEntry(t *testing.T, cfg Config, cmd command) {
	t.Helper()
	cfg = cfg.withDefaults()
	f, err := openFiles(cfg.disk, cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	log, _, err := f.check(cfg.owner(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := encodeCommand(cmd)
	if err != nil {
		t.Fatal(err)
	}
	entry := raft.Log{Index: log.last.Load() + 1, Term: log.term, Type: raft.LogCommand, Data: encodePack(pack{commands: [][]byte{encoded}})}
	if err := errors.Join(log.StoreLog(&entry), f.close(), cfg.Raft.Close()); err != nil {
		t.Fatal(err)
	}
}

// Property: a copy is not recovered while there is a quorum, or would be one if
// its node ran; a voter whose copy was given up since does not count.
func TestNoRecoveryWhileThereIsAQuorum(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	n := c.nodes[0]
	c.stop(n)
	ask := func() (map[layout.NodeID]error, error) {
		t.Helper()
		s := c.survivor(n)
		silent, err := s.AskOthers(t.Context())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return silent, err
	}
	c.leader()
	if silent, err := ask(); !errors.Is(err, ErrQuorum) || len(silent) != 0 {
		t.Errorf("two of three voters run: AskOthers = %v, %v; want ErrQuorum", silent, err)
	}
	c.stop(c.nodes[1])
	if silent, err := ask(); !errors.Is(err, ErrQuorum) || len(silent) != 1 {
		t.Errorf("one runs besides the survivor: AskOthers = %v, %v; want ErrQuorum", silent, err)
	}
	c.stop(c.nodes[2])
	c.restart(c.nodes[2], 2)
	if silent, err := ask(); err != nil || len(silent) != 2 {
		t.Errorf("one runs that gave its copy up: AskOthers = %v, %v; want two that are silent", silent, err)
	}
}

// A copy with a byte that is not what it was is nothing to go on with, and
// neither is one that never had anything.
func TestADamagedCopyIsNotRecovered(t *testing.T) {
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	stock(t, n)
	empty := c.add()
	c.stop(n)
	c.stop(empty)
	b, err := os.ReadFile(filepath.Join(n.dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	b[16+60] ^= 2 // of a page that says where everything else is
	if err := os.WriteFile(filepath.Join(n.dir, logName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for node, want := range map[*testNode]error{n: ErrDamaged, empty: ErrInvalid} {
		s, err := OpenSurvivor(Config{Dir: node.dir, Node: node.id, Cluster: c.id, LowSpace: 1 << 20})
		if !errors.Is(err, want) {
			t.Errorf("OpenSurvivor = %v, want %v", err, want)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}
