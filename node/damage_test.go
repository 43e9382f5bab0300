package node

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/internal/vfs"
	"partstore/metadata"
	"partstore/node/erasure"
	"partstore/node/qingstor"
)

// drive is a store on a drive of its own, with one segment.
type drive struct {
	*chunkstore.Disk
	fs    *vfs.Mem
	sound []byte      // the segment before any damage
	gone  atomic.Bool // every chunk is; reads that ended may still look
}

const driveDir = "/store"

// blocks returns where the blocks of a chunk, with their checksums, lie in the
// sound segment.
func (d *drive) blocks(t *testing.T, id layout.ChunkID) (spans [][2]int) {
	t.Helper()
	r, err := d.Open(t.Context(), id, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, chunkstore.MaxFrameSize)
	for {
		n, err := r.(chunkstore.FrameReader).NextFrame(buf)
		if errors.Is(err, io.EOF) {
			return spans
		}
		at := bytes.Index(d.sound, buf[:n])
		if err != nil || at < 0 {
			t.Fatalf("block %d of chunk %s is at %d, %v", len(spans), id, at, err)
		}
		spans = append(spans, [2]int{at, at + n})
	}
}

// driveBench is a gateway whose six stores are on drives.
type driveBench struct {
	*gateway
	drives []*drive // of the group's slots
}

func newDriveBench(t *testing.T) *driveBench {
	b := &driveBench{}
	view := &layout.View{Scheme: layout.Scheme{Data: 4, Parity: 2}, Stores: map[layout.StoreID]layout.StoreState{}}
	group := layout.Group{ID: 0, Epoch: 1}
	stores := map[layout.StoreID]*drive{}
	for range view.Scheme.Total() {
		d := &drive{fs: vfs.NewMem()}
		var err error
		d.Disk, err = chunkstore.OpenDisk(chunkstore.DiskConfig{FS: d.fs, Dir: driveDir, Cluster: layout.ClusterID{1}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() }) // nothing is written any more
		b.drives, stores[d.ID()] = append(b.drives, d), d
		group.Slots = append(group.Slots, d.ID())
		view.Stores[d.ID()] = layout.StoreState{ID: d.ID(), Alive: true, Up: true}
	}
	view.Groups = []layout.Group{group}
	log := slog.New(slog.DiscardHandler)
	b.gateway = &gateway{
		engine: erasure.New(erasure.Config{Hedge: time.Hour, Stall: time.Hour}), view: func() *layout.View { return view },
		store: func(id layout.StoreID) (chunkstore.Store, error) {
			if stores[id].gone.Load() {
				return chunkstore.NewMemory(), nil
			}
			return stores[id], nil
		},
		attempts: &attempts{now: func() layout.RegistryTime { return 1 }}, avoid: func(layout.StoreID, error) {},
		avoidReads: newAvoidance(nil, nil, log), now: time.Now, log: log,
		suspect: func(layout.UploadID, metadata.Part, int, error) {},
	}
	b.attempts.incarnation.Store(1)
	t.Cleanup(func() { _ = b.engine.Close() }) // waits, and never fails
	return b
}

func (b *driveBench) put(t *testing.T, body []byte) metadata.Part {
	t.Helper()
	p, err := b.storePayload(t.Context(), qingstor.Payload{Body: bytes.NewReader(body), Size: int64(len(body))}, label{number: 1})
	if err != nil || p.Layout.DurableCount() != len(b.drives) {
		t.Fatalf("put = %b durable, %v", p.Layout.Durable, err)
	}
	return p
}

func (b *driveBench) get(t *testing.T, p metadata.Part) ([]byte, error) {
	r, err := b.openPiece(t.Context(), piece{part: p, length: p.Size})
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(r)
	return got, errors.Join(err, r.Close())
}

// damagedDrive is a drive's segment, and the blocks that a damage may use.
type damagedDrive struct {
	rnd     *rand.Rand
	file    []byte
	at      int      // where the block to be spoilt begins
	block   []byte   // the block to be spoilt
	chunk   [][]byte // all blocks of the chunk
	next    []byte   // another block of the chunk
	stale   []byte   // the same block of an attempt at the same part before
	foreign [][]byte // the blocks of a chunk of the part that is on another drive
	gone    bool     // every chunk on the drive is
}

// damages are the ways in which drives lose what was entrusted to them. Each
// spoils one block of the chunk at least.
var damages = []struct {
	name string
	do   func(d *damagedDrive)
}{
	{"flipped", func(d *damagedDrive) { d.block[d.rnd.IntN(len(d.block))] ^= 1 << d.rnd.IntN(8) }},
	{"zeroed", func(d *damagedDrive) { clear(d.block) }},
	{"zeroed in full", func(d *damagedDrive) {
		for _, b := range d.chunk {
			clear(b)
		}
	}},
	{"cut off", func(d *damagedDrive) { d.file = d.file[:d.at+d.rnd.IntN(len(d.block))] }},
	{"cut short", func(d *damagedDrive) { d.file = slices.Delete(d.file, d.at, d.at+vfs.Align) }},
	{"extended", func(d *damagedDrive) { d.file = slices.Insert(d.file, d.at, make([]byte, vfs.Align)...) }},
	{"repeated", func(d *damagedDrive) { d.file = slices.Insert(d.file, d.at, d.file[:vfs.Align]...) }},
	{"misplaced", func(d *damagedDrive) { copy(d.block, d.next) }},
	{"swapped", func(d *damagedDrive) {
		saved := bytes.Clone(d.block)
		copy(d.block, d.next)
		copy(d.next, saved)
	}},
	{"stale", func(d *damagedDrive) { copy(d.block, d.stale) }},
	{"foreign", func(d *damagedDrive) { copy(d.block, d.foreign[0]) }},
	{"all foreign", func(d *damagedDrive) {
		for i, b := range d.chunk {
			copy(b, d.foreign[i])
		}
	}},
	{"gone", func(d *damagedDrive) { d.gone = true }},
}

// However many chunks of a part are damaged, and in whatever way: if they are as
// many as its scheme has parity the part is read exactly, and if they are more
// the read ends with an error, after nothing but right bytes.
func TestDamagedChunksNeverSpoilAPart(t *testing.T) {
	rnd := testrand.New(t)
	b := newDriveBench(t)
	random := func(size int) []byte {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rnd.Uint32())
		}
		return body
	}
	const size = 4*2*layout.BlockSize + 100_000 // two full stripes, and a narrower one
	older := b.put(t, random(size))
	body := random(size)
	part := b.put(t, body)
	blocks := func(p metadata.Part) (of [][][2]int) {
		for slot, d := range b.drives {
			of = append(of, d.blocks(t, p.Layout.Chunk(slices.Index(p.Layout.Slots, uint8(slot)))))
		}
		return of
	}
	for _, d := range b.drives {
		d.sound = chunkstoretest.Segment(t, d.fs, driveDir)
	}
	chunks, stale := blocks(part), blocks(older)

	// spoil damages the chunk in a slot, in a block of one of the full stripes.
	spoil := func(slot, stripe, kind int) {
		drive := b.drives[slot]
		d := &damagedDrive{rnd: rnd, file: bytes.Clone(drive.sound), at: chunks[slot][stripe][0]}
		in := func(file []byte, span [2]int) []byte { return file[span[0]:span[1]:span[1]] }
		other := (slot + 1 + rnd.IntN(len(b.drives)-1)) % len(b.drives)
		for i, span := range chunks[slot] {
			d.chunk = append(d.chunk, in(d.file, span))
			d.foreign = append(d.foreign, in(b.drives[other].sound, chunks[other][i]))
		}
		d.block, d.next, d.stale = d.chunk[stripe], d.chunk[1-stripe], in(d.file, stale[slot][stripe])
		damages[kind].do(d)
		chunkstoretest.SetSegment(t, drive.fs, driveDir, d.file)
		drive.gone.Store(d.gone)
	}
	for which := range uint(1) << len(b.drives) { // the damaged chunks
		if n := bits.OnesCount(which); n > 3 && n < len(b.drives) {
			continue // like three
		}
		for kind := range len(damages) + 1 { // the last: a kind for each
			name, stripe := "mixed:", rnd.IntN(2)
			if kind < len(damages) {
				name = damages[kind].name
			}
			for slot, d := range b.drives {
				d.gone.Store(false)
				chunkstoretest.SetSegment(t, d.fs, driveDir, d.sound)
				if which&(1<<slot) == 0 {
					continue
				}
				how := kind
				if kind == len(damages) {
					how = rnd.IntN(len(damages))
					name += " " + damages[how].name
				}
				spoil(slot, stripe, how)
			}
			got, err := b.get(t, part)
			switch damaged := bits.OnesCount(which); {
			case damaged <= 2 && (err != nil || !bytes.Equal(got, body)):
				t.Errorf("chunks %06b %s, stripe %d: %d bytes, right: %t, %v", which, name, stripe, len(got), bytes.Equal(got, body), err)
			case damaged > 2 && (!errors.Is(err, erasure.ErrTooFewShards) || !bytes.HasPrefix(body, got)):
				t.Errorf("chunks %06b %s, stripe %d: %d bytes, right: %t, %v; want ErrTooFewShards", which, name, stripe, len(got), bytes.HasPrefix(body, got), err)
			}
		}
	}
}
