package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partstore/internal/layout"
)

// world is a cluster of registries in a synctest bubble: virtual time, virtual
// network, virtual disks, and everything that can go wrong with them.
type world struct {
	t      *testing.T
	seed   uint64
	pace   time.Duration // how much slower than production everything is
	net    *virtualNet
	id     layout.ClusterID
	calm   weather
	tune   func(*Config) // nil: as usual
	wiping sync.Mutex    // a node is being replaced

	mu       sync.Mutex
	nodes    []*virtualNode
	added    uint64 // nodes, so far
	hits     map[string]int
	begun    time.Time
	ending   sync.WaitGroup // what comes to its end with a process
	striking sync.WaitGroup // faults
	working  sync.WaitGroup // clients
}

// virtualNode is a place for a process with a disk. A process that crashed is
// left to run out, cut off and unheard.
type virtualNode struct {
	id   layout.NodeID
	disk *virtualDisk
	busy sync.Mutex   // something is being done to it
	jump atomic.Int64 // nanoseconds the monotonic clock is ahead

	mu      sync.Mutex
	process *process // nil: down
}

// process is one life of a node.
type process struct {
	*Raft
	node        *virtualNode
	host        *virtualHost
	dead        atomic.Bool // crashed: what it says from now on, nobody hears
	incarnation atomic.Uint32
	sequence    atomic.Uint64
}

func newWorld(t *testing.T, seed uint64, pace time.Duration) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	return &world{
		t: t, seed: seed, pace: pace, net: newVirtualNet(rng), id: layout.NewClusterID(),
		hits: map[string]int{}, begun: time.Now(),
	}
}

func (w *world) hit(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hits[what]++
}

func (w *world) config(n *virtualNode, h *virtualHost) Config {
	begun := time.Now()
	c := Config{
		Dir: "registry", Node: n.id, Cluster: w.id,
		Peers: virtualPeers{w.net, h}, Raft: virtualStreams{w.net, h},
		Timeout:          5 * time.Second * w.pace,
		HeartbeatTimeout: 600 * time.Millisecond * w.pace,
		CommitTimeout:    50 * time.Millisecond * w.pace,
		TickInterval:     10 * time.Second * w.pace,
		MembersInterval:  2 * time.Second * w.pace,
		SnapshotEntries:  200,
		SnapshotInterval: 5 * time.Second * w.pace,
		TrailingEntries:  50,
		Logger:           w.logger(),
		elapsed:          func() time.Duration { return time.Since(begun) + time.Duration(n.jump.Load()) },
		disk:             n.disk.disk(),
	}
	if w.tune != nil {
		w.tune(&c)
	}
	return c
}

func (w *world) logger() *slog.Logger { return testLogger() }

// add makes a node with an empty disk and starts it.
func (w *world) add() *virtualNode {
	w.mu.Lock()
	w.added++
	n := &virtualNode{id: layout.NewNodeID(), disk: newVirtualDisk(rand.New(rand.NewPCG(w.seed, w.added)))}
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	w.start(n)
	return n
}

// start begins a new life of a node that is down.
func (w *world) start(n *virtualNode) {
	h := w.net.host(n.id)
	r, err := Open(w.config(n, h))
	if err != nil {
		w.t.Errorf("seed %d: Open: %v", w.seed, err)
		return
	}
	w.net.opened(h, r)
	p := &process{Raft: r, node: n, host: h}
	n.mu.Lock()
	n.process = p
	n.mu.Unlock()
	w.ending.Go(func() { w.register(p) })
	w.ending.Go(func() {
		if err := r.Run(context.Background()); err != nil && r.failure() != nil && !p.dead.Load() {
			w.t.Errorf("seed %d: node %s went out of service: %v", w.seed, n.id, err)
		}
	})
}

// register takes an incarnation, as a node does when it starts.
func (w *world) register(p *process) {
	for p.ctx.Err() == nil {
		// A request of an earlier life may come late and take ours away.
		s := StartNode{Request: layout.NewRequestID(), Node: p.node.id}
		inc, err := p.StartNode(context.Background(), s)
		if err == nil {
			p.incarnation.Store(uint32(inc))
			return
		}
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrIncarnationStale) {
			w.t.Errorf("seed %d: StartNode: %v", w.seed, err)
		}
		time.Sleep(w.pace * 100 * time.Millisecond)
	}
}

// up returns the node's process, or nil.
func (n *virtualNode) up() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// running returns all processes that are up.
func (w *world) running() (all []*process) {
	w.mu.Lock()
	nodes := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, n := range nodes {
		if p := n.up(); p != nil {
			all = append(all, p)
		}
	}
	return all
}

// stop ends a process in good order.
func (w *world) stop(p *process) {
	p.node.mu.Lock()
	p.node.process = nil
	p.node.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), w.pace*time.Second)
	defer cancel()
	_ = p.TransferLeadership(ctx)
	p.shut(w)
}

func (p *process) shut(w *world) {
	if err := p.Close(); err != nil {
		w.t.Errorf("seed %d: Close: %v", w.seed, err)
	}
	w.net.unplug(p.host, 0)
}

// crash ends a process at this moment or, with in > 0, at that many changes of
// its disk from now, or at the latest after patience. What was not synced is
// gone. It returns once the node is down.
func (w *world) crash(p *process, in int, silent, patience time.Duration) {
	crashed := make(chan struct{})
	die := func() { // the disk calls it at the very moment
		p.dead.Store(true)
		w.net.unplug(p.host, silent)
		close(crashed)
	}
	if in > 0 {
		p.node.disk.crashAfter(in, die)
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-crashed:
			w.hit("crashes in the middle of writing")
		case <-timer.C:
		}
	}
	old := p.node.disk
	old.crashNow(die)
	w.hit("crashes")
	p.node.mu.Lock()
	p.node.process = nil
	left, torn := old.after()
	p.node.disk = left
	p.node.mu.Unlock()
	if torn {
		w.hit("crashes that tear")
	}
	w.ending.Go(func() {
		_ = p.Close() // to end its goroutines; the disk it closes is no more
	})
}

// leaders returns the processes that may act as leader now.
func (w *world) leaders() (all []*process) {
	for _, p := range w.running() {
		if _, ok := p.leads(); ok {
			all = append(all, p)
		}
	}
	return all
}

// within waits for a condition in virtual time.
func (w *world) within(d time.Duration, what string, ok func() bool) bool {
	w.t.Helper()
	end := time.Now().Add(d)
	for !ok() {
		if !time.Now().Before(end) {
			w.t.Errorf("seed %d: no %s within %s of virtual time\n%s", w.seed, what, d, w.describe())
			return false
		}
		time.Sleep(w.pace * 20 * time.Millisecond)
	}
	return true
}

func (w *world) describe() (text string) {
	w.mu.Lock()
	nodes := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, n := range nodes {
		p := n.up()
		if p == nil {
			text += fmt.Sprintf("  %s down\n", n.id)
			continue
		}
		s := p.Status()
		text += fmt.Sprintf("  %s %s term %d commit %d applied %d last %d snapshot %d leader %s failed %v servers", n.id, s.Role, s.Term,
			s.CommitIndex, s.AppliedIndex, s.LastIndex, s.SnapshotIndex, s.Leader, s.Failed)
		for _, server := range s.Servers {
			text += fmt.Sprintf(" %s:%t", server.Node.String()[:4], server.Voter)
		}
		text += "\n"
	}
	return text
}

// close ends everything; the bubble then shows whether any goroutine is left.
func (w *world) close() {
	for _, p := range w.running() {
		p.node.mu.Lock()
		p.node.process = nil
		p.node.mu.Unlock()
		p.shut(w)
	}
	w.ending.Wait()
	w.net.busy.Wait()
}

// form starts n nodes as one cluster with bucket "b" and stores to commit to.
func (w *world) form(n int) {
	var voters []layout.NodeID
	for range n {
		voters = append(voters, w.add().id)
	}
	first := w.running()[0]
	if err := first.Bootstrap(voters[:wantVoters(n)]); err != nil {
		w.t.Fatalf("seed %d: Bootstrap: %v", w.seed, err)
	}
	for _, v := range voters[wantVoters(n):] {
		if err := first.AddMember(w.t.Context(), v, 1); err != nil {
			w.t.Fatalf("seed %d: AddMember: %v", w.seed, err)
		}
	}
	if err := first.CreateBucket(w.t.Context(), Bucket{Name: "b", Owner: "me"}); err != nil {
		w.t.Fatalf("seed %d: CreateBucket: %v", w.seed, err)
	}
	start, groups := testTopology(1)
	if _, err := first.StartNode(w.t.Context(), start.StartNode); err != nil {
		w.t.Fatalf("seed %d: StartNode: %v", w.seed, err)
	}
	if err := first.CreateGroups(w.t.Context(), groups.Scheme, groups.Groups); err != nil {
		w.t.Fatalf("seed %d: CreateGroups: %v", w.seed, err)
	}
}
