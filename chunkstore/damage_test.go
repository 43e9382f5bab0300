package chunkstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/internal/vfs"
)

const unit = vfs.Align

// damage is one way to spoil a segment.
type damage struct {
	name  string
	spoil func(file []byte) []byte
}

// damages lists ways to spoil a segment, which need not reach a chunk.
func damages(file []byte, rng *rand.Rand) []damage {
	var list []damage
	add := func(spoil func([]byte) []byte, format string, args ...any) {
		list = append(list, damage{fmt.Sprintf(format, args...), spoil})
	}
	size, units := len(file), len(file)/unit
	for range 20 {
		at, bit := rng.IntN(size), byte(1)<<rng.IntN(8)
		add(func(f []byte) []byte { f[at] ^= bit; return f }, "flip %#x at %d", bit, at)
	}
	// Where headers, labels and footers are.
	for n := range units {
		if n%8 != 0 && n < units-3 {
			continue // there are many inside of blocks
		}
		for range 2 {
			at, bit := (n+1)*unit-1-rng.IntN(200), byte(1)<<rng.IntN(8)
			add(func(f []byte) []byte { f[at] ^= bit; return f }, "flip %#x at %d", bit, at)
		}
		add(func(f []byte) []byte { clear(f[n*unit:][:unit]); return f }, "zero unit %d", n)
		add(func(f []byte) []byte { return f[:n*unit] }, "cut to %d units", n)
	}
	for range 6 {
		length := rng.IntN(size)
		add(func(f []byte) []byte { return f[:length] }, "cut to %d", length)
		a, b := rng.IntN(units), rng.IntN(units)
		add(func(f []byte) []byte { copy(f[a*unit:][:unit], f[b*unit:][:unit]); return f }, "unit %d as unit %d", b, a)
		add(func(f []byte) []byte {
			swapped := bytes.Clone(f[a*unit:][:unit])
			copy(f[a*unit:], f[b*unit:][:unit])
			copy(f[b*unit:], swapped)
			return f
		}, "units %d and %d swapped", a, b)
		from := rng.IntN(size)
		to := min(size, from+1+rng.IntN(2*layout.BlockSize))
		add(func(f []byte) []byte { clear(f[from:to]); return f }, "zero %d to %d", from, to)
	}
	for _, more := range []int{1, unit, 17 * unit} {
		add(func(f []byte) []byte { return append(f, make([]byte, more)...) }, "extend by %d zeros", more)
		add(func(f []byte) []byte { return append(f, f[max(0, len(f)-more):]...) }, "repeat the last %d bytes", more)
		add(func(f []byte) []byte { return append(f[:more:more], f...) }, "repeat the first %d bytes", more)
	}
	return list
}

var damageSizes = []int{0, 1, 5000, layout.BlockSize, 3*layout.BlockSize + 7, 9 * layout.BlockSize}

// damagedStore is a closed store with a chunk of each size of damageSizes, and
// one that was deleted.
func damagedStore(t *testing.T) (fsys *vfs.Mem, contents map[layout.ChunkID][]byte, deleted layout.ChunkID) {
	fsys = vfs.NewMem()
	d, err := chunkstore.OpenDisk(crashConfig(fsys, layout.StoreID{}))
	if err != nil {
		t.Fatal(err)
	}
	contents = map[layout.ChunkID][]byte{}
	for n, size := range damageSizes {
		id := chunkstoretest.ID(n)
		contents[id] = chunkstoretest.Content(id, size)
		if err := chunkstoretest.Write(t.Context(), d, id, []byte("a label of some bytes"), contents[id]); err != nil {
			t.Fatal(err)
		}
	}
	deleted = chunkstoretest.ID(len(damageSizes))
	if err := chunkstoretest.Write(t.Context(), d, deleted, nil, []byte("deleted")); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return fsys, contents, deleted
}

func segmentFiles(t *testing.T, fsys vfs.FS) (names []string) {
	t.Helper()
	entries, err := fsys.ReadDir(storeDir + "/segments")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, storeDir+"/segments/"+e.Name)
	}
	return names
}

// overwrite changes the content of a file in place, also for those who have it open.
func overwrite(t *testing.T, fsys vfs.FS, name string, content []byte) {
	t.Helper()
	f, err := fsys.OpenWrite(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(len(content))), f.Sync()); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsNeverServed spoils segments, of an open store and of one that is
// opened afterwards. What a chunk is read as must be exact or an error that
// says so, and chunks out of reach must not suffer.
func TestDamageIsNeverServed(t *testing.T) {
	rng := testrand.New(t)
	fsys, contents, deleted := damagedStore(t)
	for _, name := range segmentFiles(t, fsys) {
		file := readFile(t, fsys, name)
		for _, damage := range damages(file, rng) {
			spoiled := damage.spoil(bytes.Clone(file))
			label := name + ": " + damage.name
			after := fsys.Crash()
			d := openDisk(t, crashConfig(after, layout.StoreID{}))
			overwrite(t, after, name, spoiled)
			checkNeverWrong(t, d, contents, label+", while open", chunkstore.ErrCorrupt)
			d.Close()

			after = fsys.Crash()
			overwrite(t, after, name, spoiled)
			d, err := chunkstore.OpenDisk(crashConfig(after, layout.StoreID{}))
			if err != nil {
				t.Errorf("%s: open: %v", label, err)
				continue
			}
			checkNeverWrong(t, d, contents, label, chunkstore.ErrCorrupt, chunkstore.ErrNotFound)
			if _, err := d.Stat(t.Context(), deleted); !errors.Is(err, chunkstore.ErrNotFound) {
				t.Errorf("%s: deleted chunk = %v", label, err)
			}
			if err := chunkstoretest.Write(t.Context(), d, chunkstoretest.ID(90), nil, []byte("new")); err != nil {
				t.Errorf("%s: write: %v", label, err)
			}
			if err := d.Close(); err != nil {
				t.Errorf("%s: %v", label, err)
			}
		}
	}
}

// checkNeverWrong reads all chunks, as blocks, runs and frames. An error must be
// one of the allowed.
func checkNeverWrong(t *testing.T, d *chunkstore.Disk, contents map[layout.ChunkID][]byte, damage string, allowed ...error) {
	t.Helper()
	for id, want := range contents {
		got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
		checkAllowed(t, damage+": Read of "+id.String(), err, allowed)
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("%s: wrong bytes of chunk %s", damage, id)
		}
		single, singleErr := chunkstoretest.ReadRuns(t.Context(), d, id, 0, -1, 1)
		run, runErr := chunkstoretest.ReadRuns(t.Context(), d, id, 0, -1, 8)
		if !bytes.HasPrefix(want, run) || !bytes.Equal(run, single) || (singleErr == nil) != (err == nil) || (runErr == nil) != (err == nil) {
			t.Errorf("%s: runs of %s = %d bytes, %v, of one block each = %d bytes, %v; blocks = %v", damage, id, len(run), runErr, len(single), singleErr, err)
		}
		checkAllowed(t, damage+": runs of "+id.String(), runErr, allowed)
		if framesErr := readFrames(t, d, id); (framesErr == nil) != (err == nil) {
			t.Errorf("%s: frames of %s = %v, blocks = %v", damage, id, framesErr, err)
		}
		_, err = d.Stat(t.Context(), id)
		checkAllowed(t, damage+": Stat of "+id.String(), err, allowed)
	}
	if _, err := d.List(t.Context(), layout.ChunkID{}, 100); err != nil {
		t.Errorf("%s: List = %v", damage, err)
	}
}

func checkAllowed(t *testing.T, call string, err error, allowed []error) {
	t.Helper()
	if err != nil && !slices.ContainsFunc(allowed, func(a error) bool { return errors.Is(err, a) }) {
		t.Errorf("%s = %v, want one of %v", call, err, allowed)
	}
}

func readFrames(t *testing.T, s chunkstore.Store, id layout.ChunkID) error {
	r, err := s.Open(t.Context(), id, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, chunkstore.MaxFrameSize)
	for {
		_, err := r.(chunkstore.FrameReader).NextFrame(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// TestEveryBitOfABlockCounts flips bits of chunks in an open store: each block
// that is touched is corrupt, and no other.
func TestEveryBitOfABlockCounts(t *testing.T) {
	const blocks = 10
	rng := testrand.New(t)
	fsys := vfs.NewMem()
	d := openMem(t, fsys)
	id := chunkstoretest.ID(1)
	content := chunkstoretest.Content(id, blocks*layout.BlockSize)
	if err := chunkstoretest.Write(t.Context(), d, id, nil, content); err != nil {
		t.Fatal(err)
	}
	name := segmentFiles(t, fsys)[0]
	file := readFile(t, fsys, name)
	for n := range blocks {
		block := content[n*layout.BlockSize:][:layout.BlockSize]
		at := bytes.Index(file, block)
		if at < 0 {
			t.Fatalf("block %d is not in %s", n, name)
		}
		for range 20 {
			spoiled := bytes.Clone(file)
			spoiled[at+rng.IntN(chunkstore.MaxFrameSize)] ^= 1 << rng.IntN(8)
			overwrite(t, fsys, name, spoiled)
			for other := range int64(blocks) {
				_, err := chunkstoretest.Read(t.Context(), d, id, other, 1)
				if damaged := other == int64(n); errors.Is(err, chunkstore.ErrCorrupt) != damaged {
					t.Errorf("block %d is damaged: Read of block %d = %v", n, other, err)
				}
			}
		}
	}
}

// TestMisplacedBytesAreCorrupt exchanges whole pieces of two chunks of one
// shape: everything in them is sound, only not what it should be.
func TestMisplacedBytesAreCorrupt(t *testing.T) {
	const blocks = 12
	fsys := vfs.NewMem()
	d := openMem(t, fsys)
	ids := []layout.ChunkID{chunkstoretest.ID(0), chunkstoretest.ID(1)}
	contents := map[layout.ChunkID][]byte{}
	for _, id := range ids {
		contents[id] = chunkstoretest.Content(id, blocks*layout.BlockSize)
		if err := chunkstoretest.Write(t.Context(), d, id, nil, contents[id]); err != nil {
			t.Fatal(err)
		}
	}
	name := segmentFiles(t, fsys)[0]
	file := readFile(t, fsys, name)
	frame := func(id layout.ChunkID, n int) []byte {
		at := bytes.Index(file, contents[id][n*layout.BlockSize:][:layout.BlockSize])
		return file[at : at+chunkstore.MaxFrameSize]
	}
	for n := range blocks {
		for m := range blocks {
			for _, other := range ids {
				if n == m && other == ids[0] {
					continue
				}
				saved := bytes.Clone(frame(ids[0], n))
				place := frame(ids[0], n)
				copy(place, frame(other, m))
				overwrite(t, fsys, name, file)
				if _, err := chunkstoretest.Read(t.Context(), d, ids[0], int64(n), 1); !errors.Is(err, chunkstore.ErrCorrupt) {
					t.Errorf("block %d of chunk %s in place of block %d: Read = %v", m, other, n, err)
				}
				copy(place, saved)
			}
		}
	}
}

// TestSegmentOfAnotherLife puts back an older copy of a segment, and one of
// another store: nothing in it may pass for what it is not.
func TestSegmentOfAnotherLife(t *testing.T) {
	fsys, contents, deleted := damagedStore(t)
	other, _, _ := damagedStore(t)
	names := segmentFiles(t, fsys)
	for _, tc := range []struct {
		name    string
		content []byte
	}{
		{"of another store", readFile(t, other, names[0])},
		{"of another number", readFile(t, fsys, names[1])},
	} {
		t.Run(tc.name, func(t *testing.T) {
			after := fsys.Crash()
			overwrite(t, after, names[0], tc.content)
			d := openDisk(t, crashConfig(after, layout.StoreID{}))
			checkNeverWrong(t, d, contents, tc.name, chunkstore.ErrCorrupt, chunkstore.ErrNotFound)
			if _, err := d.Stat(t.Context(), deleted); !errors.Is(err, chunkstore.ErrNotFound) {
				t.Errorf("deleted chunk = %v", err)
			}
		})
	}
}
