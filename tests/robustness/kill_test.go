// Package robustness tests real processes under what a machine does to them:
// SIGKILL at any moment, SIGSTOP for a while.
package robustness

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"partstore/internal/processes"
	"partstore/internal/qsclient"
	"partstore/internal/testrand"
)

const (
	bucket   = "robustness"
	patience = 2 * time.Minute // bounds every wait; no claim about speed

	// requestPatience is how long a client waits for a node that says nothing
	// before it turns to another.
	requestPatience = 20 * time.Second
)

// The programs under test, built once.
var partd, partctl string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "partstore-robustness-")
	if err != nil {
		panic(err)
	}
	partd, partctl = filepath.Join(dir, "partd"), filepath.Join(dir, "partctl")
	build := exec.Command("go", "build", "-o", dir+"/", "partstore/cmd/partd", "partstore/cmd/partctl")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	status := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(status)
}

// cluster is processes, six or seven, and what clients know of them.
type cluster struct {
	*processes.Cluster
	t    *testing.T
	dir  string // node i lives in node<i> below it
	http *http.Client
}

// start starts six processes with a bucket. Most of a test is waiting for
// drives and elections, so tests run side by side.
func start(t *testing.T) *cluster {
	t.Helper()
	return startNodes(t, 6)
}

// startNodes is start with so many processes, and more in their environment.
func startNodes(t *testing.T, nodes int, env ...string) *cluster {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	running, err := processes.Start(ctx, processes.Config{Partd: partd, Dir: dir, Nodes: nodes, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Cluster: running, t: t, dir: dir, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		if err := running.Close(); err != nil {
			t.Errorf("nodes did not stop with status 0: %v", err)
		}
		if t.Failed() {
			c.showLogs(dir)
		}
	})
	c.ready()
	err = c.insist(func() error { return c.client(1).CreateBucket(t.Context(), bucket) })
	if qsclient.StatusOf(err) != http.StatusConflict { // 503 leaves open whether it was made
		c.must(err)
	}
	return c
}

// insist does what a client does that is answered 503: it comes back. That is
// the answer of a node that cannot know, as during an election of a busy machine.
func (c *cluster) insist(op func() error) (err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = op(); qsclient.StatusOf(err) != http.StatusServiceUnavailable {
			return err
		}
	}
	return fmt.Errorf("for %s: %w", patience, err)
}

// showLogs prints the end of every node's log.
func (c *cluster) showLogs(dir string) {
	for i := range c.Nodes() {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("node%d.log", i+1)))
		if err == nil {
			c.t.Logf("node%d:\n%s", i+1, b[max(0, len(b)-4000):])
		}
	}
}

func (c *cluster) client(i int) *qsclient.Client {
	return &qsclient.Client{Endpoint: c.Endpoint(i), AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, HTTP: c.http}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// ready waits until every running node is ready and sees the others: a node may
// serve before all have heard that it is there.
func (c *cluster) ready() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	c.must(c.WaitReady(ctx))
	c.nodes().AwaitEachOther()
}

// progress waits until a count has grown by n. However slow the machine, the
// count may not stand still for longer than patience.
func (c *cluster) progress(n int, count func() int) {
	c.t.Helper()
	last := count()
	for target, grew := last+n, time.Now(); last < target; time.Sleep(5 * time.Millisecond) {
		if now := count(); now > last {
			last, grew = now, time.Now()
		} else if time.Since(grew) > patience {
			c.t.Fatalf("no progress within %s after %d; %d were awaited\n%s", patience, last, target, c.nodes().Describe())
		}
	}
}

// uploader sends the parts of one upload, one after the other through random
// nodes, and remembers which were acknowledged.
type uploader struct {
	key, id string
	seed    uint64
	acked   map[int]int // size by part number
}

func (u *uploader) body(number, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(u.seed), byte(u.seed >> 8), byte(number), byte(number >> 8)}).Read(b) // never fails
	return b
}

func (u *uploader) run(ctx context.Context, c *cluster, rnd *rand.Rand, acked *atomic.Int64) {
	for number := 0; ctx.Err() == nil; number++ {
		size := 1 + rnd.IntN(400_000)
		body := u.body(number, size)
		bounded, cancel := context.WithTimeout(ctx, requestPatience)
		etag, err := c.client(1+rnd.IntN(c.Nodes())).PutPart(bounded, bucket, u.key, u.id, number, bytes.NewReader(body), int64(size))
		cancel()
		switch {
		case err == nil:
			if sum := md5.Sum(body); etag != hex.EncodeToString(sum[:]) {
				c.t.Errorf("%s part %d: ETag %s is not the body's MD5", u.key, number, etag)
			}
			u.acked[number] = size
			acked.Add(1)
		case qsclient.StatusOf(err) == http.StatusNotFound:
			c.t.Errorf("%s part %d: known upload answered 404: %v", u.key, number, err)
			return
		}
	}
}

// check lists the parts, and reads back every acknowledged one.
func (u *uploader) check(ctx context.Context, c *cluster, node int) {
	listed := make(map[int]qsclient.Part)
	for after := -1; ; {
		var page qsclient.PartPage
		c.must(c.insist(func() (err error) {
			page, err = c.client(node).ListParts(ctx, bucket, u.key, u.id, after, 1000)
			return err
		}))
		for _, p := range page.Parts {
			listed[p.Number], after = p, p.Number
		}
		if len(page.Parts) < 1000 {
			break
		}
	}
	last := -1
	for number, size := range u.acked {
		want := md5.Sum(u.body(number, size))
		if p, ok := listed[number]; !ok || p.Size != int64(size) || p.ETag != hex.EncodeToString(want[:]) {
			c.t.Errorf("%s: acknowledged part %d (%d bytes) is listed as %+v", u.key, number, size, p)
		}
		last = max(last, number)
	}
	if last < 0 {
		return
	}
	// Small parts can only be read as the last one of an object.
	c.must(c.insist(func() error {
		return c.client(node).Complete(ctx, bucket, u.key, u.id, []qsclient.Part{{Number: last}})
	}))
	got, err := c.read(ctx, node%c.Nodes()+1, u.key)
	if err != nil || !bytes.Equal(got, u.body(last, u.acked[last])) {
		c.t.Errorf("%s: part %d reads as %d bytes: %v", u.key, last, len(got), err)
	}
}

// read reads an object whole.
func (c *cluster) read(ctx context.Context, node int, key string) ([]byte, error) {
	var r io.ReadCloser
	err := c.insist(func() (err error) {
		r, err = c.client(node).GetObject(ctx, bucket, key, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// underUploads runs 64 parallel uploads while f does its worst, then checks
// every acknowledged part.
func underUploads(t *testing.T, c *cluster, rnd *rand.Rand, f func(progress func())) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var acked atomic.Int64
	var wg sync.WaitGroup
	uploaders := make([]*uploader, 64)
	for i := range uploaders {
		u := &uploader{key: fmt.Sprintf("key-%d", i), seed: rnd.Uint64(), acked: make(map[int]int)}
		var err error
		c.must(c.insist(func() error {
			u.id, err = c.client(1+i%c.Nodes()).Initiate(ctx, bucket, u.key)
			return err
		}))
		uploaders[i] = u
		own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		wg.Go(func() { u.run(ctx, c, own, &acked) })
	}
	f(func() {
		t.Helper()
		c.progress(100, func() int { return int(acked.Load()) })
	})
	cancel()
	wg.Wait()
	t.Logf("%d parts acknowledged", acked.Load())
	c.ready()
	for i, u := range uploaders {
		u.check(t.Context(), c, 1+i%c.Nodes())
	}
}

func TestSIGKILLOfOneNodeLosesNothing(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	underUploads(t, c, rnd, func(progress func()) {
		for range 5 {
			progress()
			victim := 1 + rnd.IntN(c.Nodes())
			c.must(c.Kill(victim))
			progress()
			c.must(c.Start(victim))
			c.ready()
		}
	})
}

func TestSIGKILLOfAllNodesLosesNothing(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	underUploads(t, c, rnd, func(progress func()) {
		for range 2 {
			progress()
			var wg sync.WaitGroup
			for i := range c.Nodes() {
				wg.Go(func() {
					if err := c.Kill(i + 1); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for _, i := range rnd.Perm(c.Nodes()) {
				c.must(c.Start(i + 1))
			}
			c.ready()
		}
		progress()
	})
}

func TestAFrozenNodeLosesNothingAndStopsNobody(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	underUploads(t, c, rnd, func(progress func()) {
		for range 3 {
			progress()
			victim := 1 + rnd.IntN(c.Nodes())
			c.must(c.Signal(victim, syscall.SIGSTOP))
			progress()
			c.must(c.Signal(victim, syscall.SIGCONT))
		}
		progress()
	})
}
