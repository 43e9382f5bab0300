package metadata

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"partstore/internal/layout"
)

// network joins registries in one process: Raft over loopback TCP, peer calls
// as function calls. Any pair can be cut.
type network struct {
	mu    sync.Mutex
	nodes map[layout.NodeID]*testNode
	cut   map[[2]layout.NodeID]cutting
	conns map[net.Conn][2]layout.NodeID
}

// cutting says what does not get through between two nodes.
type cutting int

const (
	cutNothing cutting = iota
	cutRaft            // peer calls still do
	cutAll
)

var errCut = errors.New("connection cut")

func newNetwork() *network {
	return &network{
		nodes: map[layout.NodeID]*testNode{},
		cut:   map[[2]layout.NodeID]cutting{},
		conns: map[net.Conn][2]layout.NodeID{},
	}
}

// isolate changes what gets through between a node and all others.
func (n *network) isolate(node layout.NodeID, cut cutting) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.nodes {
		n.cutPair(node, other, cut)
	}
}

// separate changes what gets through between two nodes.
func (n *network) separate(a, b layout.NodeID, cut cutting) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cutPair(a, b, cut)
}

func (n *network) cutPair(a, b layout.NodeID, cut cutting) {
	pairs := [][2]layout.NodeID{{a, b}, {b, a}}
	for _, pair := range pairs {
		n.cut[pair] = cut
	}
	for c, pair := range n.conns {
		if cut != cutNothing && slices.Contains(pairs, pair) {
			_ = c.Close()
			delete(n.conns, c)
		}
	}
}

// reach finds the other end, unless the cut between the two is at least limit.
func (n *network) reach(from, to layout.NodeID, limit cutting) (*testNode, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	peer := n.nodes[to]
	if peer == nil || n.cut[[2]layout.NodeID{from, to}] >= limit {
		return nil, errCut
	}
	return peer, nil
}

type testPeers struct {
	net  *network
	self layout.NodeID
}

func (p testPeers) call(ctx context.Context, to layout.NodeID, b []byte, h func(*Raft, context.Context, []byte) ([]byte, error)) ([]byte, error) {
	peer, err := p.net.reach(p.self, to, cutAll)
	if err != nil {
		return nil, err
	}
	answer, err := h(peer.Raft, ctx, slices.Clone(b))
	if _, lost := p.net.reach(p.self, to, cutAll); lost != nil {
		return nil, lost
	}
	return answer, err
}

func (p testPeers) Propose(ctx context.Context, to layout.NodeID, b []byte) ([]byte, error) {
	return p.call(ctx, to, b, (*Raft).HandlePropose)
}

func (p testPeers) ReadIndex(ctx context.Context, to layout.NodeID, b []byte) ([]byte, error) {
	return p.call(ctx, to, b, (*Raft).HandleReadIndex)
}

func (p testPeers) Term(ctx context.Context, to layout.NodeID, b []byte) ([]byte, error) {
	return p.call(ctx, to, b, (*Raft).HandleTerm)
}

type testStreams struct {
	net.Listener
	net  *network
	self layout.NodeID
}

func (s *testStreams) Dial(to layout.NodeID, timeout time.Duration) (net.Conn, error) {
	peer, err := s.net.reach(s.self, to, cutRaft)
	if err != nil {
		return nil, err
	}
	c, err := net.DialTimeout("tcp", peer.addr, timeout)
	if err != nil {
		return nil, err
	}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.net.conns[c] = [2]layout.NodeID{s.self, to}
	return c, nil
}

// testNode is one registry and what it takes to start it again.
type testNode struct {
	*Raft
	id   layout.NodeID
	gen  Generation // 0: the first
	dir  string
	addr string
}

type cluster struct {
	t       testing.TB
	dir     string
	net     *network
	id      layout.ClusterID
	nodes   []*testNode
	running map[layout.NodeID]bool
	tune    func(*Config)
	logs    tail
}

// newCluster starts n nodes, the first of which bootstraps all as voters.
func newCluster(t testing.TB, n int, tune func(*Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), net: newNetwork(), id: layout.NewClusterID(), running: map[layout.NodeID]bool{}, tune: tune}
	t.Cleanup(c.close)
	var voters []layout.NodeID
	for range n {
		voters = append(voters, c.add().id)
	}
	if err := c.nodes[0].Bootstrap(voters); err != nil {
		t.Fatalf("Bootstrap: %v", err)
	}
	return c
}

// add starts one more node with an empty directory.
func (c *cluster) add() *testNode {
	c.t.Helper()
	n := &testNode{id: layout.NewNodeID()}
	n.dir = filepath.Join(c.dir, n.id.String())
	c.nodes = append(c.nodes, n)
	c.start(n)
	return n
}

func (c *cluster) start(n *testNode) {
	c.t.Helper()
	if err := c.tryStart(n); err != nil {
		c.t.Fatalf("Open: %v", err)
	}
}

func (c *cluster) tryStart(n *testNode) error {
	c.t.Helper()
	r, err := Open(c.config(n))
	if err != nil {
		return err
	}
	n.Raft = r
	c.net.mu.Lock()
	c.net.nodes[n.id] = n
	c.net.mu.Unlock()
	c.running[n.id] = true
	return nil
}

// config is how a node is opened, listening on an address of its own.
func (c *cluster) config(n *testNode) Config {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	n.addr = l.Addr().String()
	cfg := Config{
		Dir: n.dir, Node: n.id, Generation: n.gen, Cluster: c.id,
		Peers: testPeers{c.net, n.id}, Raft: &testStreams{l, c.net, n.id},
		Timeout:         20 * time.Second,
		MembersInterval: 100 * time.Millisecond,
		LowSpace:        1 << 20,
		Logger:          c.logger(n.id),
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	return cfg
}

// stop ends a node abruptly as far as the others can see.
func (c *cluster) stop(n *testNode) {
	c.t.Helper()
	c.net.mu.Lock()
	delete(c.net.nodes, n.id)
	c.net.mu.Unlock()
	if err := n.Close(); err != nil {
		c.t.Errorf("Close: %v", err)
	}
	c.running[n.id] = false
}

func (c *cluster) close() {
	if c.t.Failed() {
		c.report()
	}
	for _, n := range c.nodes {
		if c.running[n.id] {
			if err := n.Close(); err != nil {
				c.t.Errorf("Close: %v", err)
			}
		}
	}
}

// leader waits for a node that leads, other than the given ones.
func (c *cluster) leader(except ...*testNode) *testNode {
	c.t.Helper()
	var found *testNode
	c.eventually("a leader", func() bool {
		for _, n := range c.nodes {
			if c.running[n.id] && !slices.Contains(except, n) {
				if _, ok := n.leads(); ok {
					found = n
					return true
				}
			}
		}
		return false
	})
	return found
}

// follower returns a running node that is not the leader.
func (c *cluster) follower() *testNode {
	c.t.Helper()
	l := c.leader()
	for _, n := range c.nodes {
		if c.running[n.id] && n != l {
			return n
		}
	}
	c.t.Fatal("no follower")
	return nil
}

func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	poll(c.t, what, ok)
}

// poll waits for a condition that nothing announces, and gives up before the
// time-out of all tests hides what it waited for.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(2 * time.Minute)
	if t, ok := t.(*testing.T); ok {
		if all, set := t.Deadline(); set && all.Add(-15*time.Second).Before(end) {
			end = all.Add(-15 * time.Second)
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// report says what there is to know after a failure.
func (c *cluster) report() {
	for _, n := range c.nodes {
		if c.running[n.id] {
			c.t.Logf("node %s: %+v", n.id, n.Status())
		}
	}
	c.t.Logf("the last log lines:\n%s", c.logs.lines())
}

func (c *cluster) logger(node layout.NodeID) *slog.Logger {
	if os.Getenv("METADATA_TEST_LOG") != "" {
		return testLogger()
	}
	return slog.New(slog.NewTextHandler(&c.logs, &slog.HandlerOptions{Level: slog.LevelDebug})).With("on", node)
}

// tail keeps the newest lines that are written to it.
type tail struct {
	mu  sync.Mutex
	all [][]byte
}

const tailLines = 400

func (l *tail) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all = append(l.all, bytes.Clone(line)); len(l.all) > 2*tailLines {
		l.all = slices.Delete(l.all, 0, tailLines)
	}
	return len(line), nil
}

func (l *tail) lines() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Join(l.all, nil)
}

func testLogger() *slog.Logger {
	if os.Getenv("METADATA_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
