package metadata

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// takeDigest has all copies compared now.
func (c *cluster) takeDigest() {
	c.t.Helper()
	if _, err := c.leader().propose(c.t.Context(), &takeDigest{}); err != nil {
		c.t.Fatalf("propose digest: %v", err)
	}
}

// equalDigests waits until all n members have the same digest. A member that
// gets the rows after a mark by a snapshot has no digest for it, so there are
// more marks.
func (c *cluster) equalDigests(n int) (found Digest) {
	c.t.Helper()
	before := c.leader().Status().Digest.Index
	polls := 0
	c.eventually("equal digests", func() bool {
		if polls++; polls%200 == 1 {
			c.takeDigest()
		}
		found = c.leader().Status().Digest
		if len(found.Other) > 0 {
			c.t.Fatalf("digest of the leader: %+v", found)
		}
		return found.Index > before && found.Equal == n
	})
	return found
}

// Equal state gives equal digests: of entries applied one by one or in batches,
// replayed after a restart, or got by a snapshot.
func TestEqualStateHasEqualDigests(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 20, 5, 10*time.Millisecond
	})
	inc := stock(t, c.nodes[0])
	ref := newUpload(t, c.nodes[0], "b", "k")
	write := func(n *testNode, from uint64) {
		for s := from; s < from+40; s++ {
			p := testPart(layout.PartNumber(s), 1, layout.NewAttemptID(inc, n.Now(), s))
			if err := n.CommitPart(t.Context(), ref, p); err != nil {
				t.Fatalf("CommitPart: %v", err)
			}
		}
	}
	write(c.nodes[0], 1)
	first := c.equalDigests(3)
	for i, n := range slices.Clone(c.nodes) {
		c.stop(n)
		write(c.leader(n), uint64(100*(i+1)))
		c.start(n)
	}
	c.join()
	second := c.equalDigests(4)
	if first.Sum == second.Sum {
		t.Error("other rows have the same digest")
	}
}

// tamper changes a row behind the state machine's back.
func tamper(t *testing.T, n *testNode) {
	t.Helper()
	g, ok := n.state.acquire()
	if !ok {
		t.Fatal("state is closed")
	}
	defer n.state.release(g)
	if err := g.db.Set(bucketKey("ghost"), []byte("?"), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
}

func TestAlteredRowsAreFoundAndOnlyThatNodeLeaves(t *testing.T) {
	for _, victim := range []string{"leader", "follower", "non-voter"} {
		t.Run(victim, func(t *testing.T) {
			c := newCluster(t, 3, nil)
			stock(t, c.nodes[0])
			bad := c.leader()
			switch victim {
			case "follower":
				bad = c.follower()
			case "non-voter":
				bad = c.join()
			}
			members := len(c.nodes)
			c.equalDigests(members)
			tamper(t, bad)
			c.takeDigest()
			if err := bad.Run(t.Context()); !errors.Is(err, errDiffers) {
				t.Errorf("Run of the altered node = %v, want errDiffers", err)
			}
			if _, err := bad.Bucket(t.Context(), "ghost"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("look-up on the altered node = %v, want ErrUnavailable", err)
			}
			for i, n := range c.nodes {
				if n == bad {
					continue
				}
				c.eventually("a finding", func() bool {
					d := n.Status().Digest
					return slices.Contains(d.Other, bad.id) && d.Equal == members-1 && d.Asked == members
				})
				if err := n.CreateBucket(t.Context(), Bucket{Name: "after" + n.id.String()}); err != nil {
					t.Errorf("node %d: CreateBucket = %v", i, err)
				}
			}
		})
	}
}

func TestWithoutAMajorityNobodyLeaves(t *testing.T) {
	c := newCluster(t, 1, nil)
	stock(t, c.nodes[0])
	other := c.join()
	c.equalDigests(2)
	tamper(t, other)
	c.takeDigest()
	for i, n := range c.nodes {
		c.eventually("a finding", func() bool { return len(n.Status().Digest.Other) == 1 })
		if _, err := n.Bucket(t.Context(), "b"); err != nil {
			t.Errorf("node %d: look-up = %v", i, err)
		}
		if err := n.failure(); err != nil {
			t.Errorf("node %d left: %v", i, err)
		}
	}
}

func TestTallyWantsAMajorityOfAllMembers(t *testing.T) {
	members := []layout.NodeID{testNodeID(1), testNodeID(2), testNodeID(3), testNodeID(4), testNodeID(5)}
	tests := []struct {
		name  string
		found string // by member; '.' has not answered
		wrong bool
		equal int
		other int
	}{
		{"all equal", "aaaaa", false, 5, 0},
		{"only this one answered", "a....", false, 1, 0},
		{"one other", "aaaab", false, 4, 1},
		{"this one against all", "abbbb", true, 1, 4},
		{"this one against a bare majority", "aabbb", true, 2, 3},
		{"this one against two, two away", "abb..", false, 1, 2},
		{"everybody finds another", "abcde", false, 1, 4},
		{"no majority among the others", "abbcc", false, 1, 4},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			found := map[layout.NodeID][32]byte{}
			for i, c := range tc.found {
				if c != '.' {
					found[members[i]] = [32]byte{byte(c)}
				}
			}
			d, wrong := tally(Digest{Sum: [32]byte{'a'}}, found, members, members[0])
			if wrong != tc.wrong || d.Equal != tc.equal || len(d.Other) != tc.other || d.Asked != 5 {
				t.Errorf("tally = %+v, %t", d, wrong)
			}
		})
	}
}

// A digest is of the rows after exactly its entry, whatever else was in the
// batch, and a replay of the batch changes nothing.
func TestADigestCutsItsBatch(t *testing.T) {
	logs := []*raft.Log{
		logOf(t, 1, &createBucket{Request: testRequest(1), Bucket: Bucket{Name: "one"}}),
		logOf(t, 2, &createBucket{Request: testRequest(2), Bucket: Bucket{Name: "two"}}, &takeDigest{}),
		logOf(t, 3, &createBucket{Request: testRequest(3), Bucket: Bucket{Name: "three"}}),
	}
	want := [32]byte{}
	for _, batches := range [][][]*raft.Log{
		{logs[:1], logs[1:2], logs[2:]},
		{logs},
		{logs[:2], logs[1:]},
		{logs[:1], logs},
	} {
		s, err := openState(realDisk().fs, t.TempDir(), func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		f, err := openFSM(t.Context(), s, layout.ClusterID{}, func(err error) { t.Errorf("failed: %v", err) })
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			f.ApplyBatch(b)
		}
		d, err := f.digests.compute(context.Background())
		if err != nil || d.Index != 2 {
			t.Fatalf("digest %+v, %v; want index 2", d, err)
		}
		if want == ([32]byte{}) {
			want = d.Sum
		}
		if d.Sum != want {
			t.Errorf("%d batches: digest %x, want %x", len(batches), d.Sum, want)
		}
		if f.applied.load() != 3 {
			t.Errorf("%d batches: applied %d, want 3", len(batches), f.applied.load())
		}
		f.digests.stop()
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

func logOf(t *testing.T, index uint64, commands ...command) *raft.Log {
	t.Helper()
	var p pack
	for _, cmd := range commands {
		b, err := encodeCommand(cmd)
		if err != nil {
			t.Fatal(err)
		}
		p.commands = append(p.commands, b)
	}
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: encodePack(p)}
}

// What a digest costs: rows per second of one core at full speed.
func BenchmarkDigest(b *testing.B) {
	const parts = 100_000
	s := newStockedBench(b)
	ref := s.open(1, "key")
	for i := range parts {
		if i%10000 == 0 {
			ref = s.open(uint64(i+2), "key")
		}
		s.must(commitOf(ref, testPart(layout.PartNumber(i%10000), 5<<20, s.attempt(uint64(i)))))
	}
	b.ResetTimer()
	for range b.N {
		if _, err := stateHash(s.db); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)*1e6/parts, "ms/Mrows")
}
