package erasure

import (
	"sync"

	"partstore/internal/layout"
)

// buffer has room for a run of blocks. It has one owner at a time: the stream's
// goroutine while it reads, then the Reader.
type buffer struct {
	room   []byte
	shards [][]byte      // room for the list of what lies in it
	refs   int           // uses of it
	using  chan struct{} // holds one value for each buffer of a stream; may be nil
	pool   *sync.Pool
}

// getBuffer returns a buffer for so many blocks, in use once. When the last use
// ends, a value is taken from using.
func (e *Engine) getBuffer(blocks int, using chan struct{}) *buffer {
	pool := &e.buffers[blocks]
	b, ok := pool.Get().(*buffer)
	if !ok {
		b = &buffer{room: make([]byte, blocks*layout.BlockRoom), shards: make([][]byte, 0, blocks), pool: pool}
	}
	b.refs, b.using = 1, using
	return b
}

// release ends a use. No buffer is none.
func (b *buffer) release() {
	if b == nil {
		return
	}
	if b.refs--; b.refs > 0 {
		return
	}
	if b.using != nil {
		<-b.using
	}
	b.using = nil
	b.pool.Put(b)
}
