package cluster

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/node"
)

// leader is the node that leads now.
func leader(c *testcluster.Cluster) (found int) {
	c.T.Helper()
	c.Eventually("a leader is known", func() bool {
		for i := 1; i <= c.Nodes; i++ {
			if n := c.Node(i); n != nil && n.Leading() {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// lookups asks all nodes for one known and several unknown uploads until
// stopped, and reports every answer that contradicts the truth.
type lookups struct {
	c         *testcluster.Cluster
	known     string
	unknown   []string
	down      [7]atomic.Bool // nodes whose silence is expected
	asked     atomic.Int64
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	cannotSay atomic.Int64
}

func (l *lookups) start(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(ctx)
	for node := 1; node <= l.c.Nodes; node++ {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				l.ask(ctx, node)
			}
		})
		l.wg.Go(func() { // the load they are asked under; its own failures are other tests' business
			body := payload(uint64(node), 100_000)
			for ctx.Err() == nil {
				_ = l.c.Client(node).PutObject(ctx, bucket, "load", bytes.NewReader(body), int64(len(body)))
			}
		})
	}
}

func (l *lookups) ask(ctx context.Context, node int) {
	client := l.c.Client(node)
	for _, id := range append([]string{l.known}, l.unknown...) {
		wasDown := l.down[node].Load()
		_, err := client.ListParts(ctx, bucket, "key", id, -1, 10)
		if ctx.Err() != nil {
			return
		}
		l.asked.Add(1)
		want := http.StatusNotFound
		if id == l.known {
			want = http.StatusOK
		}
		switch got := qsclient.StatusOf(err); {
		case got == want:
		case got == http.StatusServiceUnavailable:
			l.cannotSay.Add(1)
		case got == 0 && (wasDown || l.down[node].Load()):
		default:
			l.c.T.Errorf("node %d: upload %s: %v, want status %d", node, id, err, want)
		}
	}
}

func (l *lookups) stop() {
	l.cancel()
	l.wg.Wait()
	l.c.T.Logf("%d look-ups, %d answered 503", l.asked.Load(), l.cannotSay.Load())
}

// endedUploads returns an aborted and a completed upload ID of key.
func endedUploads(c *testcluster.Cluster) []string {
	ctx, client := c.T.Context(), c.Client(1)
	aborted, err := client.Initiate(ctx, bucket, "key")
	c.Must(err)
	c.Must(client.Abort(ctx, bucket, "key", aborted))
	completed, err := client.Initiate(ctx, bucket, "key")
	c.Must(err)
	etag, err := client.PutPart(ctx, bucket, "key", completed, 1, bytes.NewReader([]byte("x")), 1)
	c.Must(err)
	c.Must(client.Complete(ctx, bucket, "key", completed, []qsclient.Part{{Number: 1, ETag: etag}}))
	return []string{aborted, completed}
}

func TestUnknownUploadsAre404FromEveryNodeAlways(t *testing.T) {
	c := start(t)
	known, err := c.Client(3).Initiate(t.Context(), bucket, "key")
	c.Must(err)
	l := &lookups{c: c, known: known, unknown: append(endedUploads(c), layout.NewUploadID().String(), "nonsense")}
	l.start(t.Context())
	for round := range 4 {
		victim := leader(c)
		if round%2 == 1 {
			victim = victim%6 + 1 // a follower that must not trust its old copy when it returns
		}
		l.down[victim].Store(true)
		c.Must(c.Kill(victim))
		leader(c)
		c.Must(c.Start(victim))
		c.WaitReady()
		l.down[victim].Store(false)
	}
	l.stop()
}

func TestANodeCutOffAdmitsThatItCannotKnow(t *testing.T) {
	c := start(t, func(cfg *node.Config) { cfg.RegistryTimeout = time.Second })
	known, err := c.Client(3).Initiate(t.Context(), bucket, "key")
	c.Must(err)
	for _, node := range []int{leader(c), leader(c)%6 + 1} {
		c.Isolate(node)
		for _, id := range []string{known, layout.NewUploadID().String()} {
			c.Eventually("the node cut off answers 503", func() bool {
				_, err := c.Client(node).ListParts(t.Context(), bucket, "key", id, -1, 10)
				switch qsclient.StatusOf(err) {
				case http.StatusServiceUnavailable:
					return true
				case http.StatusNotFound:
					if id == known {
						t.Fatalf("node %d, cut off, answers 404 for a known upload", node)
					}
				}
				return false
			})
			c.Eventually("the majority answers right", func() bool {
				_, err := c.Client(node%6+1).ListParts(t.Context(), bucket, "key", id, -1, 10)
				if id == known && qsclient.StatusOf(err) == http.StatusNotFound || id != known && err == nil {
					t.Fatalf("the majority answers %v for %s, known: %t", err, id, id == known)
				}
				return qsclient.StatusOf(err) != http.StatusServiceUnavailable
			})
		}
		c.Heal(node)
		c.Eventually("the node answers again", func() bool {
			_, err := c.Client(node).ListParts(t.Context(), bucket, "key", known, -1, 10)
			return err == nil
		})
	}
}

func TestAKilledLeaderIsAPauseNotAnError(t *testing.T) {
	c := start(t)
	victim := leader(c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done atomic.Int64
	var wg sync.WaitGroup
	for w, node := range others(6, victim) {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := upload(ctx, c, []int{node}, "key-"+string(rune('a'+w)), uint64(i), 4<<20, 1000)
				if err != nil && ctx.Err() == nil {
					t.Errorf("through node %d: %v", node, err)
					return
				}
				done.Add(1)
			}
		})
	}
	progress := func(what string) { // a slow machine may take long for all ten, but not for the next
		t.Helper()
		for range 10 {
			before := done.Load()
			c.Eventually(what, func() bool { return done.Load() > before || t.Failed() })
		}
	}
	progress("uploads before the kill")
	began := time.Now()
	c.Must(c.Kill(victim))
	progress("uploads after the kill")
	t.Logf("10 uploads %s after the leader was killed", time.Since(began).Round(time.Millisecond))
	c.Must(c.Start(victim))
	progress("uploads after its return")
	cancel()
	wg.Wait()
}
