package metadata

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streams makes a StreamLayer what Raft's transport wants. It knows every open
// connection, so that Close ends calls that would otherwise sit out their
// timeouts.
type streams struct {
	self  owner
	layer StreamLayer

	mu     sync.Mutex
	open   map[*stream]struct{}
	closed bool
}

var _ raft.StreamLayer = (*streams)(nil)

func newStreams(self owner, layer StreamLayer) *streams {
	return &streams{self: self, layer: layer, open: map[*stream]struct{}{}}
}

// stream is a connection that its streams can close.
type stream struct {
	net.Conn
	owner    *streams
	accepted bool // the other end dialed
}

func (c *stream) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

func (s *streams) track(conn net.Conn, err error, accepted bool) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	c := &stream{Conn: conn, owner: s, accepted: accepted}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s.open[c] = struct{}{}
	return c, nil
}

// Accept returns the next connection. Whether it is meant for this server shows
// when Raft first reads from it, so a silent one holds nobody up.
func (s *streams) Accept() (net.Conn, error) {
	conn, err := s.layer.Accept()
	if conn, err = s.track(conn, err, true); err != nil {
		return nil, err
	}
	return &accepted{Conn: conn, self: s.self}, nil
}

// Dial connects to a server and says which one is meant.
func (s *streams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	other, err := parseServer(string(to))
	if err != nil {
		return nil, err
	}
	conn, err := s.layer.Dial(other.node, timeout)
	if conn, err = s.track(conn, err, false); err != nil {
		return nil, err
	}
	err = conn.SetWriteDeadline(time.Now().Add(timeout))
	if err == nil {
		_, err = conn.Write(encodeHello(hello{s.self.cluster, s.self.server, other}))
	}
	if err == nil {
		err = conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// hangUp closes the connections that others opened; they open new ones. It
// ends a message that has begun and does not go on, for which Raft would wait
// without an end.
func (s *streams) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if c.accepted {
			_ = c.Conn.Close()
			delete(s.open, c)
		}
	}
}

func (s *streams) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Conn.Close()
	}
	clear(s.open)
	s.mu.Unlock()
	return s.layer.Close()
}

// Addr is what Raft takes for this server's address.
func (s *streams) Addr() net.Addr { return serverAddr(s.self.server) }

type serverAddr server

func (serverAddr) Network() string  { return "server" }
func (a serverAddr) String() string { return server(a).String() }
