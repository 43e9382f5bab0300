package linearizability

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"partstore/internal/qsclient"
	"partstore/internal/testrand"
)

var (
	leaderKills = flag.Int("kills", 0, "measure the pause of writes over so many kills of the leader")
	leaderStops = flag.Int("stops", 0, "measure the pause of writes over so many graceful stops of the leader")
	calm        = flag.Duration("calm", 0, "measure how many elections there are in this time without any fault")
	elections   = flag.String("election-timeouts", "400ms", "list of election `timeouts` to measure with -kills, -stops and -calm")
	writers     = flag.Int("writers", 16, "writers meanwhile")
)

// partSize is the size of the parts written while pauses are measured.
const partSize = 64 << 10

// pauses is what writers saw around stops of the leader.
type pauses struct {
	gaps        []time.Duration // longest time without an acknowledged write, by stop
	acked       int
	errs        map[string]int // answers of nodes that were running, by text
	atTheVictim int            // requests that ended with the node they were sent to
}

// watch is writers that note when they were acknowledged.
type watch struct {
	c  *cluster
	mu sync.Mutex

	acks   []time.Time
	down   int // the node that is being stopped, 0 for none
	downs  int // grows with every stop
	result *pauses
}

// write initiates uploads and puts parts, at nodes that are not being stopped.
func (w *watch) write(ctx context.Context, rnd *rand.Rand, name string) {
	body := make([]byte, partSize)
	var id string
	for n := 0; ctx.Err() == nil; n++ {
		w.mu.Lock()
		node, stops := 1+rnd.IntN(nodes), w.downs
		for node == w.down {
			node = 1 + rnd.IntN(nodes)
		}
		w.mu.Unlock()
		var err error
		if id == "" || n%8 == 0 {
			id, err = w.c.client(node).Initiate(ctx, bucket, name)
		} else {
			_, err = w.c.client(node).PutPart(ctx, bucket, name, id, n%1000, bytes.NewReader(body), partSize)
		}
		now := time.Now()
		w.mu.Lock()
		switch {
		case ctx.Err() != nil:
		case err == nil:
			w.acks = append(w.acks, now)
		case w.downs > stops && node == w.down:
			w.result.atTheVictim++
		default:
			w.result.errs[fmt.Sprintf("node%d, node%d down: %v", node, w.down, plain(err))]++
		}
		w.mu.Unlock()
	}
}

// plain is an error without what is different every time.
func plain(err error) error {
	if answer := new(qsclient.Error); errors.As(err, &answer) {
		return fmt.Errorf("status %d %s: %s", answer.Status, answer.Code, answer.Message)
	}
	return err
}

// longest is the longest time between acknowledgements from an instant on.
func (w *watch) longest(from time.Time) (gap time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := from
	for _, at := range w.acks {
		if at.After(from) {
			gap = max(gap, at.Sub(last))
			last = at
		}
	}
	w.result.acked += len(w.acks)
	w.acks = nil
	return gap
}

// measurePauses stops the leader a number of times under load.
func measurePauses(t *testing.T, timeout string, stops int, stop func(c *cluster, i int) error) *pauses {
	t.Helper()
	c, err := start(t.Context(), "PARTSTORE_ELECTION_TIMEOUT="+timeout)
	if err != nil {
		t.Fatal(err)
	}
	defer c.end(t, "pauses")
	w := &watch{c: c, result: &pauses{errs: map[string]int{}}}
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer cancel()
	seed := testrand.Seed(t)
	for i := range *writers {
		writing.Go(func() { w.write(ctx, rand.New(rand.NewPCG(seed, uint64(i))), fmt.Sprintf("writer-%d", i)) })
	}
	for range stops {
		time.Sleep(500 * time.Millisecond) // of ordinary work
		leader, term := c.leader(ctx)
		if leader == 0 {
			t.Fatal("no leader")
		}
		w.mu.Lock()
		w.down, w.downs = leader, w.downs+1
		w.mu.Unlock()
		from := time.Now()
		if err := stop(c, leader); err != nil {
			t.Fatal(err)
		}
		for _, after := c.leader(ctx); after == term; _, after = c.leader(ctx) {
			if time.Since(from) > patience {
				t.Fatal("no election")
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second) // so that the pause is over, or counts in full
		if err := c.Start(leader); err != nil {
			t.Fatal(err)
		}
		ready, cancel := context.WithTimeout(ctx, patience)
		err := c.WaitReady(ready)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		w.result.gaps = append(w.result.gaps, w.longest(from))
		w.mu.Lock()
		w.down = 0
		w.mu.Unlock()
	}
	return w.result
}

func (p *pauses) String() string {
	slices.Sort(p.gaps)
	at := func(q float64) time.Duration {
		return p.gaps[min(len(p.gaps)-1, int(q*float64(len(p.gaps))))].Round(time.Millisecond)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d stops, pause p50 %s, p90 %s, p99 %s, max %s; %d acknowledged writes; requests lost with the node %d",
		len(p.gaps), at(0.5), at(0.9), at(0.99), at(1), p.acked, p.atTheVictim)
	total := 0
	for _, n := range p.errs {
		total += n
	}
	fmt.Fprintf(&b, ", other errors %d", total)
	for text, n := range p.errs {
		fmt.Fprintf(&b, "\n  %d: %s", n, text)
	}
	return b.String()
}

// TestMeasurePauses prints how long no write is acknowledged around the death
// of the leader and around its graceful stop. It asserts no time.
func TestMeasurePauses(t *testing.T) {
	if *leaderKills+*leaderStops == 0 {
		t.Skip("a measurement: -kills, -stops")
	}
	for timeout := range strings.SplitSeq(*elections, ",") {
		if *leaderKills > 0 {
			loudly("election timeout %s, SIGKILL: %s", timeout, measurePauses(t, timeout, *leaderKills, (*cluster).killNow))
		}
		if *leaderStops > 0 {
			loudly("election timeout %s, SIGTERM: %s", timeout, measurePauses(t, timeout, *leaderStops, (*cluster).stopNow))
		}
	}
}

func (c *cluster) killNow(i int) error {
	if err := c.Signal(i, syscall.SIGKILL); err != nil {
		return err
	}
	return c.Kill(i)
}

func (c *cluster) stopNow(i int) error { return c.Stop(i) }

// TestMeasureCalm prints how many elections there are although nothing fails.
func TestMeasureCalm(t *testing.T) {
	if *calm == 0 {
		t.Skip("a measurement: -calm")
	}
	for timeout := range strings.SplitSeq(*elections, ",") {
		c, err := start(t.Context(), "PARTSTORE_ELECTION_TIMEOUT="+timeout)
		if err != nil {
			t.Fatal(err)
		}
		w := &watch{c: c, result: &pauses{errs: map[string]int{}}}
		ctx, cancel := context.WithTimeout(t.Context(), *calm)
		_, before := c.leader(ctx)
		from := time.Now()
		var writing sync.WaitGroup
		for i := range *writers {
			writing.Go(func() { w.write(ctx, rand.New(rand.NewPCG(1, uint64(i))), "writer-"+strconv.Itoa(i)) })
		}
		writing.Wait()
		cancel()
		_, after := c.leader(t.Context())
		gap := w.longest(from)
		loudly("election timeout %s, %s of %d writers: %d elections; %d acknowledged writes, longest pause %s; errors %v",
			timeout, *calm, *writers, after-before, w.result.acked, gap.Round(time.Millisecond), w.result.errs)
		c.end(t, "calm")
	}
}
