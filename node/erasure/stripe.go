package erasure

import (
	"sync/atomic"

	"partstore/internal/layout"
)

// stripe is one stripe on its way out: payload, padding and parity in one
// buffer, shard after shard. Whoever works on it holds a reference; the last one
// to let go hands it home.
type stripe struct {
	buf    []byte // Total × BlockSize
	n      int    // payload bytes
	shards [][]byte
	refs   atomic.Int32
	home   func(*stripe)
}

func (e *Engine) getStripe(s layout.Scheme) *stripe {
	if st, ok := e.stripes[s.Total()].Get().(*stripe); ok {
		return st
	}
	// Buffers of this size start on a page, as direct I/O wants it; so does
	// every block in them.
	return &stripe{
		buf:    make([]byte, s.Total()*layout.BlockSize),
		shards: make([][]byte, s.Total()),
	}
}

// cut divides the buffer into shards for n payload bytes, which are in place
// already: data shards follow each other without a gap. Padding is zeroed.
func (st *stripe) cut(s layout.Scheme, n int) {
	st.n = n
	size := s.ShardSize(n)
	clear(st.buf[n : size*int(s.Data)])
	for i := range st.shards {
		st.shards[i] = st.buf[i*size : (i+1)*size : (i+1)*size]
	}
}

func (st *stripe) release() {
	if st.refs.Add(-1) == 0 {
		st.home(st)
	}
}
