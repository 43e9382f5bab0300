package peer

import (
	"context"
	"net"
	"sync"
)

// chunkConns are a Server's connections for chunks. They have left the HTTP
// server, so somebody else must end them with it.
type chunkConns struct {
	mu      sync.Mutex
	open    map[net.Conn]*connState
	closing bool
	empty   chan struct{} // closed when closing and none is open
}

type connState struct {
	cancel context.CancelFunc
	busy   bool
}

func newChunkConns() *chunkConns {
	return &chunkConns{open: map[net.Conn]*connState{}, empty: make(chan struct{})}
}

// add admits a connection, and returns the context of all that is done for it.
func (c *chunkConns) add(ctx context.Context, conn net.Conn) (context.Context, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return ctx, false
	}
	ctx, cancel := context.WithCancel(ctx)
	c.open[conn] = &connState{cancel: cancel}
	return ctx, true
}

// setBusy says whether an exchange is under way, and reports whether the
// connection may go on.
func (c *chunkConns) setBusy(conn net.Conn, busy bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn].busy = busy
	return !c.closing
}

// remove closes and forgets a connection.
func (c *chunkConns) remove(conn net.Conn) {
	_ = conn.Close() // what mattered has been answered
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn].cancel()
	delete(c.open, conn)
	c.settle()
}

// shutdown lets nobody in, closes idle connections and waits for the others
// until ctx ends.
func (c *chunkConns) shutdown(ctx context.Context) error {
	c.end(false)
	select {
	case <-c.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end lets nobody in and breaks off idle connections, or all.
func (c *chunkConns) end(all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	for conn, state := range c.open {
		if all || !state.busy {
			state.cancel()
			_ = conn.Close()
		}
	}
	c.settle()
}

// settle says when there is nobody left. c.mu must be held.
func (c *chunkConns) settle() {
	if !c.closing || len(c.open) > 0 {
		return
	}
	select {
	case <-c.empty:
	default:
		close(c.empty)
	}
}
