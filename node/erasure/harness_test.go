package erasure

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"partstore/internal/layout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func newEngine(t testing.TB, cfg Config) *Engine {
	e := New(cfg)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return e
}

var (
	errBroken  = errors.New("broken")
	errMissing = errors.New("missing")
)

// memory is a set of chunks whose stores misbehave on demand. The hooks may
// block until their context ends.
type memory struct {
	mu        sync.Mutex
	chunks    map[int][][]byte
	committed map[int]bool
	aborted   map[int]bool
	reads     map[int][]int64 // blocks read of each chunk
	runs      map[int]int     // calls of NextRun for each chunk
	written   map[int][]int   // lengths of the runs each chunk was written in
	inRuns    bool            // readers and writers take several blocks at a time

	onWrite  func(ctx context.Context, i, block int) error
	onCommit func(ctx context.Context, i int) error
	onRead   func(ctx context.Context, i int, block int64) error
}

func newMemory() *memory {
	return &memory{
		chunks: map[int][][]byte{}, committed: map[int]bool{}, aborted: map[int]bool{},
		reads: map[int][]int64{}, runs: map[int]int{}, written: map[int][]int{},
	}
}

// frozen blocks like a store that stopped answering.
func frozen(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (m *memory) create(ctx context.Context, i int) (ShardWriter, error) {
	if m.onWrite != nil {
		if err := m.onWrite(ctx, i, -1); err != nil {
			return nil, err
		}
	}
	w := &memoryWriter{m: m, ctx: ctx, index: i}
	if m.inRuns {
		return memoryRunWriter{w}, nil
	}
	return w, nil
}

type memoryRunWriter struct{ *memoryWriter }

func (w memoryRunWriter) WriteRun(shards [][]byte) error {
	w.m.mu.Lock()
	w.m.written[w.index] = append(w.m.written[w.index], len(shards))
	w.m.mu.Unlock()
	for _, shard := range shards {
		if err := w.WriteBlock(shard); err != nil {
			return err
		}
	}
	return nil
}

type memoryWriter struct {
	m      *memory
	ctx    context.Context
	index  int
	blocks [][]byte
	ended  bool
}

func (w *memoryWriter) WriteBlock(b []byte) error {
	if w.m.onWrite != nil {
		if err := w.m.onWrite(w.ctx, w.index, len(w.blocks)); err != nil {
			return err
		}
	}
	w.blocks = append(w.blocks, bytes.Clone(b))
	return nil
}

func (w *memoryWriter) Commit() error {
	w.ended = true
	if w.m.onCommit != nil {
		if err := w.m.onCommit(w.ctx, w.index); err != nil {
			return err
		}
	}
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.m.chunks[w.index] = w.blocks
	w.m.committed[w.index] = true
	return nil
}

func (w *memoryWriter) Abort() {
	if !w.ended {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		w.m.aborted[w.index] = true
	}
}

func (m *memory) open(ctx context.Context, i int, first, count int64) (ShardReader, error) {
	if m.onRead != nil {
		if err := m.onRead(ctx, i, -1); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.committed[i] {
		return nil, errMissing
	}
	r := &memoryReader{m: m, ctx: ctx, index: i, blocks: m.chunks[i], next: first, end: first + count}
	if m.inRuns {
		return &memoryRunReader{memoryReader: r}, nil
	}
	return r, nil
}

// memoryRunReader fills every buffer, as long as nothing is wrong.
type memoryRunReader struct {
	*memoryReader
	err error // of the block after a run
}

func (r *memoryRunReader) NextRun(buf []byte, dst [][]byte) ([][]byte, error) {
	r.m.mu.Lock()
	r.m.runs[r.index]++
	r.m.mu.Unlock()
	had := len(dst)
	for ; r.err == nil && len(buf) > 0; buf = buf[layout.BlockRoom:] {
		var n int
		if n, r.err = r.Next(buf); r.err == nil {
			dst = append(dst, buf[:n])
		}
	}
	if len(dst) > had {
		return dst, nil
	}
	return dst, r.err
}

type memoryReader struct {
	m         *memory
	ctx       context.Context
	index     int
	blocks    [][]byte
	next, end int64
}

func (r *memoryReader) Next(buf []byte) (int, error) {
	if r.next == r.end || r.next >= int64(len(r.blocks)) {
		return 0, io.EOF
	}
	if r.m.onRead != nil {
		if err := r.m.onRead(r.ctx, r.index, r.next); err != nil {
			return 0, err
		}
	}
	r.m.mu.Lock()
	r.m.reads[r.index] = append(r.m.reads[r.index], r.next)
	r.m.mu.Unlock()
	clear(buf[:layout.BlockSize]) // a reader may use all of the buffer
	r.next++
	return copy(buf, r.blocks[r.next-1]), nil
}

func (r *memoryReader) Close() error { return nil }

// lose makes exactly the chunks in the mask missing.
func (m *memory) lose(s layout.Scheme, mask uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range s.Total() {
		m.committed[i] = mask&(1<<i) == 0
	}
}

// store writes body and commits it.
func store(t testing.TB, e *Engine, m *memory, s layout.Scheme, body []byte) uint32 {
	t.Helper()
	p, err := e.NewEncoder(bytes.NewReader(body)).Write(t.Context(), Sink{Scheme: s, Create: m.create})
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	durable, err := p.Commit()
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return durable
}

// load reads a range and checks every byte of it.
func load(t testing.TB, e *Engine, m *memory, s layout.Scheme, body []byte, offset, length int64) error {
	t.Helper()
	src := Source{Scheme: s, Size: int64(len(body)), Open: m.open}
	r, err := e.Open(t.Context(), src, offset, length)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	want := body[offset : offset+length]
	switch {
	case err != nil && !bytes.HasPrefix(want, got):
		t.Errorf("range %d+%d: wrong bytes before the error", offset, length)
	case err == nil && !bytes.Equal(got, want):
		t.Errorf("range %d+%d: got %d bytes that differ from the %d wanted", offset, length, len(got), len(want))
	}
	return err
}

func mustParse(t testing.TB, s string) layout.Scheme {
	t.Helper()
	sc, err := layout.ParseScheme(s)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

var testSchemes = []string{"1+1", "1+2", "2+1", "2+2", "3+2", "4+2", "8+3"}

// boundarySizes are the sizes around every boundary of a scheme.
func boundarySizes(s layout.Scheme) []int {
	k, stripe := int(s.Data), s.StripeSize()
	set := map[int]bool{}
	for _, at := range []int{1, k, layout.BlockSize, stripe, stripe + layout.BlockSize, 2 * stripe, 3*stripe + k} {
		for _, n := range []int{at - 1, at, at + 1} {
			if n > 0 {
				set[n] = true
			}
		}
	}
	var sizes []int
	for n := range set {
		sizes = append(sizes, n)
	}
	return sizes
}

func describe(s string, n int) string { return fmt.Sprintf("%s of %d bytes", s, n) }
