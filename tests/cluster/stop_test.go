package cluster

import (
	"bytes"
	"context"
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

// chunkConn is a connection to a peer that carries no chunks while the peer is
// the one that gets none.
type chunkConn struct {
	net.Conn
	peer   string
	none   *atomic.Pointer[string] // peer address
	chunks bool
}

func (c *chunkConn) Write(b []byte) (int, error) {
	c.chunks = c.chunks || bytes.Contains(b, []byte("partstore-chunks"))
	if none := c.none.Load(); c.chunks && none != nil && *none == c.peer {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// A part that was taken without one of its chunks survives the loss of fewer
// nodes until that is healed, and ok-to-stop says so.
func TestStoppingWaitsForChunksToBeHealed(t *testing.T) {
	rnd := testrand.New(t)
	var none atomic.Pointer[string]
	var healInterval atomic.Int64
	healInterval.Store(int64(time.Hour))
	c := start(t, func(cfg *node.Config) {
		cfg.HealInterval = time.Duration(healInterval.Load())
		dial := cfg.DialPeer
		cfg.DialPeer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &chunkConn{Conn: conn, peer: addr, none: &none}, nil
		}
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
