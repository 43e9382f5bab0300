package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// dialUpgrade opens a connection to a node and switches it from HTTP to another
// protocol, after which it belongs to the caller.
func (c *Client) dialUpgrade(ctx context.Context, to target, path, protocol string) (*upgradedConn, error) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	conn, err := c.cfg.Dial(bounded, "tcp", to.addr)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	// Breaks the handshake off, wherever it is, when the context ends.
	release := context.AfterFunc(bounded, func() { conn.Close() })
	upgraded, err := c.secureAndUpgrade(bounded, conn, to, path, protocol)
	if !release() && err == nil {
		err = bounded.Err()
	}
	if err != nil {
		conn.Close()
		return nil, c.explain(ctx, err)
	}
	return upgraded, nil
}

// explain keeps what the peer said and calls everything else unreachable.
func (c *Client) explain(ctx context.Context, err error) error {
	if said := (*reported)(nil); errors.As(err, &said) {
		return err
	}
	return c.lost(ctx, err)
}

func (c *Client) secureAndUpgrade(ctx context.Context, conn net.Conn, to target, path, protocol string) (*upgradedConn, error) {
	if c.certs == nil {
		return c.upgrade(ctx, conn, to, path, protocol)
	}
	secured, err := c.certs.secure(ctx, conn, c.cfg.Cluster(), to.node)
	if err != nil {
		return nil, err
	}
	return c.upgrade(ctx, secured, to, path, protocol)
}

func (c *Client) upgrade(ctx context.Context, conn net.Conn, to target, path, protocol string) (*upgradedConn, error) {
	req, err := c.request(ctx, to, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := checkAnswer(to, resp); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return &upgradedConn{Conn: conn, in: in}, nil
}

// checkUpgrade refuses a request that does not ask for the protocol of its path.
func checkUpgrade(r *http.Request, protocol string) error {
	if r.Header.Get("Upgrade") != protocol {
		return fmt.Errorf("%w: want an upgrade to %s", ErrBadRequest, protocol)
	}
	return nil
}

// takeOver answers a request to switch protocols and takes its connection.
func (s *Server) takeOver(w http.ResponseWriter, protocol string) (*upgradedConn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol +
		"\r\n" + headerNode + ": " + s.cfg.Self.String() + "\r\n\r\n"
	err = conn.SetDeadline(time.Time{})
	if err == nil {
		_, err = io.WriteString(conn, answer)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &upgradedConn{Conn: conn, in: rw.Reader}, nil
}

// upgradedConn is a connection whose first bytes may already have been read
// together with the last line of the handshake.
type upgradedConn struct {
	net.Conn
	in     *bufio.Reader
	closed func(*upgradedConn) // may be nil
}

// Read hands out what the handshake left over, then reads the connection itself.
func (c *upgradedConn) Read(b []byte) (int, error) {
	if c.in.Buffered() > 0 {
		return c.in.Read(b)
	}
	return c.Conn.Read(b)
}

// Close implements net.Conn.
func (c *upgradedConn) Close() error {
	if c.closed != nil {
		c.closed(c)
	}
	return c.Conn.Close()
}
