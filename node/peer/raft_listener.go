package peer

import (
	"net"
	"sync"

	"partstore/internal/layout"
)

// raftListener is the net.Listener whose connections arrive as requests.
type raftListener struct {
	node  layout.NodeID
	queue chan *upgradedConn // has room for every reservation

	mu       sync.Mutex
	done     chan struct{} // closed by Close
	closed   bool
	reserved int // places in queue that are taken or promised
	open     map[*upgradedConn]struct{}
}

func newRaftListener(node layout.NodeID) *raftListener {
	return &raftListener{
		node: node, queue: make(chan *upgradedConn, maxRaftBacklog),
		done: make(chan struct{}), open: map[*upgradedConn]struct{}{},
	}
}

func (l *raftListener) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.reserved == maxRaftBacklog {
		return false
	}
	l.reserved++
	return true
}

func (l *raftListener) unreserve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved--
}

// deliver queues a connection that has a reservation.
func (l *raftListener) deliver(c *upgradedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Conn.Close()
		return
	}
	l.open[c] = struct{}{}
	l.queue <- c
}

func (l *raftListener) forget(c *upgradedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// Accept implements net.Listener.
func (l *raftListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.queue:
		l.unreserve()
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections nobody accepted are dropped.
func (l *raftListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case c := <-l.queue:
			delete(l.open, c)
			_ = c.Conn.Close()
		default:
			return nil
		}
	}
}

// dropAll closes the connections that were accepted and are still open.
func (l *raftListener) dropAll() error {
	l.mu.Lock()
	open := make([]*upgradedConn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // a connection closed twice is closed
	}
	return nil
}

// Addr implements net.Listener. A Raft connection is addressed by node.
func (l *raftListener) Addr() net.Addr { return nodeAddr(l.node) }

type nodeAddr layout.NodeID

func (a nodeAddr) Network() string { return "partstore" }
func (a nodeAddr) String() string  { return layout.NodeID(a).String() }
