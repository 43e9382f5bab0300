package chunkstore

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// pageCacheOnly is an OS without direct writes.
type pageCacheOnly struct{ vfs.OS }

func (f pageCacheOnly) Create(name string, _ vfs.Mode) (vfs.File, error) {
	return f.OS.Create(name, vfs.Buffered)
}

// cpuTime is the CPU time this process has used.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU adds what b.N chunks of size bytes cost.
func reportCPU(b *testing.B, used time.Duration, size int) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chunks/s")
	b.ReportMetric(used.Seconds()*1e6/float64(b.N), "cpu-µs/chunk")
	b.ReportMetric(used.Seconds()/(float64(b.N)*float64(size)/(1<<30)), "cpu-s/GiB")
}

// BenchmarkAppend writes whole chunks durably, many at a time. Run it on the
// drive in question: TMPDIR says where. A file per chunk is what to compare with.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10, 2 << 20} {
		for _, writers := range []int{1, 8, 32} {
			for _, kind := range []struct {
				name string
				open func(b *testing.B) func(id layout.ChunkID, frames [][]byte) error
			}{{"direct", segmentsOn(vfs.OS{})}, {"buffered", segmentsOn(pageCacheOnly{})}, {"files", filePerChunk}} {
				b.Run(fmt.Sprintf("size=%dKiB/writers=%d/%s", size>>10, writers, kind.name), func(b *testing.B) {
					benchmarkAppend(b, kind.open(b), size, writers)
				})
			}
		}
	}
}

func benchmarkAppend(b *testing.B, write func(id layout.ChunkID, frames [][]byte) error, size, writers int) {
	var sequence atomic.Uint64
	b.SetBytes(int64(size))
	var wg sync.WaitGroup
	b.ResetTimer()
	before := cpuTime(b)
	for range writers {
		wg.Go(func() {
			block := make([]byte, layout.BlockSize)
			frames := make([][]byte, size/layout.BlockSize)
			for n := sequence.Add(1); n <= uint64(b.N); n = sequence.Add(1) {
				id := layout.ChunkID{Attempt: layout.NewAttemptID(1, 1<<20, n)}
				for i := range frames {
					frames[i] = NewSeal(id).AppendFrame(frames[i][:0], int64(i), block)
				}
				if err := write(id, frames); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	reportCPU(b, cpuTime(b)-before, size)
}

func segmentsOn(fsys vfs.FS) func(b *testing.B) func(layout.ChunkID, [][]byte) error {
	return func(b *testing.B) func(layout.ChunkID, [][]byte) error {
		d, err := OpenDisk(DiskConfig{FS: fsys, Dir: b.TempDir(), Cluster: layout.NewClusterID()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := d.Close(); err != nil {
				b.Error(err)
			}
		})
		label := make([]byte, 200)
		return func(id layout.ChunkID, frames [][]byte) error {
			w, err := d.Create(b.Context(), id, label)
			if err != nil {
				return err
			}
			defer w.Abort()
			for _, frame := range frames {
				if err := w.(FrameWriter).WriteFrame(len(frame), func(room []byte) error { copy(room, frame); return nil }); err != nil {
					return err
				}
			}
			return w.Commit()
		}
	}
}

// filePerChunk is the simplest durable store there is: write a temporary file,
// sync it, rename it, sync the directory.
func filePerChunk(b *testing.B) func(layout.ChunkID, [][]byte) error {
	dir := b.TempDir()
	return func(id layout.ChunkID, frames [][]byte) error {
		name := filepath.Join(dir, id.String())
		f, err := os.Create(name + ".tmp")
		if err != nil {
			return err
		}
		defer f.Close()
		for _, frame := range frames {
			if _, err := f.Write(frame); err != nil {
				return err
			}
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := os.Rename(name+".tmp", name); err != nil {
			return err
		}
		return vfs.OS{}.SyncDir(dir)
	}
}
