package testcluster

import (
	"context"
	"errors"
	"net"
	"sync"
)

// errCut is what a node gets that dials through a cut.
var errCut = errors.New("network cut")

// network carries the peer protocol and gossip between the nodes of a test
// cluster, and can be cut around any of them. Clients are not affected.
type network struct {
	owner func(addr string) int // node that listens there, 0 if none

	mu    sync.Mutex
	cut   map[int]bool
	conns map[*cutConn]struct{}
}

func newNetwork(owner func(string) int) *network {
	return &network{owner: owner, cut: make(map[int]bool), conns: make(map[*cutConn]struct{})}
}

// dialer returns how node from dials its peers.
func (n *network) dialer(from int) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, netw, addr string) (net.Conn, error) {
		to := n.owner(addr)
		if !n.open(from, to) {
			return nil, errCut
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, netw, addr)
		if err != nil {
			return nil, err
		}
		c := &cutConn{Conn: conn, from: from, to: to, network: n}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.cut[from] || n.cut[to] {
			return nil, errors.Join(errCut, conn.Close())
		}
		n.conns[c] = struct{}{}
		return c, nil
	}
}

func (n *network) open(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return from == to || !n.cut[from] && !n.cut[to]
}

// isolate cuts a node off from all others and breaks its connections.
func (n *network) isolate(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[i] = true
	for c := range n.conns {
		if c.from == i || c.to == i {
			_ = c.Conn.Close() // the point is that it breaks
			delete(n.conns, c)
		}
	}
}

func (n *network) heal(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, i)
}

// cutConn is a connection the network can break.
type cutConn struct {
	net.Conn
	from, to int
	network  *network
}

func (c *cutConn) Close() error {
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}
