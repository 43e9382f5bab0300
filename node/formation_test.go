package node

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/node/cluster"
	"partstore/node/datadir"
)

// formWorld is a set of nodes that form a cluster over a network that loses
// calls and shows each of them a different set of members.
type formWorld struct {
	rnd   *rand.Rand
	nodes []*formNode
	calm  bool // from now on everything works
}

type formNode struct {
	world *formWorld
	f     *formation
	disk  datadir.Identity
	up    bool
	seen  []cluster.Member
}

var errLost = errors.New("lost")

func newFormWorld(rnd *rand.Rand, n, expect int) *formWorld {
	w := &formWorld{rnd: rnd}
	for range n {
		node := &formNode{world: w, disk: datadir.Identity{Node: layout.NewNodeID()}}
		w.nodes = append(w.nodes, node)
		node.start(expect)
	}
	return w
}

// start makes a node of what is on its disk, as after a crash.
func (n *formNode) start(expect int) {
	n.up = true
	n.f = &formation{
		self: n.disk.Node, expect: expect, gossip: n, id: n.disk, log: slog.New(slog.DiscardHandler),
		save: func(id datadir.Identity) error { n.disk = id; return nil },
		call: n.call,
	}
}

func (n *formNode) Members() []cluster.Member { return n.seen }
func (n *formNode) Changed() <-chan struct{}  { return nil }

func (n *formNode) member() cluster.Member {
	return cluster.Member{ID: n.disk.Node, Cluster: n.disk.Cluster, Formed: n.disk.Formed, Host: n.disk.Node.String()}
}

// call reaches a node by the ID in its address; a request or its answer may be lost.
func (n *formNode) call(_ context.Context, addr string, req formRequest) (formReply, error) {
	w := n.world
	if w.lossy() {
		return formReply{}, errLost
	}
	i := slices.IndexFunc(w.nodes, func(o *formNode) bool { return o.member().PeerAddr() == addr })
	to := w.nodes[i]
	if !to.up {
		return formReply{}, errLost
	}
	var reply formReply
	var err error
	switch {
	case req.Kind == formPromise:
		reply, err = to.f.promise(req)
	case req.Kind == formRelease:
		reply = to.f.released()
	case to.disk.Formed:
		reply = formReply{Accepted: true, Cluster: to.disk.Cluster}
	}
	if w.lossy() {
		return formReply{}, errLost
	}
	return reply, err
}

func (w *formWorld) lossy() bool { return !w.calm && w.rnd.IntN(5) == 0 }

// look shows a node itself and the others, or some of them.
func (n *formNode) look() {
	n.seen = nil
	for _, o := range n.world.nodes {
		if o == n || o.up && !n.world.lossy() {
			n.seen = append(n.seen, o.member())
		}
	}
	slices.SortFunc(n.seen, func(a, b cluster.Member) int { return compareNodes(a.ID, b.ID) })
}

func (w *formWorld) clusters() map[layout.ClusterID]int {
	formed := make(map[layout.ClusterID]int)
	for _, n := range w.nodes {
		if n.disk.Formed {
			formed[n.disk.Cluster]++
		}
	}
	return formed
}

// TestFormationMakesOneCluster runs formations with lost messages, crashes and
// partial sight. At no moment may two clusters exist; when everything works at
// last, all nodes must end up in one.
func TestFormationMakesOneCluster(t *testing.T) {
	rnd := testrand.New(t)
	for run := range 2000 {
		n := 1 + rnd.IntN(9)
		expect := n/2 + 1 + rnd.IntN(n-n/2)
		w := newFormWorld(rnd, n, expect)
		for step := 0; step < 60 || len(w.clusters()) == 0 && step < 2000 || !w.calm; step++ {
			if step > 40 {
				w.calm = true
			}
			node := w.nodes[rnd.IntN(n)]
			switch {
			case !node.up:
				node.start(expect)
			case !w.calm && rnd.IntN(12) == 0:
				node.up = false
				continue
			}
			node.look()
			if err := node.f.step(t.Context(), node.seen); err != nil {
				t.Fatalf("run %d: %v", run, err)
			}
			if formed := w.clusters(); len(formed) > 1 {
				t.Fatalf("run %d: %d nodes expecting %d formed %d clusters", run, n, expect, len(formed))
			}
		}
		for range 10 {
			for _, node := range w.nodes {
				if !node.up {
					node.start(expect)
				}
				node.look()
				if err := node.f.step(t.Context(), node.seen); err != nil {
					t.Fatalf("run %d: %v", run, err)
				}
			}
		}
		if formed := w.clusters(); len(formed) != 1 || formed[w.nodes[0].disk.Cluster] != n {
			t.Fatalf("run %d: %d nodes expecting %d ended in clusters %v", run, n, expect, formed)
		}
	}
}

func TestFormationWaitsForTheExpectedNodes(t *testing.T) {
	w := newFormWorld(testrand.New(t), 6, 6)
	w.calm = true
	w.nodes[3].up = false
	for range 20 {
		for _, n := range w.nodes {
			if n.up {
				n.look()
				if err := n.f.step(t.Context(), n.seen); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if formed := w.clusters(); len(formed) != 0 {
		t.Errorf("5 of 6 expected nodes formed a cluster")
	}
}

func TestWatchForeignRefusesAnotherClustersDirectory(t *testing.T) {
	own, other := layout.NewClusterID(), layout.NewClusterID()
	tests := []struct {
		name string
		seen []cluster.Member
		want error
	}{
		{"one of its own", []cluster.Member{{ID: layout.NewNodeID(), Cluster: own, Formed: true}, {ID: layout.NewNodeID(), Cluster: other, Formed: true}}, nil},
		{"one of its own, and a successor", []cluster.Member{
			{ID: layout.NewNodeID(), Cluster: own, Formed: true},
			{ID: layout.NewNodeID(), Cluster: other, Formed: true, Predecessor: own},
			{ID: layout.NewNodeID(), Cluster: layout.NewClusterID(), Formed: true},
		}, errSucceeded},
		{"only others", []cluster.Member{{ID: layout.NewNodeID(), Cluster: other, Formed: true}}, errForeignCluster},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				self := layout.NewNodeID()
				f := &formation{
					self: self, log: slog.New(slog.DiscardHandler), gossip: &formNode{seen: tc.seen},
					id: datadir.Identity{Node: self, Cluster: own, Formed: true},
				}
				if err := f.watchForeign(t.Context()); !errors.Is(err, tc.want) {
					t.Errorf("watchForeign = %v, want %v", err, tc.want)
				}
			})
		})
	}
}

func TestFirstVotersAreOdd(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 9: 5} {
		if got := len(firstVoters(make([]layout.NodeID, n))); got != want {
			t.Errorf("%d nodes get %d first voters, want %d", n, got, want)
		}
	}
}
