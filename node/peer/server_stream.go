package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// upgradeStream turns a request into a connection for chunks and serves it.
func (s *Server) upgradeStream(w http.ResponseWriter, r *http.Request, _ layout.NodeID) error {
	if err := checkUpgrade(r, streamUpgrade); err != nil {
		return err
	}
	up, err := s.takeOver(w, streamUpgrade)
	if err != nil {
		s.log.DebugContext(r.Context(), "chunk connection broke at birth", "err", err)
		return nil
	}
	ctx, ok := s.chunks.add(r.Context(), up.Conn)
	if !ok {
		_ = up.Conn.Close() // the server is closing
		return nil
	}
	defer s.chunks.remove(up.Conn)
	c := &serverConn{server: s, conn: up.Conn, in: up.in}
	for c.exchange(ctx) {
	}
	return nil
}

// serverConn is a connection for chunks, as the asked node sees it.
type serverConn struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
}

// exchange serves one request and reports whether another may follow.
func (c *serverConn) exchange(ctx context.Context) bool {
	if err := c.conn.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
		return false
	}
	var b [requestSize]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return false
	}
	if !c.server.chunks.setBusy(c.conn, true) {
		return false
	}
	return c.serve(ctx, &b) && c.server.chunks.setBusy(c.conn, false)
}

func (c *serverConn) serve(ctx context.Context, b *[requestSize]byte) bool {
	request, err := parseChunkRequest(b)
	if err != nil {
		c.refuse(err)
		return false
	}
	store, ok := c.server.cfg.Stores(request.store)
	if !ok {
		err = fmt.Errorf("%w: %s", ErrUnknownStore, request.store)
	}
	if request.op == opRead {
		return c.read(ctx, store, request, err)
	}
	if err == nil {
		err = c.write(ctx, store, request)
	}
	if err != nil {
		c.refuse(err)
		return false
	}
	return c.say(headDone) == nil
}

// say sends an answer that is all head.
func (c *serverConn) say(head uint32) error {
	return c.send(binary.LittleEndian.AppendUint32(make([]byte, 0, headSize), head))
}

func (c *serverConn) send(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// lingerTime is how long a refused asker may go on sending. To close under it
// would cost it the answer.
const lingerTime = 500 * time.Millisecond

// refuse answers one who writes with an error, perhaps while it is still
// sending. The connection is of no more use.
func (c *serverConn) refuse(err error) {
	code, _ := codeOf(err)
	c.server.log.Debug("refused chunk", "peer", c.conn.RemoteAddr(), "code", code, "err", err)
	if c.send(appendFailure(nil, err)) != nil || c.conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.in) // until the asker hangs up
}

// write takes one chunk. Whatever ends the stream before its end record aborts
// the chunk.
func (c *serverConn) write(ctx context.Context, store chunkstore.Store, request chunkRequest) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(stallTimeout)); err != nil {
		return broken(err)
	}
	seal := chunkstore.NewSeal(request.chunk)
	label, err := readLabel(c.in, seal)
	if err != nil {
		return broken(err)
	}
	out, err := store.Create(ctx, request.chunk, label)
	if err != nil {
		return err
	}
	defer out.Abort()
	if request.op == opStream {
		if err := c.say(headAgreed); err != nil {
			return broken(err)
		}
	}
	if err := c.receive(seal, out); err != nil {
		return err
	}
	return out.Commit()
}

// receive copies records to out until the end record.
func (c *serverConn) receive(seal chunkstore.Seal, out chunkstore.Writer) error {
	in := records{r: c.in, seal: seal}
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(stallTimeout)); err != nil {
			return broken(err)
		}
		size, err := in.next()
		if errors.Is(err, errEndOfRecords) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		if err := in.copyBlock(out, size); err != nil {
			return err
		}
	}
}

// copyBlock reads a block of size payload bytes to a store: with the checksum it came
// with, and to where the store wants it, if the store can.
func (r *records) copyBlock(out chunkstore.Writer, size int) error {
	read := func(room []byte) error {
		if err := r.frame(room, size); err != nil {
			return broken(err)
		}
		return nil
	}
	if out, ok := out.(chunkstore.FrameWriter); ok {
		return out.WriteFrame(size+chunkstore.ChecksumSize, read)
	}
	buf := recordBuffers.Get().(*[maxRecordSize]byte)
	defer recordBuffers.Put(buf)
	if err := read(buf[:]); err != nil {
		return err
	}
	payload, err := r.seal.Payload(r.first+r.blocks-1, buf[:size+chunkstore.ChecksumSize])
	if err != nil {
		return err
	}
	return out.WriteBlock(payload)
}

// broken is the error of a stream that stopped or made no sense.
func broken(err error) error {
	if code, _ := codeOf(err); code != codeInternal {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBadRequest, err)
}
