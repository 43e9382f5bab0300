package robustness

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"partstore/internal/qsclient"
)

// What one node may cost the clients of the others. The figures these tests
// print are compared with docs/benchmarks.md by people; the tests themselves
// only assert that all goes on and that every byte is right.

func TestGapWhenANodeIsKilled(t *testing.T) {
	c := start(t)
	c.measureGap(func(victim int) func() {
		c.must(c.Kill(victim))
		return func() { c.must(c.Start(victim)) }
	})
}

func TestGapWhenANodeFreezes(t *testing.T) {
	c := start(t)
	c.measureGap(func(victim int) func() {
		c.must(c.Signal(victim, syscall.SIGSTOP))
		return func() { c.must(c.Signal(victim, syscall.SIGCONT)) }
	})
}

// TestGapWhenADriveIsSlow makes every sync of a node take two seconds longer.
func TestGapWhenADriveIsSlow(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not there; slow syncs are not tested")
	}
	c := start(t)
	c.measureGap(func(victim int) func() {
		cmd := exec.Command(strace, "-f", "-q", "-p", strconv.Itoa(c.PID(victim)), "-o", "/dev/null",
			"-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_enter=2000000")
		var said bytes.Buffer
		cmd.Stderr = &said
		c.must(cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			t.Skipf("strace may not attach: %v: %s", err, said.String())
		case <-time.After(500 * time.Millisecond): // if it is not attached by now it will be soon
		}
		return func() {
			if err := cmd.Process.Signal(syscall.SIGINT); errors.Is(err, os.ErrProcessDone) {
				t.Skipf("strace did not stay attached: %v: %s", <-ended, said.String())
			} else {
				c.must(err)
			}
			<-ended // it has let go of the node
		}
	})
}

// operation is one request that a client made.
type operation struct {
	ended time.Time
	took  time.Duration
	err   error
}

// gauge collects the operations of all clients.
type gauge struct {
	mu   sync.Mutex
	done []operation
}

func (g *gauge) add(began time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.done = append(g.done, operation{now, now.Sub(began), err})
}

func (g *gauge) successes() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, op := range g.done {
		if op.err == nil {
			n++
		}
	}
	return n
}

// since says how it went from a moment to another.
func (g *gauge) since(from, to time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	last, gap, failed := from, time.Duration(0), 0
	var took []time.Duration
	for _, op := range g.done {
		if op.ended.Before(from) || op.ended.After(to) {
			continue
		}
		if op.err != nil {
			failed++
			continue
		}
		gap, last = max(gap, op.ended.Sub(last)), op.ended
		took = append(took, op.took)
	}
	if len(took) == 0 {
		return "nothing succeeded"
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d done, %d failed, longest gap %s, p50 %s, p99 %s", len(took), failed, gap.Round(time.Millisecond), at(0.5), at(0.99))
}

const (
	gapPart    = 1 << 20
	gapObject  = 1 << 20
	gapClients = 4 // of each kind
	gapSamples = 60
)

// measureGap writes parts and reads an object through all nodes but one, breaks
// that one, which does not lead, and mends it again.
func (c *cluster) measureGap(breakIt func(victim int) (mend func())) {
	c.t.Helper()
	victim := c.follower()
	object, part := (&uploader{seed: 1}).body(0, gapObject), (&uploader{seed: 2}).body(0, gapPart)
	c.must(c.insist(func() error {
		return c.client(1).PutObject(c.t.Context(), bucket, "object", bytes.NewReader(object), gapObject)
	}))
	ctx, stop := context.WithCancel(c.t.Context())
	var writes, reads gauge
	var wg sync.WaitGroup
	for i := range gapClients {
		client := c.client((victim+i)%c.Nodes() + 1)
		wg.Go(func() { c.writeOn(ctx, client, fmt.Sprintf("written-%d", i), part, &writes) })
		wg.Go(func() { c.readOn(ctx, client, object, &reads) })
	}
	defer wg.Wait()
	defer stop()
	began := time.Now()
	c.samples(&writes, &reads)
	broke := time.Now()
	mend := breakIt(victim)
	c.samples(&writes, &reads)
	mended := time.Now()
	mend()
	c.samples(&writes, &reads)
	for name, g := range map[string]*gauge{"writes": &writes, "reads": &reads} {
		c.t.Logf("%s, healthy: %s", name, g.since(began, broke))
		c.t.Logf("%s, node %d broken: %s", name, victim, g.since(broke, mended))
	}
}

// samples waits until enough has been written and read from now on.
func (c *cluster) samples(gauges ...*gauge) {
	c.t.Helper()
	for _, g := range gauges {
		c.progress(gapSamples, g.successes)
	}
}

// follower is a node that does not lead the registry.
func (c *cluster) follower() int {
	c.t.Helper()
	status, err := c.status(1)
	c.must(err)
	for i := c.Nodes(); i > 1; i-- {
		if status.Leader == nil || status.Leader.Name != "node"+strconv.Itoa(i) {
			return i
		}
	}
	return 1
}

// writeOn writes the same bytes as parts of one upload and checks their ETags.
func (c *cluster) writeOn(ctx context.Context, client *qsclient.Client, key string, body []byte, g *gauge) {
	var id string
	err := c.insist(func() (err error) { id, err = client.Initiate(ctx, bucket, key); return err })
	if err != nil {
		c.t.Errorf("initiate: %v", err)
		return
	}
	sum := md5.Sum(body)
	for number := 0; ctx.Err() == nil; number = (number + 1) % 1000 {
		began := time.Now()
		etag, err := client.PutPart(ctx, bucket, key, id, number, bytes.NewReader(body), int64(len(body)))
		if ctx.Err() != nil {
			return
		}
		c.judge(err)
		if err == nil && etag != hex.EncodeToString(sum[:]) {
			c.t.Errorf("part %d: ETag %s is not the body's MD5", number, etag)
		}
		g.add(began, err)
	}
}

// readOn reads the object over and over.
func (c *cluster) readOn(ctx context.Context, client *qsclient.Client, want []byte, g *gauge) {
	for ctx.Err() == nil {
		began := time.Now()
		var got []byte
		r, err := client.GetObject(ctx, bucket, "object", "")
		if err == nil {
			got, err = io.ReadAll(r)
			err = errors.Join(err, r.Close())
		}
		if ctx.Err() != nil {
			return
		}
		c.judge(err)
		if err == nil && !bytes.Equal(got, want) {
			c.t.Errorf("the object reads as %d bytes, which differ", len(got))
		}
		g.add(began, err)
	}
}

// judge lets nothing pass but success and a clear "not now".
func (c *cluster) judge(err error) {
	if err != nil && qsclient.StatusOf(err) != http.StatusServiceUnavailable {
		c.t.Errorf("request failed: %v", err)
	}
}
