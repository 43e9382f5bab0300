package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/node"
)

var crashes = flag.Int("crashes", 2, "crashes of TestCrashesBetweenChunksAndRecord")

// crashPoint holds up the proposals that some nodes send. What it holds up is
// never sent: the nodes are killed by then.
type crashPoint struct {
	mu      sync.Mutex
	victims map[string]int // by the name of a node that is held up: its calls that are
	killed  chan struct{}  // closed to have what is held up fail
}

// hold holds up the proposals of nodes from here on.
func (p *crashPoint) hold(victims []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.victims, p.killed = map[string]int{}, make(chan struct{})
	for _, i := range victims {
		p.victims[fmt.Sprint("node", i)] = 0
	}
}

// fail has what is held up fail, and what comes later until end.
func (p *crashPoint) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed != nil {
		close(p.killed)
		p.killed = nil
	}
}

// end lets proposals pass again.
func (p *crashPoint) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.victims = nil
}

// holding reports whether it holds up something of every victim.
func (p *crashPoint) holding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, held := range p.victims {
		if held == 0 {
			return false
		}
	}
	return true
}

// pass returns when a node may send something, or an error if it never may.
func (p *crashPoint) pass(from string, b []byte) error {
	if !bytes.Contains(b, []byte("propose HTTP/")) {
		return nil
	}
	p.mu.Lock()
	if _, held := p.victims[from]; !held {
		p.mu.Unlock()
		return nil
	}
	p.victims[from]++
	killed := p.killed
	p.mu.Unlock()
	if killed != nil {
		<-killed
	}
	return net.ErrClosed
}

// metric reads a metric of a node.
func metric(c *testcluster.Cluster, i int, name string) (value int, err error) {
	resp, err := http.Get("http://" + c.Addrs(i).Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			f, err := strconv.ParseFloat(text, 64)
			return int(f), err
		}
	}
	return 0, errors.Join(fmt.Errorf("node %d has no metric %s", i, name), lines.Err())
}

// Must hold: whenever a coordinator crashes between the chunks of its parts and
// their records, the chunks stay as long as it could still propose the records,
// go afterwards, and no chunk that a record names goes with them.
func TestCrashesBetweenChunksAndRecord(t *testing.T) {
	const together = 2                             // crashes
	const puts = 20                                // under way with each crash
	narrowest := layout.Scheme{Data: 2, Parity: 2} // of a part that is taken while a store or two are avoided
	rnd := testrand.New(t)
	point := &crashPoint{}
	c := start(t, func(cfg *node.Config) {
		cfg.OrphanInterval = 30 * time.Millisecond
		cfg.HealInterval = 24 * time.Hour // else parts that were taken narrow are widened, and their old chunks freed
		name := cfg.Name
		checkWrites(cfg, func(string) func([]byte) error {
			return func(b []byte) error { return point.pass(name, b) }
		})
	})
	t.Cleanup(point.fail) // else a failed test waits for ever
	const unnamed, freed, passes = "partstore_gc_unnamed_chunks", "partstore_gc_freed_chunks_total", "partstore_gc_orphan_passes_total"
	values := func(name string) (all [7]int) { // of nodes 1 to 6
		for i := 1; i <= 6; i++ {
			n, err := metric(c, i, name)
			c.Must(err)
			all[i] = n
		}
		return all
	}
	// sweep waits until every node has made a whole pass that begins after now.
	sweep := func() {
		before := values(passes)
		c.Await("two more passes on every node", func() error {
			for i, n := range values(passes) {
				if i > 0 && n < before[i]+2 {
					return fmt.Errorf("node %d: %d, before %d", i, n, before[i])
				}
			}
			return nil
		})
	}
	kept := map[string][]byte{}
	frees := 0
	for crash := 0; crash < *crashes; crash += together {
		victims := others(6, leader(c))
		rnd.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		victims = victims[:together]
		key, body := fmt.Sprint("kept-", crash), payload(rnd.Uint64(), 65<<10+rnd.IntN(30<<10))
		c.Must(c.Client(victims[0]).PutObject(t.Context(), bucket, key, bytes.NewReader(body), int64(len(body))), key)
		kept[key] = body

		before := values(freed)
		point.hold(victims)
		returned := make(chan error, together*puts)
		lost := make([]string, together*puts)
		for i := range lost {
			lost[i] = fmt.Sprintf("lost-%d-%d", crash, i)
			body := payload(rnd.Uint64(), 65<<10+rnd.IntN(30<<10))
			go func() {
				returned <- c.Client(victims[i%together]).PutObject(t.Context(), bucket, lost[i], bytes.NewReader(body), int64(len(body)))
			}()
		}
		c.Await("the parts have their chunks and wait for their records", func() error {
			seen := 0
			for _, n := range values(unnamed) {
				seen += n
			}
			if now := values(freed); now != before {
				t.Fatalf("crash %d: chunks were freed whose coordinator was alive: %v, before %v", crash, now, before)
			}
			if len(returned) > 0 {
				t.Fatalf("crash %d: a part was answered without a record: %v", crash, <-returned)
			}
			if seen < len(lost)*narrowest.WriteQuorum() || !point.holding() {
				return fmt.Errorf("%d chunks without a record, every coordinator is at the crash point: %t", seen, point.holding())
			}
			return nil
		})
		sweep()
		if now := values(freed); now != before {
			t.Errorf("crash %d: chunks were freed whose coordinator was alive: %v, before %v", crash, now, before)
		}
		point.fail()
		for _, i := range victims {
			c.Must(c.Kill(i), "kill")
		}
		point.end()
		for range lost {
			if err := <-returned; err == nil {
				t.Fatalf("crash %d: a part was acknowledged without a record", crash)
			}
		}
		for _, i := range victims {
			c.Must(c.Start(i))
			before[i] = 0 // it counts anew
		}
		c.WaitReady()
		sweep()
		if left := values(unnamed); left != [7]int{} {
			t.Errorf("crash %d: chunks are left that no record names: %v", crash, left)
		}
		for i, n := range values(freed) {
			frees += n - before[i]
		}
		for _, key := range lost {
			_, err := read(t.Context(), c.Client(1+rnd.IntN(6)), key, "")
			if refused := (*qsclient.Error)(nil); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
				t.Fatalf("crash %d: %s, which was never recorded: %v", crash, key, err)
			}
		}
		checkExact(t, c, rnd, 1+rnd.IntN(6), key, body)
		if done := crash + together; done%50 == 0 {
			t.Logf("%d crashes, %d chunks freed", done, frees)
		}
	}
	t.Logf("%d crashes, %d chunks freed", *crashes, frees)
	if least := *crashes * puts * narrowest.WriteQuorum(); frees < least {
		t.Errorf("%d chunks were freed, fewer than %d", frees, least)
	}
	named := 0
	for key, body := range kept {
		checkExact(t, c, rnd, 1+rnd.IntN(6), key, body)
		for range chunksOf(c, 1, key) {
			named++
		}
	}
	if left := len(stored(c)); left != named {
		t.Errorf("%d chunks are left, and the records name %d", left, named)
	}
}
