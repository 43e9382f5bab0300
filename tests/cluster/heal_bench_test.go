package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testcluster"
	"partstore/node"
	"partstore/node/repair"
)

// How fast a store that came back empty is filled, without a throttle: chunks a
// second, and that by what the drives can do, which is to read k chunks and make one
// durable, with no network, no registry and no coding.
func BenchmarkHeal(b *testing.B) {
	for _, part := range []struct{ size, count int }{{64 << 10, 4000}, {1 << 20, 2000}, {8 << 20, 400}} {
		b.Run(fmt.Sprintf("part=%dKiB", part.size>>10), func(b *testing.B) {
			for b.Loop() {
				drives := driveRate(b, scheme.ChunkSize(int64(part.size)))
				healed := healRate(b, part.size, part.count)
				b.ReportMetric(healed, "chunks/s")
				b.ReportMetric(healed/drives, "of-drives")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// healRate stores parts, empties one store of six, and returns how many chunks a
// second come back.
func healRate(b *testing.B, size, count int) float64 {
	c := testcluster.Start(b, 6, scheme, func(cfg *node.Config) {
		cfg.HealInterval, cfg.HealBandwidth = 50*time.Millisecond, 1<<40
	})
	c.Must(c.Client(1).CreateBucket(b.Context(), bucket), "create bucket")
	var next atomic.Int64
	inParallel(func() {
		for i := next.Add(1); i <= int64(count); i = next.Add(1) {
			key, body := fmt.Sprint("part-", i), payload(uint64(i), size)
			c.Must(c.Client(1+int(i)%6).PutObject(b.Context(), bucket, key, bytes.NewReader(body), int64(size)))
		}
	})
	for i := 1; i <= count; i++ {
		c.Await("all is whole", func() error { return whole(c, 1, fmt.Sprint("part-", i)) })
	}
	const emptied = 6
	c.Must(c.Stop(emptied))
	lost := len(empty(c, emptied))
	c.Must(c.Start(emptied))
	c.WaitReady()
	var took float64
	c.Await("the store is full again", func() error {
		nodes, err := adminOf(c, emptied).Nodes(b.Context())
		if err != nil {
			return err
		}
		for _, n := range nodes.Nodes {
			if n.Name == fmt.Sprintf("node%d", emptied) && n.Heal != nil && n.Heal.AllRebuilt >= lost {
				took = n.Heal.RebuildSeconds
				return nil
			}
		}
		return fmt.Errorf("%d chunks are missing", lost)
	})
	c.Must(c.Close())
	return float64(lost) / took
}

// driveRate is how many chunks of a size a second are made durable in a store of
// their own, each after k others have been read.
func driveRate(b *testing.B, size int64) float64 {
	count := max(100, min(4000, 256<<20/size))
	disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: filepath.Join(b.TempDir(), "store"), Cluster: layout.NewClusterID()})
	if err != nil {
		b.Fatal(err)
	}
	block := payload(1, layout.BlockSize)
	id := func(i int64) (c layout.ChunkID) {
		binary.BigEndian.PutUint64(c.Attempt[:], uint64(i))
		return c
	}
	write := func(i int64) error {
		w, err := disk.Create(b.Context(), id(i), nil)
		if err != nil {
			return err
		}
		defer w.Abort()
		for left := size; left > 0; left -= min(left, layout.BlockSize) {
			if err := w.WriteBlock(block[:min(left, layout.BlockSize)]); err != nil {
				return err
			}
		}
		return w.Commit()
	}
	var next atomic.Int64
	run := func(until int64, each func(int64) error) {
		inParallel(func() {
			for i := next.Add(1); i <= until; i = next.Add(1) {
				if err := each(i); err != nil {
					b.Error(err)
					return
				}
			}
			next.Add(-1)
		})
	}
	run(count, write)
	began := time.Now()
	run(2*count, func(i int64) error {
		var err error
		for j := range int64(scheme.Data) {
			err = errors.Join(err, repair.Verify(b.Context(), disk, id(1+(i+j*37)%count), size))
		}
		return errors.Join(err, write(i))
	})
	took := time.Since(began).Seconds()
	if err := disk.Close(); err != nil {
		b.Error(err)
	}
	return float64(count) / took
}

// What clients feel of a heal within the default bandwidth: the 99th percentile of
// PUTs while the chunks of one node of seven are made anew on all others, by that
// before.
func BenchmarkPutsDuringAHeal(b *testing.B) {
	const size, count, lost = 64 << 10, 6000, 7
	for b.Loop() {
		c := testcluster.Start(b, lost, scheme, func(cfg *node.Config) { cfg.OutGrace = time.Second })
		c.Must(c.Client(1).CreateBucket(b.Context(), bucket), "create bucket")
		var next atomic.Int64
		puts := func(goOn func() bool) (p99 time.Duration) {
			var mu sync.Mutex
			var took []time.Duration
			inParallel(func() {
				for goOn() {
					i := next.Add(1)
					key, body, began := fmt.Sprint("part-", i), payload(uint64(i), size), time.Now()
					c.Must(c.Client(1+int(i)%(lost-1)).PutObject(b.Context(), bucket, key, bytes.NewReader(body), size))
					mu.Lock()
					took = append(took, time.Since(began))
					mu.Unlock()
				}
			})
			slices.Sort(took)
			return took[len(took)*99/100]
		}
		puts(func() bool { return next.Load() < count/2 })
		healthy := puts(func() bool { return next.Load() < count })
		c.Must(c.Kill(lost))
		c.Await("the node is given up", func() error {
			s, err := adminOf(c, 1).Status(b.Context())
			if err == nil && s.Groups.Moving == 0 {
				err = errors.New("no slot moves")
			}
			return err
		})
		var over atomic.Bool
		began := time.Now()
		go func() {
			defer over.Store(true)
			c.Await("the slots are settled", func() error {
				s, err := adminOf(c, 1).Status(b.Context())
				if err == nil && s.Groups.Moving > 0 {
					err = fmt.Errorf("%d slots move", s.Groups.Moving)
				}
				return err
			})
		}()
		during := puts(func() bool { return !over.Load() })
		b.ReportMetric(during.Seconds()/healthy.Seconds(), "p99-of-healthy")
		b.ReportMetric(healthy.Seconds()*1000, "ms-p99-healthy")
		b.ReportMetric(time.Since(began).Seconds(), "s-heal")
		c.Must(c.Close())
	}
	b.ReportMetric(0, "ns/op")
}

// inParallel calls do in eight goroutines and waits for them.
func inParallel(do func()) {
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(do)
	}
	workers.Wait()
}
