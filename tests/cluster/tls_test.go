package cluster

import (
	"net/http"
	"testing"

	"partstore/internal/testrand"
	"partstore/node"
)

// TestAClusterSpeaksTLS takes a cluster whose nodes encrypt everything through
// its formation, the death of its leader and of another node, and their return.
func TestAClusterSpeaksTLS(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t, func(cfg *node.Config) { cfg.PeerTLS = "on" })
	resp, err := http.Get("http://" + c.Addrs(1).Peer)
	c.Must(err)
	resp.Body.Close()
	if id := resp.Header.Get("Partstore-Node"); id != "" {
		t.Fatalf("node %s answers its peers in the clear", id)
	}
	objects := fill(t, c)
	down := leader(c)
	also := down%6 + 1
	c.Must(c.Kill(down))
	c.Must(c.Kill(also))
	checkAll(t, c, rnd, others(6, down, also)[0], objects)
	c.Must(c.Start(down))
	c.Must(c.Start(also))
	c.WaitReady()
	objects["after"], err = upload(t.Context(), c, others(6), "after", 9, 4<<20, 17)
	c.Must(err)
	checkAll(t, c, rnd, down, objects)
}
