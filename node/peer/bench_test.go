package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// cpuTime is the CPU time this process has used, for both ends of the wire.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmark(b *testing.B, size, callers int, do func() error) {
	b.SetBytes(int64(size))
	b.SetParallelism((callers + 1) / 2)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	used := cpuTime(b) - before
	b.ReportMetric(used.Seconds()/(float64(b.N)*float64(size)/(1<<30)), "cpu-s/GiB")
}

func writeChunk(b *testing.B, s chunkstore.Store, id layout.ChunkID, blocks int, block []byte) error {
	w, err := s.Create(b.Context(), id, block[:200])
	if err != nil {
		return err
	}
	defer w.Abort()
	for range blocks {
		if err := w.WriteBlock(block); err != nil {
			return err
		}
	}
	return w.Commit()
}

// sink is a store that verifies and forgets, so that the wire is measured and
// not the memory behind it.
type sink struct{ chunkstore.Store }

type sinkWriter struct {
	chunkstore.Writer
	seal  chunkstore.Seal
	block int64
	room  [chunkstore.MaxFrameSize + chunkstore.FrameSpare]byte
}

func (sink) Create(_ context.Context, id layout.ChunkID, _ []byte) (chunkstore.Writer, error) {
	return &sinkWriter{seal: chunkstore.NewSeal(id)}, nil
}

func (w *sinkWriter) WriteFrame(size int, read func([]byte) error) error {
	room := w.room[:size+chunkstore.FrameSpare]
	if err := read(room); err != nil {
		return err
	}
	_, err := w.seal.Payload(w.block, room[:size])
	w.block++
	return err
}

func (w *sinkWriter) Commit() error { return nil }
func (w *sinkWriter) Abort()        {}

func BenchmarkWrite(b *testing.B) {
	for _, bench := range []struct {
		blocks, callers int
		tls             bool
	}{{1, 32, false}, {21, 1, false}, {21, 8, false}, {21, 32, false}, {256, 8, false}, {1, 32, true}, {256, 8, true}} {
		size := bench.blocks * layout.BlockSize
		b.Run(fmt.Sprintf("size=%dKiB/callers=%d/tls=%t", size>>10, bench.callers, bench.tls), func(b *testing.B) {
			s := remote(b, sink{}, bench.tls)
			block := make([]byte, layout.BlockSize)
			var sequence atomic.Uint64
			benchmark(b, size, bench.callers, func() error {
				id := layout.ChunkID{Attempt: layout.NewAttemptID(1, 1, sequence.Add(1))}
				return writeChunk(b, s, id, bench.blocks, block)
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, bench := range []struct {
		blocks, callers int
		tls             bool
		run             int // blocks at a time; 0: one, without a run
	}{
		{1, 32, false, 0}, {1, 32, false, 1}, {21, 8, false, 0}, {21, 8, false, 4}, {256, 8, false, 0}, {256, 8, false, 2}, {256, 8, false, 4},
		{1, 32, true, 1}, {256, 8, true, 0}, {256, 8, true, 4},
	} {
		size := bench.blocks * layout.BlockSize
		b.Run(fmt.Sprintf("size=%dKiB/callers=%d/tls=%t/run=%d", size>>10, bench.callers, bench.tls, bench.run), func(b *testing.B) {
			memory := chunkstore.NewMemory()
			s := remote(b, memory, bench.tls)
			id := layout.ChunkID{Attempt: layout.NewAttemptID(1, 1, 1)}
			if err := writeChunk(b, memory, id, bench.blocks, make([]byte, layout.BlockSize)); err != nil {
				b.Fatal(err)
			}
			buffers := sync.Pool{New: func() any {
				buf := make([]byte, max(1, bench.run)*layout.BlockRoom)
				return &buf
			}}
			benchmark(b, size, bench.callers, func() error {
				buf := buffers.Get().(*[]byte)
				defer buffers.Put(buf)
				return readChunk(b, s, id, int64(bench.blocks), *buf, bench.run > 0)
			})
		})
	}
}

func readChunk(b *testing.B, s chunkstore.Store, id layout.ChunkID, blocks int64, buf []byte, runs bool) error {
	r, err := s.Open(b.Context(), id, 0, blocks)
	if err != nil {
		return err
	}
	defer r.Close()
	var shards [8][]byte
	for err == nil {
		if runs {
			_, err = r.(chunkstore.RunReader).NextRun(buf, shards[:0])
		} else {
			_, err = r.Next(buf)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
