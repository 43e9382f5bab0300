package qingstor

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// NewListener returns ln as the HTTP server of a handler is to have it. Its
// connections say no to a message whose end two readers might see in different
// places (see framing), and break when for about as long as stall the client
// sends nothing of a body it owes, or takes nothing of an answer. A client that
// is merely slow is never cut off.
func NewListener(ln net.Listener, stall time.Duration) net.Listener {
	return listener{ln, stall}
}

type listener struct {
	net.Listener
	stall time.Duration
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, stall: l.stall}, nil
}

// conn is a client's connection.
type conn struct {
	net.Conn
	stall   time.Duration
	framing framing // of what was read; for the one reader at a time

	mu       sync.Mutex
	deadline time.Time // for reading, as the server wants it; zero for none
}

// Read hands on what is well framed, then the error for what is not: the server
// never has the end of a head that is refused.
func (c *conn) Read(p []byte) (int, error) {
	if c.framing.err != nil {
		return 0, c.framing.err
	}
	inBody := c.framing.inBody()
	if inBody {
		if err := c.limitRead(time.Now().Add(c.stall)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	n = c.framing.scan(p[:n])
	switch {
	case err != nil:
	case n == 0:
		err = c.framing.err
	case inBody && !c.framing.inBody():
		// The server may wait for the next request, or for the client to go away
		// while it answers: that is no stall.
		err = c.limitRead(time.Time{})
	}
	return n, err
}

// limitRead sets a deadline of our own, if it is before that of the server.
func (c *conn) limitRead(own time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own.IsZero() || !c.deadline.IsZero() && c.deadline.Before(own) {
		own = c.deadline
	}
	return c.Conn.SetReadDeadline(own)
}

// SetReadDeadline is for the server.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}

// Write gives up when the client took nothing for a while. What it took shows
// in what the kernel still holds for it: a large send buffer takes more from us
// only in large steps, far apart for a slow client.
func (c *conn) Write(p []byte) (n int, err error) {
	held := -1
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(p[n:])
		n += m
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		now, known := unsent(c.Conn)
		if m == 0 && (!known || held >= 0 && now >= held) {
			return n, err
		}
		held = now
	}
}

// CloseWrite lets the server end an answer before it closes.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
