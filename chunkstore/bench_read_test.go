package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// BenchmarkChecksum verifies blocks, more of them than a CPU's cache holds.
func BenchmarkChecksum(b *testing.B) {
	const blocks = 1024
	seal := NewSeal(layout.ChunkID{Attempt: layout.NewAttemptID(1, 1, 1)})
	payload := make([]byte, blocks*layout.BlockSize)
	var sums [blocks][]byte
	block := func(i int) []byte { return payload[i*layout.BlockSize:][:layout.BlockSize] }
	for i := range sums {
		sums[i] = seal.AppendChecksum(nil, int64(i), block(i))
	}
	b.SetBytes(layout.BlockSize)
	before := cpuTime(b)
	for n := 0; b.Loop(); n++ {
		if err := seal.Verify(int64(n%blocks), block(n%blocks), sums[n%blocks]); err != nil {
			b.Fatal(err)
		}
	}
	reportCPU(b, cpuTime(b)-before, layout.BlockSize)
}

// BenchmarkRead reads whole chunks that the page cache may hold, and verifies
// them.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{64 << 10, 2 << 20} {
		b.Run(fmt.Sprintf("size=%dKiB", size>>10), func(b *testing.B) {
			d, err := OpenDisk(DiskConfig{FS: vfs.OS{}, Dir: b.TempDir(), Cluster: layout.NewClusterID()})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			var ids []layout.ChunkID
			block := make([]byte, layout.BlockSize)
			for n := range 32 {
				ids = append(ids, layout.ChunkID{Attempt: layout.NewAttemptID(1, 1, uint64(n))})
				w, err := d.Create(b.Context(), ids[n], nil)
				if err != nil {
					b.Fatal(err)
				}
				for range size / layout.BlockSize {
					if err := w.WriteBlock(block); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size))
			before := cpuTime(b)
			for n := 0; b.Loop(); n++ {
				if err := readChunk(b, d, ids[n%len(ids)], block); err != nil {
					b.Fatal(err)
				}
			}
			reportCPU(b, cpuTime(b)-before, size)
		})
	}
}

func readChunk(b *testing.B, d *Disk, id layout.ChunkID, buf []byte) error {
	r, err := d.Open(b.Context(), id, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		if _, err := r.Next(buf); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
