// Package testcluster runs real nodes in one process for tests, over a network
// that can be cut, and gives tests clients that talk to them.
package testcluster

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"partstore/internal/embedded"
	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testwait"
	"partstore/node"
	"partstore/node/admin"
)

// Patience bounds every wait of a test; it is no claim about speed.
const Patience = 3 * time.Minute

// Cluster is a running test cluster. It ends with its test.
type Cluster struct {
	*embedded.Cluster
	T     testing.TB
	Nodes int

	network *network
	http    *http.Client
	token   string                           // of the operator API
	started atomic.Pointer[embedded.Cluster] // what owner may look at while nodes are starting
}

// Longer than the defaults: six nodes in one process under the race detector
// on a busy machine pause for longer than six machines do, and a pause must not
// become an election, or an answer of 503.
const (
	electionTimeout = 2 * time.Second
	registryTimeout = time.Minute
)

// Start starts n nodes with the given scheme and waits until they are ready;
// configure may change their configuration. The logs of the nodes go to the
// test's output if PARTSTORE_TEST_LOG is set.
func Start(t testing.TB, n int, scheme layout.Scheme, configure ...func(*node.Config)) *Cluster {
	t.Helper()
	c := &Cluster{T: t, Nodes: n, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	c.network = newNetwork(c.owner)
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("PARTSTORE_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(t.Output(), nil)).With("test", t.Name())
	}
	running, err := embedded.Start(t.Context(), embedded.Config{
		Nodes: n, Scheme: scheme, Dir: t.TempDir(), Logger: logger,
		AccessKeyID: "test-key", SecretAccessKey: "test-secret", ClusterSecret: "secret of the test cluster",
		SealingKeys: "c2VhbGluZyBrZXkgb2YgdGhlIHRlc3QgY2x1c3Rlci4=",
		Configure: func(i int, cfg *node.Config) {
			cfg.DialPeer = c.network.dialer(i)
			cfg.GossipReachable = func(addr string) bool { return c.network.open(i, c.owner(addr)) }
			cfg.DrainTimeout = 5 * time.Second
			cfg.ElectionTimeout, cfg.RegistryTimeout = electionTimeout, registryTimeout
			for _, f := range configure {
				f(cfg)
			}
			if c.started.Load() == nil {
				c.token = cfg.AdminToken
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Cluster = running
	c.started.Store(running)
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		if err := running.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	c.WaitReady()
	return c
}

// owner is the node that listens on a peer or gossip address.
func (c *Cluster) owner(addr string) int {
	running := c.started.Load()
	if running == nil {
		return 0 // nothing is cut yet
	}
	for i := 1; i <= c.Nodes; i++ {
		if a := running.Addrs(i); addr == a.Peer || addr == a.Gossip {
			return i
		}
	}
	return 0
}

// WaitReady waits until every running node is ready and sees the others: a node
// may serve before all have heard that it is there.
func (c *Cluster) WaitReady() {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), Patience)
	defer cancel()
	if err := c.Cluster.WaitReady(ctx); err != nil {
		c.T.Fatalf("%v\n%s", err, c.Describe())
	}
	c.nodes().AwaitEachOther()
}

func (c *Cluster) nodes() testwait.Nodes {
	return testwait.Nodes{
		T: c.T, Count: c.Nodes, Patience: Patience, Status: c.status,
		Running: func(i int) bool { return c.Node(i) != nil },
	}
}

// statusTimeout bounds the question to one node.
const statusTimeout = 10 * time.Second

func (c *Cluster) status(i int) (admin.Status, error) {
	client, err := admin.NewClient("http://"+c.Addrs(i).Admin, c.token)
	if err != nil {
		return admin.Status{}, err
	}
	ctx, cancel := context.WithTimeout(c.T.Context(), statusTimeout)
	defer cancel()
	return client.Status(ctx)
}

// Describe says what every running node thinks of the cluster, for the message
// of a failed test.
func (c *Cluster) Describe() string { return c.nodes().Describe() }

// Client returns a client that talks to node i.
func (c *Cluster) Client(i int) *qsclient.Client {
	return &qsclient.Client{Endpoint: "http://" + c.Addrs(i).Client, AccessKeyID: "test-key", SecretAccessKey: "test-secret", HTTP: c.http}
}

// Isolate cuts node i off from the others; its clients still reach it.
func (c *Cluster) Isolate(i int) { c.network.isolate(i) }

// Heal undoes Isolate.
func (c *Cluster) Heal(i int) { c.network.heal(i) }

// Must fails the test if an operation fails.
func (c *Cluster) Must(err error, what ...string) {
	c.T.Helper()
	if err != nil {
		c.T.Fatalf("%s: %v", strings.Join(what, " "), err)
	}
}

// Eventually polls until ok, or fails the test when patience is at its end.
func (c *Cluster) Eventually(what string, ok func() bool) {
	c.T.Helper()
	c.Await(what, func() error {
		if !ok() {
			return errNotYet
		}
		return nil
	})
}

var errNotYet = errors.New("not yet")

// Await is Eventually with a look that says what is still missing; the last
// word of it is in the message if patience is at its end.
func (c *Cluster) Await(what string, look func() error) {
	c.T.Helper()
	c.nodes().Await(what, look)
}
