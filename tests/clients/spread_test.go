package clients

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"partstore/tests/clients/devcluster"
)

// spread is an address that leads each connection to the next node of the
// cluster, byte for byte. Programs that take one endpoint talk to all nodes so;
// as their HTTP proxy it also takes the place of DNS.
func spread(t *testing.T, c *devcluster.Cluster) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range c.Nodes {
		u, err := url.Parse(n.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, u.Host)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for i := 0; ; i++ {
			client, err := ln.Accept()
			if err != nil {
				return
			}

			wg.Go(func() { connect(t.Context(), client, nodes[i%len(nodes)]) })
		}
	})
	return ln.Addr().String()
}

// connect copies both ways until both sides are done, or ctx is.
func connect(ctx context.Context, client net.Conn, addr string) {
	defer client.Close()
	node, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer node.Close()
	defer context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = node.Close()
	})()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, node}, {node, client}} {
		wg.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // an end is an end, whoever broke it
			_ = way[1].(*net.TCPConn).CloseWrite()
		})
	}
	wg.Wait()
}
