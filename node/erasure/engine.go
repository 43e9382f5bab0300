package erasure

import (
	"context"
	"errors"
	"sync"
	"time"

	"partstore/internal/layout"
)

// Errors of a stream. Each is joined with the causes, ordered by chunk index.
var (
	// ErrWriteQuorum reports that fewer chunks than the write quorum can be written.
	ErrWriteQuorum = errors.New("write quorum not reached")
	// ErrTooFewShards reports that fewer shards than the read threshold can be read.
	ErrTooFewShards = errors.New("too few shards")
	// ErrSlow reports a chunk that was given up because it made no progress
	// while others waited for it.
	ErrSlow = errors.New("no progress")
)

// ShardWriter takes the shards of one chunk in order. A chunkstore.Writer is one.
type ShardWriter interface {
	// WriteBlock appends one shard; the slice is the caller's again on return.
	WriteBlock(shard []byte) error
	// Commit makes the chunk durable and visible.
	Commit() error
	// Abort drops what was written.
	Abort()
}

// A RunWriter is a ShardWriter that also takes several shards at a time. A
// chunkstore.RunWriter is one.
type RunWriter interface {
	ShardWriter
	// WriteRun is WriteBlock of each shard in order.
	WriteRun(shards [][]byte) error
}

// Confirmer is a ShardWriter that can say before Commit whether its store takes
// the chunk. It is asked before a body's start is let go.
type Confirmer interface {
	// Confirm returns nil once the store has agreed to take the chunk.
	Confirm() error
}

// ShardReader returns verified shards of one chunk in order. A chunkstore.Reader
// is one.
type ShardReader interface {
	// Next reads the next shard into buf, which holds layout.BlockSize bytes,
	// and returns its length, or io.EOF after the last one of the range.
	Next(buf []byte) (int, error)
	// Close releases the reader.
	Close() error
}

// A RunReader is a ShardReader that also returns several shards at a time. A
// chunkstore.RunReader is one.
type RunReader interface {
	ShardReader
	// NextRun reads shards that follow into buf, which has layout.BlockRoom
	// bytes for each, and appends them to dst; they lie in buf. It returns at
	// least one or an error, and more only if they are at hand.
	NextRun(buf []byte, dst [][]byte) ([][]byte, error)
}

// Config tunes an Engine.
type Config struct {
	// Hedge is how long a chunk may make no progress while others wait for it
	// before the stream goes on without it, at most: once the engine knows what
	// is usual, several times that are enough. Default 500ms.
	Hedge time.Duration

	// Stall is how long a chunk may make no progress even when the stream
	// cannot go on without it. Then the stream fails. Default 10s.
	Stall time.Duration

	// Memory bounds the payload in the buffers of all streams that reserved
	// some, in bytes. Default 128 MiB.
	Memory int64

	// NewCoder makes the coder of a scheme. Default NewReedSolomon.
	NewCoder func(layout.Scheme) (Coder, error)
}

// Engine runs write and read streams. It is safe for concurrent use.
type Engine struct {
	cfg     Config
	stripes [layout.MaxShards + 1]sync.Pool // *stripe, by number of shards
	buffers [readRun + 1]sync.Pool          // *buffer, by number of blocks
	starts  sync.Pool                       // *[]byte, of bodies

	memory        budget
	writes, reads pace // of the slowest chunk of a write, and of a stripe

	mu     sync.Mutex
	coders map[layout.Scheme]Coder

	chunks sync.WaitGroup // one for each chunk being written or read
}

// New returns an Engine without any stream.
func New(cfg Config) *Engine {
	if cfg.Hedge == 0 {
		cfg.Hedge = 500 * time.Millisecond
	}
	if cfg.Stall == 0 {
		cfg.Stall = 10 * time.Second
	}
	if cfg.Memory == 0 {
		cfg.Memory = 128 << 20
	}
	if cfg.NewCoder == nil {
		cfg.NewCoder = NewReedSolomon
	}
	return &Engine{
		cfg: cfg, coders: make(map[layout.Scheme]Coder), memory: newBudget(cfg.Memory),
		// A chunk that is not written must be healed; a chunk that is read
		// needlessly costs a little work.
		writes: pace{factor: 8, least: 2}, reads: pace{factor: 4, least: 10},
	}
}

// Close waits for the chunks of all streams, those given up included. The
// streams must have ended; their contexts ended with them, so what is left is
// on its way out.
func (e *Engine) Close() error {
	e.chunks.Wait()
	return nil
}

// coder returns the one coder of a scheme. Schemes are few, so none is dropped.
func (e *Engine) coder(s layout.Scheme) (Coder, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := e.coders[s]; ok {
		return c, nil
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	c, err := e.cfg.NewCoder(s)
	if err != nil {
		return nil, err
	}
	e.coders[s] = c
	return c, nil
}

// getPrefix returns a buffer of n bytes for the start of a body.
func (e *Engine) getPrefix(n int) []byte {
	if b, ok := e.starts.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

func (e *Engine) putPrefix(b []byte) {
	if b != nil {
		e.starts.Put(&b)
	}
}

// CreateFunc starts chunk i. The context bounds the whole life of the writer,
// Commit included; when it ends, a blocked call must return soon.
type CreateFunc func(ctx context.Context, i int) (ShardWriter, error)

// OpenFunc opens count shards of chunk i from shard first on. The context bounds
// the whole life of the reader; when it ends, a blocked call must return soon.
type OpenFunc func(ctx context.Context, i int, first, count int64) (ShardReader, error)

// ReportFunc hears that chunk i failed or was given up (ErrSlow), and why. It is
// called by the goroutine that drives the stream and must not block.
type ReportFunc func(i int, err error)
