// Package embedded runs a whole cluster in one process: real nodes with real
// disks, real Raft and real sockets on loopback, each in its own directory. It
// is behind "partd dev" and behind the tests of the whole.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"partstore/internal/layout"
	"partstore/node"
)

// Config says what cluster to run. Required fields are marked.
type Config struct {
	Nodes  int           // required
	Scheme layout.Scheme // required
	Dir    string        // required; node i lives in Dir/node<i>

	// Secrets of the cluster, as in node.Config. Required.
	AccessKeyID, SecretAccessKey, ClusterSecret string

	// SealingKeys seal the secrets of other access keys; see node.Config.
	SealingKeys string

	// Configure, if set, changes the configuration of node i, counted from 1,
	// before each of its starts.
	Configure func(i int, cfg *node.Config)

	// Logger receives the logs of all nodes. Default: discard.
	Logger *slog.Logger
}

// Cluster is a running cluster. Nodes are counted from 1 and named node1 and
// so on. Methods may be called concurrently, but not for the same node.
type Cluster struct {
	cfg   Config
	ports []ports // of node i+1, the same for its whole life where possible

	mu    sync.Mutex
	nodes []*member // of node i+1; nil while it is stopped
}

// member is one running node.
type member struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the node has ended
	err    error         // of its end

	mu     sync.Mutex
	node   *node.Node // another one after it gave up a damaged registry
	killed bool
}

func (m *member) current() *node.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node
}

// replace takes over a node that was opened again, unless it was killed
// meanwhile.
func (m *member) replace(n *node.Node) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.killed {
		return errors.Join(errKilled, n.Close())
	}
	m.node = n
	return nil
}

func (m *member) kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killed = true
	return m.node.Close()
}

var errKilled = errors.New("node was killed")

// Start starts all nodes and returns when they run; they may still be forming
// their cluster (see WaitReady). A directory used before resumes what is in it.
func Start(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Nodes < 1 || cfg.Dir == "" {
		return nil, errors.New("embedded cluster: Nodes and Dir are required")
	}
	c := &Cluster{cfg: cfg, nodes: make([]*member, cfg.Nodes)}
	if c.ports, err = loadPorts(cfg.Dir, cfg.Nodes); err != nil {
		return nil, err
	}
	for i := 1; i <= cfg.Nodes; i++ {
		if err := c.start(ctx, i); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// Start starts a stopped node again, in its own directory.
func (c *Cluster) Start(i int) error { return c.start(context.Background(), i) }

func (c *Cluster) start(ctx context.Context, i int) error {
	if c.running(i) != nil {
		return fmt.Errorf("node %d is running", i)
	}
	n, err := c.open(ctx, i)
	if err != nil {
		return fmt.Errorf("start node %d: %w", i, err)
	}
	// The node outlives the call that starts it; Stop, Kill and Close end it.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &member{node: n, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		if m.err = node.Serve(run, n, func(ctx context.Context) (*node.Node, error) {
			n, err := c.open(ctx, i)
			if err != nil {
				return nil, err
			}
			return n, m.replace(n)
		}); m.err != nil {
			c.cfg.Logger.Error("node ended", "node", i, "err", m.err)
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i-1] = m
	return nil
}

// portTries bounds how often a node is opened on other ports.
const portTries = 8

// open opens node i on its ports. If somebody took one of them meanwhile, the
// node gets others, for good.
func (c *Cluster) open(ctx context.Context, i int) (*node.Node, error) {
	for try := 1; ; try++ {
		n, err := node.Open(ctx, c.nodeConfig(i))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || try == portTries {
			return n, err
		}
		c.mu.Lock()
		c.ports[i-1], err = freePorts()
		if err == nil {
			err = savePorts(c.cfg.Dir, c.ports)
		}
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

func (c *Cluster) nodeConfig(i int) node.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := fmt.Sprintf("node%d", i)
	p := c.ports[i-1]
	cfg := node.Config{
		DataDir:         filepath.Join(c.cfg.Dir, name),
		Name:            name,
		ClientListen:    loopback(p.Client),
		PeerListen:      loopback(p.Peer),
		GossipListen:    loopback(p.Gossip),
		AdminListen:     loopback(p.Admin),
		BootstrapExpect: c.cfg.Nodes,
		Scheme:          c.cfg.Scheme,
		AccessKeyID:     c.cfg.AccessKeyID,
		SecretAccessKey: c.cfg.SecretAccessKey,
		ClusterSecret:   c.cfg.ClusterSecret,
		SealingKeys:     c.cfg.SealingKeys,
		Logger:          c.cfg.Logger,
	}
	for _, other := range c.ports {
		cfg.Seeds = append(cfg.Seeds, loopback(other.Gossip))
	}
	if c.cfg.Configure != nil {
		c.cfg.Configure(i, &cfg)
	}
	return cfg
}

func (c *Cluster) running(i int) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i-1]
}

// Node returns node i, or nil while it is stopped.
func (c *Cluster) Node(i int) *node.Node {
	if m := c.running(i); m != nil {
		return m.current()
	}
	return nil
}

// Addrs returns the addresses of node i; they stay the same while it is
// stopped, and when it starts again unless somebody else took them.
func (c *Cluster) Addrs(i int) node.Addrs {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.ports[i-1]
	return node.Addrs{Client: loopback(p.Client), Peer: loopback(p.Peer), Gossip: loopback(p.Gossip), Admin: loopback(p.Admin)}
}

// Dir returns the data directory of node i.
func (c *Cluster) Dir(i int) string { return c.nodeConfig(i).DataDir }

// Stop stops node i gracefully and returns when it is down.
func (c *Cluster) Stop(i int) error {
	return c.end(i, func(m *member) error { m.cancel(); return nil })
}

// Kill drops node i at once: connections break, nothing is handed over.
func (c *Cluster) Kill(i int) error {
	return c.end(i, (*member).kill)
}

func (c *Cluster) end(i int, stop func(*member) error) error {
	c.mu.Lock()
	m := c.nodes[i-1]
	c.nodes[i-1] = nil
	c.mu.Unlock()
	if m == nil {
		return fmt.Errorf("node %d is not running", i)
	}
	err := stop(m)
	<-m.done
	m.cancel()
	return err
}

// Ended returns a channel that is closed when the running node i ends, and
// after that the error it ended with.
func (c *Cluster) Ended(i int) (<-chan struct{}, func() error) {
	m := c.running(i)
	return m.done, func() error { <-m.done; return m.err }
}

// readyInterval is how often WaitReady asks.
const readyInterval = 20 * time.Millisecond

// WaitReady returns when every running node is ready to serve.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for i := 1; i <= c.cfg.Nodes; i++ {
		if err := c.waitNode(ctx, i); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nil
}

func (c *Cluster) waitNode(ctx context.Context, i int) error {
	m := c.running(i)
	if m == nil {
		return nil
	}
	for {
		err := m.current().Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", errors.Join(err, ctx.Err()))
		case <-m.done:
			return fmt.Errorf("ended: %w", m.err)
		case <-time.After(readyInterval):
		}
	}
}

// Close stops all nodes gracefully, at the same time. It may be called twice.
func (c *Cluster) Close() error {
	c.mu.Lock()
	members := append([]*member(nil), c.nodes...)
	clear(c.nodes)
	c.mu.Unlock()
	var errs []error
	for _, m := range members {
		if m != nil {
			m.cancel()
		}
	}
	for i, m := range members {
		if m == nil {
			continue
		}
		<-m.done
		if m.err != nil {
			errs = append(errs, fmt.Errorf("node %d: %w", i+1, m.err))
		}
	}
	return errors.Join(errs...)
}
