package peer_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// watched tells how the writers of a store ended.
type watched struct {
	chunkstore.Store
	created, aborted, committed atomic.Int32
	refuse                      error         // of every WriteBlock
	ended                       chan struct{} // one for each writer
}

type watchedWriter struct {
	chunkstore.Writer
	store *watched
	once  sync.Once
}

func newWatched(s chunkstore.Store) *watched {
	return &watched{Store: s, ended: make(chan struct{}, 100)}
}

func (s *watched) Create(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error) {
	w, err := s.Store.Create(ctx, id, label)
	if err != nil {
		return nil, err
	}
	s.created.Add(1)
	return &watchedWriter{Writer: w, store: s}, nil
}

func (w *watchedWriter) WriteBlock(block []byte) error {
	if w.store.refuse != nil {
		return w.store.refuse
	}
	return w.Writer.WriteBlock(block)
}

func (w *watchedWriter) Commit() error {
	err := w.Writer.Commit()
	if err == nil {
		w.once.Do(func() { w.store.committed.Add(1); w.store.ended <- struct{}{} })
	}
	return err
}

func (w *watchedWriter) Abort() {
	w.Writer.Abort()
	w.once.Do(func() { w.store.aborted.Add(1); w.store.ended <- struct{}{} })
}

// wire dials connections that can be cut, or slowed to a given number of bytes.
type wire struct {
	mu    sync.Mutex
	conns []*wireConn
	limit int64 // bytes a connection carries to the peer before it breaks; 0: no limit
}

type wireConn struct {
	net.Conn
	left atomic.Int64
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &wireConn{Conn: conn}
	c.left.Store(1 << 60)
	if w.limit > 0 {
		c.left.Store(w.limit)
	}
	w.conns = append(w.conns, c)
	return c, nil
}

func (w *wire) dialled() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

func (c *wireConn) Write(b []byte) (int, error) {
	left := c.left.Add(-int64(len(b)))
	if left >= 0 {
		return c.Conn.Write(b)
	}
	n, _ := c.Conn.Write(b[:max(0, int64(len(b))+left)])
	c.Conn.Close()
	return n, errors.New("cable cut")
}

// cutAll breaks all connections.
func (w *wire) cutAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Conn.Close()
	}
}
