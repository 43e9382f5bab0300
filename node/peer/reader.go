package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// Open implements chunkstore.Store.
func (s *remoteStore) Open(ctx context.Context, id layout.ChunkID, first, count int64) (chunkstore.Reader, error) {
	op := "open chunk " + id.String()
	if first < 0 {
		return nil, fmt.Errorf("%s: block %d", op, first)
	}
	to, err := s.client.resolve(s.node)
	if err != nil {
		return nil, s.fail(op, err)
	}
	request := chunkRequest{op: opRead, store: s.store, chunk: id, first: first, count: max(-1, count)}.append(nil)
	for fresh := false; ; fresh = true {
		r := &remoteReader{store: s, ctx: ctx, id: id, count: count, records: records{seal: chunkstore.NewSeal(id), first: first}}
		if r.conn, err = s.client.begin(ctx, to, fresh); err != nil {
			return nil, s.fail(op, err)
		}
		r.records.r = patientReader{r.conn}
		if err = r.conn.send(request); err == nil {
			err = r.begin()
		}
		if err == nil {
			return r, nil
		}
		again := r.conn.reused && errors.Is(err, errDead) && ctx.Err() == nil
		r.release(err)
		if !again {
			return nil, s.fail(op, s.client.explain(ctx, err))
		}
	}
}

// patientReader waits for Timeout, each time it waits.
type patientReader struct{ conn *chunkConn }

func (p patientReader) Read(b []byte) (int, error) {
	if err := p.conn.conn.SetReadDeadline(p.conn.patience()); err != nil {
		return 0, err
	}
	return p.conn.in.Read(b)
}

var _ chunkstore.RunReader = (*remoteReader)(nil)

// remoteReader reads the blocks of one chunk as they stream in.
type remoteReader struct {
	store   *remoteStore
	ctx     context.Context // the caller's; bounds the life of the reader, see Store.Open
	id      layout.ChunkID
	count   int64      // of blocks that were asked for; all that follow if negative
	conn    *chunkConn // nil once the exchange has ended
	records records
	err     error // the first one, io.EOF included; sticky
}

// begin waits for the start of the answer; a failure that comes first is the
// answer to Open.
func (r *remoteReader) begin() error {
	if err := r.records.begin(); err != nil {
		if !isTimeout(err) {
			err = errors.Join(errDead, err)
		}
		return err
	}
	if r.records.failed() {
		_, err := r.records.next()
		return err
	}
	return nil
}

// Next implements chunkstore.Reader.
func (r *remoteReader) Next(buf []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.read(buf)
	if err != nil {
		r.end(err)
		return 0, r.err
	}
	// The end comes along with the last block. To know of it now gives the
	// connection to the next exchange, even if nobody asks for another block.
	if r.records.complete() {
		_, err := r.records.next()
		r.end(err)
	}
	return n, nil
}

func (r *remoteReader) read(buf []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.records.next()
	if err != nil {
		return 0, err
	}
	return n, r.records.payload(buf, n)
}

// NextRun implements chunkstore.RunReader.
func (r *remoteReader) NextRun(buf []byte, dst [][]byte) ([][]byte, error) {
	if r.err != nil {
		return dst, r.err
	}
	run, err := r.readRun(buf, dst)
	if err == nil && r.records.complete() {
		_, err = r.records.next() // see Next
	}
	if err != nil {
		r.end(err)
	}
	if len(run) > len(dst) {
		return run, nil
	}
	return dst, r.err
}

func (r *remoteReader) readRun(buf []byte, dst [][]byte) ([][]byte, error) {
	if err := r.ctx.Err(); err != nil {
		return dst, err
	}
	left := int64(-1)
	if r.count >= 0 {
		left = r.count - r.records.blocks
	}
	return r.records.run(buf, left, dst)
}

// end ends the exchange with its first error, which may be that all went well.
func (r *remoteReader) end(err error) {
	r.release(err)
	switch {
	case errors.Is(err, errEndOfRecords):
		r.err = io.EOF
		return
	case !errors.Is(err, chunkstore.ErrCorrupt):
		err = r.store.client.explain(r.ctx, err)
	}
	r.err = r.store.fail("read chunk "+r.id.String(), err)
}

// release gives the connection back if the answer is complete: it ended, or
// with a failure that the other side reported.
func (r *remoteReader) release(err error) {
	if r.conn == nil {
		return
	}
	var said *reported
	if errors.Is(err, errEndOfRecords) || errors.As(err, &said) {
		r.conn.keep()
	} else {
		r.conn.drop()
	}
	r.conn = nil
}

// Close implements chunkstore.Reader.
func (r *remoteReader) Close() error {
	if r.err == nil {
		r.err = fmt.Errorf("read chunk %s: %w", r.id, fs.ErrClosed)
	}
	r.release(r.err)
	return nil
}
