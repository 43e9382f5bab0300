// Package processes runs a cluster of partd processes on loopback, for tests
// and benchmarks that need what one process cannot have: SIGKILL, SIGSTOP, and
// CPU time and memory by node.
package processes

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"partstore/node/admin"
)

// Config says what cluster to run. Partd and Dir are required.
type Config struct {
	Partd string   // the program
	Dir   string   // node i lives in Dir/node<i>, its log in Dir/node<i>.log
	Nodes int      // default 6
	Env   []string // added to every node's environment, such as "PARTSTORE_SCHEME=2+1"

	// Network gives every node a machine of its own. Default: all share this
	// one's loopback addresses.
	Network Network
}

// Network is machines for nodes, counted like them.
type Network interface {
	Addr(i int) string                // IP address of machine i, reachable from here
	Start(i int, cmd *exec.Cmd) error // starts a command there
}

// Cluster is a set of processes. Nodes are counted from 1.
type Cluster struct {
	AccessKeyID, SecretAccessKey string
	ClusterSecret                string
	AdminToken                   string // "" on loopback, where none is needed

	cfg   Config
	env   []string
	guard net.Listener // keeps the ports for this cluster; nil on a network of machines
	nodes []*process
}

// process is one node, running or not. Its addresses never change.
type process struct {
	name, client, peer, gossip, admin string

	mu   sync.Mutex
	cmd  *exec.Cmd // nil while it is not running
	done chan struct{}
	err  error // of the last run, once done is closed
}

// Start starts all nodes, with fresh secrets, and returns when they are ready.
func Start(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 6
	}
	c := &Cluster{cfg: cfg, AccessKeyID: rand.Text(), SecretAccessKey: rand.Text(), ClusterSecret: rand.Text()}
	if cfg.Network != nil {
		c.AdminToken = rand.Text()
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	addrs, err := c.addrs()
	if err != nil {
		return nil, err
	}
	var seeds []string
	for i := range cfg.Nodes {
		a := addrs[4*i:]
		c.nodes = append(c.nodes, &process{name: fmt.Sprintf("node%d", i+1), client: a[0], peer: a[1], gossip: a[2], admin: a[3]})
		seeds = append(seeds, a[2])
	}
	c.env = append(os.Environ(),
		"PARTSTORE_SEEDS="+strings.Join(seeds, ","),
		fmt.Sprintf("PARTSTORE_BOOTSTRAP_EXPECT=%d", cfg.Nodes),
		"PARTSTORE_ACCESS_KEY_ID="+c.AccessKeyID, "PARTSTORE_SECRET_ACCESS_KEY="+c.SecretAccessKey,
		"PARTSTORE_CLUSTER_SECRET="+c.ClusterSecret, "PARTSTORE_ADMIN_TOKEN="+c.AdminToken, "PARTSTORE_LOG_LEVEL=info")
	c.env = append(c.env, cfg.Env...)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for i := 1; i <= cfg.Nodes; i++ {
		if err := c.Start(i); err != nil {
			return nil, err
		}
	}
	return c, c.WaitReady(ctx)
}

// addrs returns four addresses for each node.
func (c *Cluster) addrs() (addrs []string, err error) {
	if c.cfg.Network == nil {
		c.guard, addrs, err = reserve(4 * c.cfg.Nodes)
		return addrs, err
	}
	for i := 1; i <= c.cfg.Nodes; i++ {
		for port := range 4 {
			addrs = append(addrs, net.JoinHostPort(c.cfg.Network.Addr(i), strconv.Itoa(firstPort+port)))
		}
	}
	return addrs, nil
}

// Ports come in blocks, below the range from which the kernel takes ports for
// outgoing connections. Who listens on the first port of a block owns the rest.
const (
	firstPort = 12000
	lastPort  = 20000
	blockSize = 50
)

// reserve returns n loopback addresses that nobody listens on, for as long as
// the guard is open.
func reserve(n int) (guard net.Listener, addrs []string, err error) {
	for block := firstPort; block+blockSize <= lastPort; block += blockSize {
		if guard, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", block)); err != nil {
			continue
		}
		addrs = freeAddrs(block+1, block+blockSize)
		if len(addrs) >= n {
			return guard, addrs[:n], nil
		}
		if err := guard.Close(); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, fmt.Errorf("no block of ports with %d free ones: %w", n, err)
}

// freeAddrs returns the addresses from a port up to another that nobody
// listens on.
func freeAddrs(from, to int) (addrs []string) {
	for port := from; port < to; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if l.Close() == nil {
			addrs = append(addrs, l.Addr().String())
		}
	}
	return addrs
}

// Start starts node i, which must not be running.
func (c *Cluster) Start(i int) error {
	p := c.nodes[i-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s is running", p.name)
	}
	log, err := os.OpenFile(c.Log(i), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(c.cfg.Partd, "serve", "--name", p.name, "--data-dir", c.DataDir(i),
		"--client-listen", p.client, "--peer-listen", p.peer, "--gossip-listen", p.gossip, "--admin-listen", p.admin)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
	start := cmd.Start
	if c.cfg.Network != nil {
		start = func() error { return c.cfg.Network.Start(i, cmd) }
	}
	if err := start(); err != nil {
		return err
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go func(done chan struct{}) { // end waits for it
		defer close(done)
		p.err = cmd.Wait()
	}(p.done)
	return nil
}

// Signal sends a signal to node i.
func (c *Cluster) Signal(i int, sig syscall.Signal) error {
	p := c.nodes[i-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s is not running", p.name)
	}
	return p.cmd.Process.Signal(sig)
}

// Kill ends node i with SIGKILL and waits for its end. One that was sent the
// signal before may have ended already.
func (c *Cluster) Kill(i int) error {
	if err := c.Signal(i, syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var killed *exec.ExitError
	if err := c.Wait(i); !errors.As(err, &killed) {
		return err
	}
	return nil
}

// Stop ends node i with SIGTERM and returns how it exited: nil for status 0.
func (c *Cluster) Stop(i int) error {
	if err := c.Signal(i, syscall.SIGTERM); err != nil {
		return err
	}
	return c.Wait(i)
}

// stopTimeout bounds a graceful end; it is longer than the default drain. What
// takes longer is asked for its goroutines, which go to its log, and killed if
// it does not answer either.
const (
	stopTimeout = 40 * time.Second
	dumpTimeout = 5 * time.Second
)

// Wait waits for the end of node i, which ends by itself or was told to, and
// enforces it after stopTimeout. It returns how the node exited.
func (c *Cluster) Wait(i int) error {
	p := c.nodes[i-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	var late error
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		late = errors.Join(fmt.Errorf("%s did not stop; its log says what it was doing", p.name), p.cmd.Process.Signal(syscall.SIGQUIT))
		kill := time.AfterFunc(dumpTimeout, func() { _ = p.cmd.Process.Kill() }) // it may end now
		<-p.done
		kill.Stop()
	}
	p.cmd = nil
	return errors.Join(late, p.err)
}

// Running reports whether node i has been started and not been stopped.
func (c *Cluster) Running(i int) bool {
	p := c.nodes[i-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// PID is the process ID of node i, 0 if it is not running.
func (c *Cluster) PID(i int) int {
	p := c.nodes[i-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Nodes is the number of nodes, running or not.
func (c *Cluster) Nodes() int { return len(c.nodes) }

// DataDir is the data directory of node i. Empty it only while the node does
// not run.
func (c *Cluster) DataDir(i int) string { return c.cfg.DataDir(i) }

// DataDir is the data directory of node i.
func (c Config) DataDir(i int) string { return filepath.Join(c.Dir, fmt.Sprintf("node%d", i)) }

// Log is the path of the log of node i.
func (c *Cluster) Log(i int) string { return c.DataDir(i) + ".log" }

// Endpoint is the URL of the client API of node i.
func (c *Cluster) Endpoint(i int) string { return "http://" + c.nodes[i-1].client }

// AdminURL is the URL of the operator API of node i.
func (c *Cluster) AdminURL(i int) string { return "http://" + c.nodes[i-1].admin }

// Admin is a client of the operator API of node i.
func (c *Cluster) Admin(i int) (*admin.Client, error) {
	return admin.NewClient(c.AdminURL(i), c.AdminToken)
}

// pollInterval is how often WaitReady asks.
const pollInterval = 20 * time.Millisecond

// WaitReady returns when every running node is ready.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for i := 1; i <= len(c.nodes); i++ {
		if !c.Running(i) {
			continue
		}
		client, err := c.Admin(i)
		if err != nil {
			return err
		}
		for err := client.Ready(ctx); err != nil; err = client.Ready(ctx) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("node %d is not ready: %w", i, err)
			case <-c.nodes[i-1].done:
				return fmt.Errorf("node %d ended: %w; see %s", i, c.Wait(i), c.Log(i))
			case <-time.After(pollInterval):
			}
		}
	}
	return nil
}

// Close ends all running nodes gracefully, at the same time. It leaves Dir, and
// may be called twice.
func (c *Cluster) Close() error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i := range c.nodes {
		if c.Running(i + 1) {
			wg.Go(func() { errs[i] = c.Stop(i + 1) })
		}
	}
	wg.Wait()
	if c.guard != nil {
		errs = append(errs, c.guard.Close())
		c.guard = nil
	}
	return errors.Join(errs...)
}
