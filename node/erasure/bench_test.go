package erasure

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"partstore/internal/layout"
)

type discard struct{}

func (discard) WriteBlock([]byte) error { return nil }
func (discard) Commit() error           { return nil }
func (discard) Abort()                  {}

func BenchmarkWrite(b *testing.B) {
	e := New(Config{})
	defer e.Close()
	s := mustParse(b, "4+2")
	body := make([]byte, 64<<20)
	create := func(context.Context, int) (ShardWriter, error) { return discard{}, nil }
	reportCPU(b, len(body), func() {
		p, err := e.NewEncoder(bytes.NewReader(body)).Write(b.Context(), Sink{Scheme: s, Create: create})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Commit(); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for _, tc := range []struct {
		name string
		last uint32
	}{{"healthy", 0}, {"degraded", 0b11}} {
		b.Run(tc.name, func(b *testing.B) {
			e := New(Config{})
			defer e.Close()
			s := mustParse(b, "4+2")
			m := newMemory()
			body := make([]byte, 64<<20)
			store(b, e, m, s, body)
			src := Source{Scheme: s, Size: int64(len(body)), Last: tc.last}
			src.Open = func(_ context.Context, i int, first, count int64) (ShardReader, error) {
				return &zeros{left: count}, nil
			}
			reportCPU(b, len(body), func() {
				r, err := e.Open(b.Context(), src, 0, src.Size)
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close()
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

type zeros struct{ left int64 }

func (z *zeros) Next(buf []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	z.left--
	return layout.BlockSize, nil
}

func (*zeros) Close() error { return nil }

// reportCPU runs f and reports the process's CPU seconds per GiB of payload.
func reportCPU(b *testing.B, size int, f func()) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := cpuTime()
	for b.Loop() {
		f()
	}
	gib := float64(size) * float64(b.N) / (1 << 30)
	b.ReportMetric((cpuTime()-before).Seconds()/gib, "CPU-s/GiB")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
