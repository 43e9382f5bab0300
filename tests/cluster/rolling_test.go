package cluster

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/node"
	"partstore/node/admin"
)

// rolling is what the clients of a rolling restart did.
type rolling struct {
	*testcluster.Cluster
	calm    sync.RWMutex // clients hold it from the first byte of an object to the last
	done    atomic.Int64 // operations
	retried atomic.Int64 // of those, at a second node

	mu      sync.Mutex
	objects []string // acknowledged, since the last look at all
}

// try has an operation done by a client that turns to the next node once when
// it fails, and no oftener.
func (r *rolling) try(rnd *rand.Rand, what string, op func(*qsclient.Client) error) bool {
	at := 1 + rnd.IntN(r.Nodes)
	if err := op(r.Client(at)); err != nil {
		r.retried.Add(1)
		next := at%r.Nodes + 1
		if again := op(r.Client(next)); again != nil {
			r.T.Errorf("%s failed twice: node %d: %v; node %d: %v", what, at, err, next, again)
			return false
		}
	}
	r.done.Add(1)
	return true
}

// client stores objects and reads them back until ctx ends or one fails.
func (r *rolling) client(ctx context.Context, rnd *rand.Rand, name string) {
	for i, ok := 0, true; ok && ctx.Err() == nil; i++ {
		r.calm.RLock()
		key := fmt.Sprintf("%s-%d", name, i)
		if ok = r.store(rnd, key); ok {
			r.mu.Lock()
			r.objects = append(r.objects, key)
			r.mu.Unlock()
		}
		r.calm.RUnlock()
	}
}

// store stores an object of one part and reads it back.
func (r *rolling) store(rnd *rand.Rand, key string) bool {
	ctx := r.T.Context()
	body := payload(rnd.Uint64(), 70_000+rnd.IntN(200_000)) // more than a small part, which has copies
	var id string
	return r.try(rnd, "initiate "+key, func(c *qsclient.Client) (err error) {
		id, err = c.Initiate(ctx, bucket, key)
		return err
	}) && r.try(rnd, "part of "+key, func(c *qsclient.Client) error {
		_, err := c.PutPart(ctx, bucket, key, id, 0, bytes.NewReader(body), int64(len(body)))
		return err
	}) && r.try(rnd, "complete "+key, func(c *qsclient.Client) error {
		return c.Complete(ctx, bucket, key, id, []qsclient.Part{{Number: 0}})
	}) && r.try(rnd, "read "+key, func(c *qsclient.Client) error {
		got, err := read(ctx, c, key, "")
		if err == nil && !bytes.Equal(got, body) {
			r.T.Errorf("%s has other bytes", key)
		}
		return err
	})
}

// settle waits until all that is acknowledged is whole and none of it narrow,
// while no client stores anything, and returns those objects.
func (r *rolling) settle(through int) (objects []string) {
	r.T.Helper()
	r.calm.Lock()
	defer r.calm.Unlock()
	objects, r.objects = r.objects, nil
	for _, key := range objects {
		r.Await(key+" is whole and wide", func() error {
			report, err := adminOf(r.Cluster, through).InspectObject(r.T.Context(), bucket, key)
			for _, p := range report.Parts {
				if isNarrow(p) || p.State != admin.PartWhole {
					return fmt.Errorf("part %d is %s and has scheme %s", p.Number, p.State, p.Scheme)
				}
			}
			return err
		})
	}
	return objects
}

// checkMargins makes sure that every part of some objects survives the loss of
// one more store.
func (r *rolling) checkMargins(through int, objects []string) {
	r.T.Helper()
	for _, key := range objects {
		report, err := adminOf(r.Cluster, through).InspectObject(r.T.Context(), bucket, key)
		r.Must(err, key)
		for _, p := range report.Parts {
			good := 0
			for _, chunk := range p.Chunks {
				if chunk.State == admin.ChunkOK {
					good++
				}
			}
			if good <= int(p.Scheme.Data) {
				r.T.Errorf("part %d of %s, scheme %s, has %d chunks: %+v", p.Number, key, p.Scheme, good, p.Chunks)
			}
		}
	}
}

// Nodes that are stopped and started one after the other, each when all is whole
// and the cluster says that it may be, fail no operation of a client that tries a
// second node, and take no part below a margin of one: neither one that was there
// before, nor one that was stored without the node.
func TestRollingRestartFailsNobody(t *testing.T) {
	rnd := testrand.New(t)
	r := &rolling{Cluster: start(t, func(cfg *node.Config) { cfg.HealInterval = 100 * time.Millisecond })}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer func() {
		cancel()
		clients.Wait()
	}()
	for i := range 4 {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		clients.Go(func() { r.client(ctx, own, fmt.Sprint("client-", i)) })
	}
	progress := func() {
		t.Helper()
		target := r.done.Load() + 40
		r.Eventually("clients get on", func() bool { return t.Failed() || r.done.Load() >= target })
		if t.Failed() {
			t.FailNow()
		}
	}
	checked := 0
	for _, i := range rnd.Perm(r.Nodes) {
		node, other := i+1, (i+1)%r.Nodes+1
		progress()
		before := r.settle(other)
		id := nodeNamed(r.Cluster, other, node).ID
		r.Await(fmt.Sprintf("node %d may stop", node), func() error {
			verdict, err := adminOf(r.Cluster, other).JudgeStop(t.Context(), []layout.NodeID{id})
			if err == nil && len(verdict.Problems) > 0 {
				err = fmt.Errorf("%q", verdict.Problems)
			}
			return err
		})
		r.Must(r.Stop(node))
		r.calm.Lock() // what was under way ends, and is settled with the next node
		r.mu.Lock()
		meanwhile := len(r.objects)
		r.mu.Unlock()
		r.calm.Unlock()
		progress()
		r.mu.Lock()
		without := r.objects[meanwhile:]
		r.mu.Unlock()
		r.checkMargins(other, append(before, without...))
		checked += len(without)
		r.Must(r.Start(node))
		r.WaitReady()
	}
	progress()
	cancel()
	clients.Wait()
	r.settle(1)
	t.Logf("%d operations, %d of them at a second node; %d objects stored without a node", r.done.Load(), r.retried.Load(), checked)
	if r.retried.Load() == 0 || checked == 0 {
		t.Error("nobody met a node that was stopped, or stored anything without one")
	}
}
