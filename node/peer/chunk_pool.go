package peer

import (
	"sync"
	"time"
)

// maxIdleConns is how many connections for chunks to one node are kept idle.
const maxIdleConns = 64

// connPool keeps idle connections for chunks. One that has died meanwhile is
// not handed out, so a peer that restarted costs nobody an error.
type connPool struct {
	mu     sync.Mutex
	idle   map[target][]*chunkConn // the one used last at the end
	timer  *time.Timer             // closes those that were idle for too long
	closed bool
}

// take returns a connection that seems alive, or nil.
func (p *connPool) take(to target) *chunkConn {
	for {
		c := p.pop(to)
		if c == nil || !c.answered() {
			return c
		}
		_ = c.conn.Close()
	}
}

func (p *connPool) pop(to target) *chunkConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[to]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	list[len(list)-1] = nil
	p.idle[to] = list[:len(list)-1]
	return c
}

func (p *connPool) put(c *chunkConn) {
	c.reused, c.idle = true, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[c.to]
	if p.closed || len(list) == maxIdleConns {
		_ = c.conn.Close()
		return
	}
	if p.idle == nil {
		p.idle = make(map[target][]*chunkConn)
	}
	p.idle[c.to] = append(list, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(idleTimeout/4, p.prune)
	}
}

// prune closes what has been idle for too long; a connection is gone before
// the other side hangs up.
func (p *connPool) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := false
	for to, list := range p.idle {
		old := 0
		for old < len(list) && time.Since(list[old].idle) >= idleTimeout/2 {
			_ = list[old].conn.Close()
			old++
		}
		if list = append(list[:0], list[old:]...); len(list) == 0 {
			delete(p.idle, to)
			continue
		}
		p.idle[to], left = list, true
	}
	p.timer = nil
	if left && !p.closed {
		p.timer = time.AfterFunc(idleTimeout/4, p.prune)
	}
}

func (p *connPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, list := range p.idle {
		for _, c := range list {
			_ = c.conn.Close()
		}
	}
	p.idle = nil
}
