package cluster

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/node"
)

// A part that was taken without one of its chunks survives the loss of fewer
// nodes until that is healed, and ok-to-stop says so.
func TestStoppingWaitsForChunksToBeHealed(t *testing.T) {
	rnd := testrand.New(t)
	var none atomic.Pointer[string] // address of the peer that gets no chunks
	var healInterval atomic.Int64
	healInterval.Store(int64(time.Hour))
	c := start(t, func(cfg *node.Config) {
		cfg.HealInterval = time.Duration(healInterval.Load())
		checkWrites(cfg, func(addr string) func([]byte) error {
			chunks := false // are what the connection carries
			return func(b []byte) error {
				chunks = chunks || bytes.Contains(b, []byte("partstore-chunks"))
				if at := none.Load(); chunks && at != nil && *at == addr {
					return net.ErrClosed
				}
				return nil
			}
		})
	})
	const coordinator, asked, without = 1, 2, 6
	stop := []int{3, 4}
	ids := make([]layout.NodeID, len(stop))
	for i, at := range stop {
		ids[i] = nodeNamed(c, asked, at).ID
	}
	addr := c.Addrs(without).Peer
	none.Store(&addr)
	body := payload(1, 300_000)
	c.Must(c.Client(coordinator).PutObject(t.Context(), bucket, "object", bytes.NewReader(body), int64(len(body))))
	none.Store(nil)
	if n := len(chunksOf(c, asked, "object")); n != scheme.Total()-1 {
		t.Fatalf("the part has %d chunks", n)
	}

	v, err := adminOf(c, asked).JudgeStop(t.Context(), ids)
	if err != nil || v.Margin != -1 || len(v.Problems) != 1 || !strings.Contains(v.Problems[0], "wait to be healed") {
		t.Errorf("two nodes: %+v, %v", v, err)
	}
	v, err = adminOf(c, asked).JudgeStop(t.Context(), ids[:1])
	if err != nil || v.Margin != 0 || len(v.Problems) > 0 {
		t.Errorf("one node: %+v, %v", v, err)
	}

	healInterval.Store(int64(100 * time.Millisecond))
	c.Must(c.Stop(without))
	c.Must(c.Start(without))
	c.WaitReady()
	c.Await("two nodes may stop", func() error {
		v, err := adminOf(c, asked).JudgeStop(t.Context(), ids)
		if err == nil && (v.Margin != 0 || len(v.Problems) > 0) {
			err = fmt.Errorf("%+v", v)
		}
		return err
	})
	for _, i := range stop {
		c.Must(c.Kill(i))
	}
	awaitExact(t, c, rnd, asked, "object", body)
}
