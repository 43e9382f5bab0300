package node

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/node/cluster"
)

// A node that gossip takes for dead is still found: that it is dead is a hint.
func TestANodeThatSeemsDeadIsFoundWhereItWas(t *testing.T) {
	gossip := func(seeds ...string) (*cluster.Cluster, layout.NodeID) {
		id := layout.NewNodeID()
		c, err := cluster.Open(cluster.Config{
			Self:   cluster.Member{ID: id, Name: "n", Zone: "z", Host: "127.0.0.1", PeerPort: 4711},
			Listen: "127.0.0.1:0", Secret: "secret", Seeds: seeds,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() {
			cancel()
			wg.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c, id
	}
	own, _ := gossip()
	other, id := gossip(net.JoinHostPort("127.0.0.1", strconv.Itoa(own.Port())))
	n := &Node{gossip: own}
	await := func(alive bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if _, seen := own.Member(id); seen == alive {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the other node does not become alive: %t", alive)
			}
		}
		if addr, known := n.resolvePeer(id); addr != "127.0.0.1:4711" || !known {
			t.Errorf("alive: %t, the node is found at %q, %t", alive, addr, known)
		}
	}
	await(true)
	if err := other.Close(); err != nil { // no goodbye
		t.Fatal(err)
	}
	await(false)
	if _, known := n.resolvePeer(layout.NewNodeID()); known {
		t.Error("a node that never was has an address")
	}
}
