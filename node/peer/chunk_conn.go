package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// chunkConn is a connection for chunks, as its asker sees it: one exchange at
// a time. An exchange begins with Client.begin and ends with keep or drop.
type chunkConn struct {
	client *Client
	to     target
	conn   net.Conn
	in     *bufio.Reader
	raw    syscall.RawConn // nil if there is no socket to look at
	reused bool
	idle   time.Time // since when

	release func() bool // of the exchange: its context no longer closes the connection
	vector  net.Buffers
}

// errDead is joined to the error of a connection that broke before the first
// byte of an answer: the peer may have closed it while it was idle.
var errDead = errors.New("connection is dead")

// begin starts an exchange on an idle connection, unless fresh demands another,
// or on a new one. When ctx ends the connection is closed.
func (c *Client) begin(ctx context.Context, to target, fresh bool) (*chunkConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var conn *chunkConn
	if !fresh {
		conn = c.pool.take(to)
	}
	if conn == nil {
		up, err := c.dialUpgrade(ctx, to, streamPath, streamUpgrade)
		if err != nil {
			return nil, err
		}
		conn = &chunkConn{client: c, to: to, conn: up.Conn, in: up.in}
		conn.raw = socket(up.Conn)
	}
	conn.release = context.AfterFunc(ctx, func() { _ = conn.conn.Close() })
	return conn, nil
}

// socket finds what lies below a connection, nil if it does not say.
func socket(conn net.Conn) syscall.RawConn {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// keep ends an exchange that is complete.
func (c *chunkConn) keep() {
	if !c.release() || c.in.Buffered() > 0 || c.conn.SetDeadline(time.Time{}) != nil {
		_ = c.conn.Close()
		return
	}
	c.client.pool.put(c)
}

// drop ends an exchange that is not.
func (c *chunkConn) drop() {
	c.release()
	_ = c.conn.Close() // what was sent is worthless, or answered
}

// patience is the deadline of a wait for progress that begins now.
func (c *chunkConn) patience() time.Time { return time.Now().Add(c.client.cfg.Timeout) }

// send writes all of bufs, in one system call if the connection can.
func (c *chunkConn) send(bufs ...[]byte) error {
	if err := c.conn.SetWriteDeadline(c.patience()); err != nil {
		return errors.Join(errDead, err)
	}
	c.vector = append(c.vector[:0], bufs...)
	kept := c.vector
	_, err := gather(c.conn, &c.vector)
	c.vector = kept
	clear(c.vector)
	if err != nil && !isTimeout(err) {
		return errors.Join(errDead, err)
	}
	return err
}

// gather writes bufs. A connection that takes one buffer at a time, as one that
// encrypts does, gets them joined, about a block at a time.
func gather(conn net.Conn, bufs *net.Buffers) (int64, error) {
	if _, ok := conn.(*net.TCPConn); ok || len(*bufs) == 1 {
		return bufs.WriteTo(conn)
	}
	joined := messages.Get().(*[messageSize]byte)
	defer messages.Put(joined)
	all, written := joined[:0], int64(0)
	for _, b := range *bufs {
		if len(all)+len(b) > len(joined) {
			n, err := conn.Write(all)
			if written += int64(n); err != nil {
				return written, err
			}
			all = joined[:0]
		}
		all = append(all, b...)
	}
	n, err := conn.Write(all)
	return written + int64(n), err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// answer reads the head of an answer to one who writes: headAgreed, headDone, or
// a failure, which it returns as the error it stands for.
func (c *chunkConn) answer() (uint32, error) {
	if err := c.conn.SetReadDeadline(c.patience()); err != nil {
		return 0, errors.Join(errDead, err)
	}
	// A deadline left behind would make answered see a broken connection.
	defer func() { _ = c.conn.SetReadDeadline(time.Time{}) }()
	r := records{r: c.in}
	if n, err := io.ReadFull(c.in, r.head[:]); err != nil {
		if n == 0 && !isTimeout(err) {
			err = errors.Join(errDead, err)
		}
		return 0, noEOF(err)
	}
	switch head := binary.LittleEndian.Uint32(r.head[:]); head {
	case headAgreed, headDone:
		return head, nil
	case headFailure:
		return 0, r.failure()
	default:
		return 0, fmt.Errorf("answer %#x: %w", head, ErrBadRequest)
	}
}

// answered reports whether there is something to read, the end of the
// connection included. It never waits, and may miss what shows later.
func (c *chunkConn) answered() (yes bool) {
	if c.in.Buffered() > 0 {
		return true
	}
	if c.raw == nil {
		return false // it shows later
	}
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		yes = !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
		return true
	})
	return yes || err != nil
}

// exchange sends a chunk in one message and waits until it is committed. A
// connection that turns out to have died while idle is replaced: if the first
// message was carried out after all, the second says chunkstore.ErrExists.
func (c *Client) exchange(ctx context.Context, to target, message []byte) error {
	for fresh := false; ; fresh = true {
		conn, err := c.begin(ctx, to, fresh)
		if err != nil {
			return err
		}
		err = conn.send(message)
		if err == nil {
			_, err = conn.answer()
		}
		if err == nil {
			conn.keep()
			return nil
		}
		conn.drop()
		if !conn.reused || !errors.Is(err, errDead) || ctx.Err() != nil {
			return c.explain(ctx, err)
		}
	}
}
