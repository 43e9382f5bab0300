package metadata

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"partstore/internal/layout"
)

// share runs op b.N times on the given number of callers.
func share(b *testing.B, callers int, op func(i int64) error) {
	b.Helper()
	var next atomic.Int64
	var work sync.WaitGroup
	before := cpuTime()
	b.ResetTimer()
	for range callers {
		work.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := op(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

// cpuTime is what this process has used, all nodes together. Unlike the
// elapsed time it says the same on a busy machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRegistry measures commits of parts, through all nodes alike, and
// linearizable look-ups from a follower, next to plain Raft.
func BenchmarkRegistry(b *testing.B) {
	for _, voters := range []int{3, 5} {
		for _, callers := range []int{1, 16, 32, 128, 512} {
			name := func(what string) string { return fmt.Sprintf("%s/voters=%d/callers=%d", what, voters, callers) }
			b.Run(name("raw"), func(b *testing.B) {
				leader := newRawRaft(b, voters)
				entry := make([]byte, 300)
				share(b, callers, func(int64) error { return leader.Apply(entry, 0).Error() })
			})
			b.Run(name("commit"), func(b *testing.B) {
				c := newBenchCluster(b, voters)
				before := c.nodes[0].Status().CommitIndex
				share(b, callers, func(i int64) error { return c.commit(b.Context(), i) })
				b.ReportMetric(float64(b.N)/float64(c.nodes[0].Status().CommitIndex-before), "ops/entry")
			})
			b.Run(name("look-up"), func(b *testing.B) {
				c := newBenchCluster(b, voters)
				c.lookUp(b, callers)
			})
			b.Run(name("look-up-16-writers"), func(b *testing.B) {
				c := newBenchCluster(b, voters)
				defer c.write(b, 16)()
				c.lookUp(b, callers)
			})
		}
	}
}

// benchCluster is a registry with one open upload.
type benchCluster struct {
	*cluster
	ref UploadRef
	inc layout.Incarnation
}

func newBenchCluster(b *testing.B, voters int) *benchCluster {
	b.Helper()
	c := newCluster(b, voters, nil)
	inc := stock(b, c.nodes[0])
	ref := newUpload(b, c.nodes[0], "b", "k")
	c.leader()
	return &benchCluster{c, ref, inc}
}

// commit commits the i-th attempt through one node after the other.
func (c *benchCluster) commit(ctx context.Context, i int64) error {
	p := testPart(layout.PartNumber(i%10000), 5<<20, layout.NewAttemptID(c.inc, 0, uint64(i)))
	return c.nodes[i%int64(len(c.nodes))].CommitPart(ctx, c.ref, p)
}

// lookUp reads the upload from a follower.
func (c *benchCluster) lookUp(b *testing.B, callers int) {
	b.Helper()
	n := c.follower()
	share(b, callers, func(int64) error {
		_, err := n.Upload(b.Context(), c.ref)
		return err
	})
}

// write keeps writers busy until the returned function is called.
func (c *benchCluster) write(b *testing.B, writers int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var next atomic.Int64
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			for ctx.Err() == nil {
				if err := c.commit(ctx, next.Add(1)); err != nil && ctx.Err() == nil {
					b.Error(err)
					return
				}
			}
		})
	}
	return func() { cancel(); work.Wait() }
}

// BenchmarkApply is the state machine alone, in packs of 64.
func BenchmarkApply(b *testing.B) {
	kinds := map[string]func(s *bench, ref UploadRef, i uint64) command{
		"createUpload": func(_ *bench, ref UploadRef, i uint64) command {
			ref.ID = testUpload(1000 + i)
			return &createUpload{Upload{UploadRef: ref}}
		},
		"commitPart": func(s *bench, ref UploadRef, i uint64) command {
			return commitOf(ref, testPart(layout.PartNumber(i%10000), 5<<20, s.attempt(i)))
		},
		"putObject": func(s *bench, _ UploadRef, i uint64) command {
			return &putObject{PutObject{Bucket: "b", Key: fmt.Sprint(i), ID: testUpload(1000 + i), Part: testPart(0, 1, s.attempt(i))}}
		},
	}
	for name, make := range kinds {
		b.Run(name, func(b *testing.B) {
			s := newStockedBench(b)
			ref := s.open(1, "k")
			before := cpuTime()
			b.ResetTimer()
			for i := 0; i < b.N; i += 64 {
				var commands []command
				for j := range 64 {
					commands = append(commands, make(s, ref, uint64(i+j)))
				}
				s.apply(commands...)
			}
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

// BenchmarkComplete is the state machine's part of a Complete of 10,000 parts,
// the longest step any command has: of all of them, of every second one and of
// one, which makes garbage of the others; and of one as earlier logs have it.
func BenchmarkComplete(b *testing.B) {
	for _, of := range []struct {
		name  string
		step  int // every how manieth part is named
		byRow bool
	}{{name: "all", step: 1}, {name: "half", step: 2}, {name: "one", step: partsPerUpload}, {"one-by-row", partsPerUpload, true}} {
		b.Run(of.name, func(b *testing.B) {
			s := newStockedBench(b)
			cpu := time.Duration(0)
			for n := range b.N {
				b.StopTimer()
				ref := s.open(uint64(n+1), "k")
				complete := CompleteUpload{UploadRef: ref}
				for from := 0; from < partsPerUpload; from += maxPackCommands {
					var commits []command
					for i := from; i < min(partsPerUpload, from+maxPackCommands); i++ {
						commits = append(commits, commitOf(ref, scalePart(i, s.attempt(uint64(n*partsPerUpload+i)))))
					}
					s.apply(commits...)
				}
				for i := 0; i < partsPerUpload; i += of.step {
					complete.Parts = append(complete.Parts, CompletePart{Number: layout.PartNumber(i)})
				}
				before := cpuTime()
				b.StartTimer()
				s.must(&completeUpload{Request: testRequest(uint64(n)), CompleteUpload: complete, byRow: of.byRow})
				cpu += cpuTime() - before
			}
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}
