// Package linearizability runs partd processes on machines of their own, does
// to them what machines and networks do, and checks that everything clients
// were answered meanwhile can come from one store that does one thing at a time.
//
// A run is a sequence of rounds. In each, some faults hit the cluster while the
// clients of several histories work; then everything heals, the clients look at
// what they left, and each history is checked. A round is made from the run's
// seed and its own number, and can be repeated alone.
package linearizability

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"partstore/internal/lan"
	"partstore/internal/processes"
	"partstore/internal/qsclient"
)

var (
	histories = flag.Int("histories", 100, "histories that must be checked; 0 for no limit but -for")
	runFor    = flag.Duration("for", 0, "go on with further histories for this long")
	onlyRound = flag.Int("round", -1, "run this round of the seed and no other")
	only      = flag.String("only", "", "no faults but those whose name contains `text`")
	saveDir   = flag.String("save", filepath.Join(os.TempDir(), "partstore-histories"), "`directory` for histories that are not linearizable")
	showAll   = flag.Bool("narrate", false, "print each fault and history as it happens")
)

const (
	nodes    = 6
	bucket   = "linearizability"
	patience = 2 * time.Minute // bounds every wait; no claim about speed
)

// partd is the program under test, built once.
var partd string

// noNetwork is why the nodes cannot have machines of their own.
var noNetwork error

func TestMain(m *testing.M) {
	noNetwork = lan.Isolate()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	sweep()
	dir, err := newDir()
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	partd = filepath.Join(dir, "partd")
	build := exec.Command("go", "build", "-o", partd, "partstore/cmd/partd")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return m.Run()
}

// dirPattern is how a run names its directories: by its process.
const dirPattern = "partstore-linearizability-%d-"

func newDir() (string, error) { return os.MkdirTemp("", fmt.Sprintf(dirPattern+"*", os.Getpid())) }

// sweep removes the directories of runs that were killed. All else of a run
// ends with its process.
func sweep() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "partstore-linearizability-*"))
	if err != nil {
		panic(err) // a bad pattern
	}
	for _, dir := range dirs {
		var pid int
		if n, _ := fmt.Sscanf(filepath.Base(dir), dirPattern, &pid); n == 1 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			os.RemoveAll(dir)
		}
	}
}

// cluster is the processes under test and what this program knows of them.
type cluster struct {
	*processes.Cluster
	network *lan.Network // nil: all share loopback
	http    *http.Client
	dir     string

	ownDisks bool // every registry has one
}

// start starts a cluster with a bucket. Where nodes can have no machines of
// their own, they share loopback.
func start(ctx context.Context, env ...string) (_ *cluster, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := &cluster{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.dir, err = newDir(); err != nil {
		return nil, err
	}
	c.ownDisks = noDisks() == nil
	cfg := processes.Config{Partd: partd, Dir: c.dir, Nodes: nodes, Env: env}
	for i := 1; c.ownDisks && i <= nodes; i++ {
		if err := mountRegistry(cfg.DataDir(i)); err != nil {
			return nil, err
		}
	}
	if noNetwork == nil {
		if c.network, err = lan.New(nodes); err != nil {
			return nil, err
		}
		cfg.Network = c.network
	}
	if c.Cluster, err = processes.Start(ctx, cfg); err != nil {
		return nil, err
	}
	return c, c.client(1).CreateBucket(ctx, bucket)
}

// end closes the cluster. It keeps the logs if the test failed, or fails now
// because a node did not stop well.
func (c *cluster) end(t *testing.T, name string) {
	t.Helper()
	c.http.CloseIdleConnections()
	if err := c.Close(); err != nil {
		t.Errorf("nodes did not stop with status 0: %v", err)
	}
	if t.Failed() {
		c.saveLogs(t, name)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

// close ends the cluster and removes its data.
func (c *cluster) close() (err error) {
	c.http.CloseIdleConnections()
	if c.Cluster != nil {
		err = c.Close()
	}
	if c.network != nil {
		c.network.Close()
	}
	for i := 1; c.ownDisks && c.dir != "" && i <= nodes; i++ {
		err = errors.Join(err, unmountRegistry((processes.Config{Dir: c.dir}).DataDir(i)))
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// emptyDir leaves nothing of a node that does not run.
func (c *cluster) emptyDir(i int) error {
	dir := c.DataDir(i)
	if !c.ownDisks {
		return os.RemoveAll(dir)
	}
	return errors.Join(unmountRegistry(dir), os.RemoveAll(dir), mountRegistry(dir))
}

func (c *cluster) client(i int) *qsclient.Client {
	return &qsclient.Client{Endpoint: c.Endpoint(i), AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, HTTP: c.http}
}

// saveLogs keeps the logs of all nodes for a look, and says where.
func (c *cluster) saveLogs(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(*saveDir, 0o755); err != nil {
		t.Error(err)
		return
	}
	for i := 1; i <= nodes; i++ {
		b, err := os.ReadFile(c.Log(i))
		if err == nil {
			err = os.WriteFile(filepath.Join(*saveDir, fmt.Sprintf("%s-node%d.log", name, i)), b, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("the logs of the nodes are %s/%s-node*.log", *saveDir, name)
}

// leader is the node that leads in the highest term anybody knows of, 0 if none
// is known there.
func (c *cluster) leader(ctx context.Context) (node int, term uint64) {
	type answer struct {
		leader int
		term   uint64
	}
	answers := make(chan answer, nodes)
	for i := 1; i <= nodes; i++ {
		go func() { // the loop below waits for it
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			var a answer
			if admin, err := c.Admin(i); err == nil {
				if s, err := admin.Status(ctx); err == nil {
					a.term = s.Term
					if s.Leader != nil {
						fmt.Sscanf(s.Leader.Name, "node%d", &a.leader)
					}
				}
			}
			answers <- a
		}()
	}
	for range nodes {
		if a := <-answers; a.term > term || a.term == term && node == 0 {
			node, term = a.leader, a.term
		}
	}
	return node, term
}
