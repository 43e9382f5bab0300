package repair

import (
	"bytes"
	"slices"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/internal/vfs"
)

// driveBench is a healBench one of whose stores is on a drive, where chunks can
// be damaged in every way a drive does it.
type driveBench struct {
	*healBench
	fs   *vfs.Mem
	disk *chunkstore.Disk
}

// onDrive is the store of a driveBench that is on a drive.
const onDrive = 3

func newDriveBench(t *testing.T) *driveBench {
	b := &driveBench{healBench: newHealBench(t), fs: vfs.NewMem()}
	b.open()
	t.Cleanup(func() { _ = b.disk.Close() }) // nothing is written any more
	return b
}

// open opens the store on the drive, again if it was open before.
func (b *driveBench) open() {
	b.t.Helper()
	if b.disk != nil {
		if err := b.disk.Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	var err error
	b.disk, err = chunkstore.OpenDisk(chunkstore.DiskConfig{FS: b.fs, Dir: "/store", Cluster: layout.ClusterID{1}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.stores[onDrive].Replacer = b.disk
}

// chunk is the chunk of a part on the drive, and its label as it lies there.
func (b *driveBench) chunk(part int) (id layout.ChunkID, label []byte) {
	b.t.Helper()
	l := b.parts[part].Layout
	id = l.Chunk(slices.Index(l.Slots, onDrive))
	info, err := b.disk.Stat(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return id, chunkstore.NewSeal(id).AppendChecksum(info.Label, chunkstore.LabelNumber, info.Label)
}

// spans are where a chunk of one record lies in a file.
type spans struct{ block, label, header, record [2]int }

func (b *driveBench) locate(file []byte, part int) spans {
	b.t.Helper()
	id, label := b.chunk(part)
	r, err := b.disk.Open(b.t.Context(), id, 0, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, layout.BlockSize)
	n, err := r.Next(buf)
	if err != nil {
		b.t.Fatal(err)
	}
	from, at := bytes.Index(file, buf[:n]), bytes.Index(file, label)
	if from < 0 || at < from {
		b.t.Fatalf("chunk %s is at %d, its label at %d", id, from, at)
	}
	end := at + len(label) + 64
	return spans{block: [2]int{from, from + n}, label: [2]int{at, at + len(label)}, header: [2]int{end - 64, end}, record: [2]int{from, end}}
}

// spoil changes the only segment with chunks in place.
func (b *driveBench) spoil(change func(file []byte) []byte) {
	b.t.Helper()
	chunkstoretest.SetSegment(b.t, b.fs, "/store", change(chunkstoretest.Segment(b.t, b.fs, "/store")))
}

// Whatever is wrong with a chunk, one scrub and one pass of the healer find it
// and mend it, and the next ones find nothing: neither in a store that was open
// nor in one that was opened afterwards.
func TestEveryKindOfDamageIsHealedOnce(t *testing.T) {
	r := testrand.New(t)
	flip := func(at func(spans) [2]int) func(b *driveBench, file []byte) []byte {
		return func(b *driveBench, file []byte) []byte {
			span := at(b.locate(file, 1))
			file[span[0]+r.IntN(span[1]-span[0])] ^= 1 << r.IntN(8)
			return file
		}
	}
	for name, damage := range map[string]func(b *driveBench, file []byte) []byte{
		"block flipped":  flip(func(s spans) [2]int { return s.block }),
		"label flipped":  flip(func(s spans) [2]int { return s.label }),
		"header flipped": flip(func(s spans) [2]int { return s.header }),
		"cut":            func(b *driveBench, file []byte) []byte { return file[:b.locate(file, 1).block[0]+100] },
		"stale": func(b *driveBench, file []byte) []byte { // as if it had never been written
			span := b.locate(file, 1).record
			clear(file[span[0]:span[1]])
			return file
		},
		"swapped": func(b *driveBench, file []byte) []byte {
			one, other := b.locate(file, 1).block, b.locate(file, 2).block
			saved := bytes.Clone(file[one[0]:one[1]])
			copy(file[one[0]:one[1]], file[other[0]:other[1]])
			copy(file[other[0]:other[1]], saved)
			return file
		},
		"foreign": func(b *driveBench, file []byte) []byte {
			one, other := b.locate(file, 1).record, b.locate(file, 2).record
			copy(file[one[0]:one[1]], file[other[0]:other[1]])
			return file
		},
		"foreign header": func(b *driveBench, file []byte) []byte {
			one, other := b.locate(file, 1).header, b.locate(file, 2).header
			copy(file[one[0]:one[1]], file[other[0]:other[1]])
			return file
		},
	} {
		for _, reopened := range []bool{false, true} {
			if reopened {
				name += ", opened again"
			}
			t.Run(name, func(t *testing.T) {
				b := newDriveBench(t)
				for range 4 {
					b.put(r, 70_000)
				}
				b.spoil(func(file []byte) []byte { return damage(b, file) })
				if reopened {
					b.open()
				}
				scrub := b.scrub(onDrive, ScrubState{}, func(ScrubState) {})
				if err := scrub.pass(t.Context()); err != nil {
					t.Fatal(err)
				}
				found := scrub.State().Damaged
				healed := b.sweep(onDrive)
				if healed.Recorded+healed.Left > 0 || found+healed.Rebuilt == 0 {
					t.Errorf("%d found, %+v", found, healed)
				}
				b.checkWhole(r)
				if err := scrub.pass(t.Context()); err != nil || scrub.State().Damaged != found {
					t.Errorf("a second scrub found %d more, %v", scrub.State().Damaged-found, err)
				}
				if healed := b.sweep(onDrive); healed != (Healed{Chunks: 4}) {
					t.Errorf("a second pass: %+v", healed)
				}
			})
		}
	}
}
