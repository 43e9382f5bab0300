package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/node"
	"partstore/node/admin"
)

// startSpare starts seven nodes, one more than a group has slots, that decide
// soon.
func startSpare(t *testing.T, grace time.Duration) *testcluster.Cluster {
	t.Helper()
	c := testcluster.Start(t, 7, scheme, func(cfg *node.Config) {
		cfg.OutGrace, cfg.HealInterval, cfg.GCGrace = grace, 300*time.Millisecond, 100*time.Millisecond
	})
	c.Must(c.Client(1).CreateBucket(t.Context(), bucket), "create bucket")
	return c
}

// saysOK reports whether the cluster, asked through a node, calls itself whole.
func saysOK(c *testcluster.Cluster, through int) (admin.Status, bool) {
	s, err := adminOf(c, through).Status(c.T.Context())
	return s, err == nil && s.Health == admin.HealthOK
}

// nodeNamed finds what a node knows of another.
func nodeNamed(c *testcluster.Cluster, through, i int) admin.Node {
	c.T.Helper()
	list, err := adminOf(c, through).Nodes(c.T.Context())
	c.Must(err)
	at := slices.IndexFunc(list.Nodes, func(n admin.Node) bool { return n.Name == fmt.Sprint("node", i) })
	return list.Nodes[at]
}

// threeVoters picks three nodes that vote, so that without them the registry
// has no majority, and one that does not.
func threeVoters(c *testcluster.Cluster, rnd *rand.Rand) (voters []int, other int) {
	c.T.Helper()
	for _, i := range rnd.Perm(7) {
		if nodeNamed(c, 1, i+1).Role == admin.RoleNonvoter {
			other = i + 1
		} else {
			voters = append(voters, i+1)
		}
	}
	return voters[:3], other
}

// awaitTwoMayGo waits until the cluster says that these two nodes may stop.
func awaitTwoMayGo(c *testcluster.Cluster, through int, two []int) {
	c.T.Helper()
	ids := []layout.NodeID{nodeNamed(c, through, two[0]).ID, nodeNamed(c, through, two[1]).ID}
	c.Eventually("two more may go", func() bool {
		verdict, err := adminOf(c, through).JudgeStop(c.T.Context(), ids)
		return err == nil && len(verdict.Problems) == 0
	})
}

// awaitExact reads an object once it can be read: after the loss of nodes a
// leader may have to be elected first.
func awaitExact(t *testing.T, c *testcluster.Cluster, rnd *rand.Rand, through int, key string, want []byte) {
	t.Helper()
	c.Eventually(key+" can be read", func() bool {
		_, err := read(t.Context(), c.Client(through), key, "")
		return qsclient.StatusOf(err) != http.StatusServiceUnavailable
	})
	checkExact(t, c, rnd, through, key, want)
}

// chunksOn counts the chunks on the drive of a stopped node.
func chunksOn(c *testcluster.Cluster, i int) (n int) {
	onDisk(c, i, func(disk *chunkstore.Disk) {
		for after := (layout.ChunkID{}); ; {
			page, err := disk.List(c.T.Context(), after, 1000)
			c.Must(err)
			if len(page) == 0 {
				return
			}
			n, after = n+len(page), page[len(page)-1].ID
		}
	})
	return n
}

// A node that is gone for good is missed, its slots go to the others, and they make
// its chunks anew. Health says so only when two more may go.
func TestNodeGoneForGoodIsReplaced(t *testing.T) {
	rnd := testrand.New(t)
	c := startSpare(t, time.Second)
	objects := fill(t, c)
	voters, other := threeVoters(c, rnd)
	lost, more := voters[0], voters[1:]
	c.Must(c.Kill(lost))
	if n := chunksOn(c, lost); n == 0 {
		t.Error("the node that is lost has no chunks")
	}
	c.Eventually("the cluster sees that a node is down", func() bool { _, ok := saysOK(c, other); return !ok })
	var last admin.Status
	c.Eventually("the cluster is whole again", func() bool { s, ok := saysOK(c, other); last = s; return ok })
	for key := range objects { // at this very moment, not some time later
		report, err := adminOf(c, other).InspectObject(t.Context(), bucket, key)
		c.Must(err)
		if report.State != admin.PartWhole {
			t.Errorf("health was ok, and %s is %s", key, report.State)
		}
	}
	if last.Nodes.Retired != 1 || last.Groups.Moving != 0 {
		t.Errorf("status %+v", last)
	}
	for _, i := range more {
		c.Must(c.Kill(i))
	}
	left := others(7, voters...)
	for key, want := range objects {
		awaitExact(t, c, rnd, left[rnd.IntN(len(left))], key, want)
	}
}
