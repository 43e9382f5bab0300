package metadata

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// shelf is the rows and the snapshots of one node, on a disk in memory.
type shelf struct {
	t         testing.TB
	fs        vfs.FS
	state     *state
	snapshots *snapshotStore
}

func newShelf(t testing.TB, fs vfs.FS) *shelf {
	t.Helper()
	s := &shelf{t: t, fs: fs}
	err := makeDir(fs, "/registry")
	if err != nil {
		t.Fatal(err)
	}
	if s.state, err = openState(fs, "/registry/state", func(err error) { t.Logf("rows: %v", err) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	s.reopenSnapshots()
	return s
}

func (s *shelf) reopenSnapshots() {
	s.t.Helper()
	var err error
	if s.snapshots, err = openSnapshots(s.fs, "/registry/snapshots", slog.New(slog.DiscardHandler)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) close() {
	if err := s.state.close(); err != nil {
		s.t.Errorf("close state: %v", err)
	}
}

// machine is the state machine over the rows there are now.
func (s *shelf) machine() *bench {
	s.t.Helper()
	m, err := openMachine(s.state.current.db)
	if err != nil {
		s.t.Fatal(err)
	}
	return &bench{t: s.t, machine: m, fs: s.fs, index: m.meta.index, now: m.meta.time}
}

// testServers is a configuration for snapshots of rows without a Raft.
var testServers = raft.Configuration{Servers: []raft.Server{{ID: server{testNodeID(1), 1}.id(), Address: server{testNodeID(1), 1}.address()}}}

// take makes a snapshot of the rows.
func (s *shelf) take(index uint64) error {
	sink, err := s.snapshots.create(newManifest(index, 1, testServers, 1))
	if err != nil {
		return err
	}
	if err := sink.checkpoint(s.t.Context(), s.state.current); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// newest opens the newest snapshot.
func (s *shelf) newest() (*raft.SnapshotMeta, *snapshotReader, error) {
	list, err := s.snapshots.List()
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, errors.New("no snapshot")
	}
	_, r, err := s.snapshots.Open(list[0].ID)
	if err != nil {
		return nil, nil, err
	}
	return list[0], r.(*snapshotReader), nil
}

// send streams the newest snapshot into another store, as Raft does; damage
// may change what is on its way.
func (s *shelf) send(to *shelf, damage func([]byte)) error {
	meta, r, err := s.newest()
	if err != nil {
		return err
	}
	defer r.Close()
	sink, err := to.snapshots.Create(1, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		return err
	}
	stream, err := io.ReadAll(r)
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if int64(len(stream)) != meta.Size {
		s.t.Errorf("stream of %d bytes, announced were %d", len(stream), meta.Size)
	}
	if damage != nil {
		damage(stream)
	}
	if _, err := io.CopyBuffer(onlyWriter{sink}, onlyReader{bytes.NewReader(stream)}, make([]byte, 10_007)); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// restore makes the newest snapshot the rows.
func (s *shelf) restore() error {
	meta, r, err := s.newest()
	if err != nil {
		return err
	}
	return errors.Join(s.state.replace(meta.Index, r.linkTo), r.Close())
}

// fill applies commands until there are n more part rows, and returns the
// machine.
func (s *shelf) fill(n int) *bench {
	s.t.Helper()
	b := s.machine()
	if b.index == 0 {
		start, groups := testTopology(1)
		b.must(start)
		b.must(groups)
		b.must(&createBucket{Request: testRequest(3), Bucket: Bucket{Name: "b", Owner: "me"}})
	}
	ref := b.open(1000+b.index, "k")
	for i := range n {
		b.must(commitOf(ref, testPart(layout.PartNumber(i), 1, b.attempt(uint64(i)))))
	}
	return b
}

// What a snapshot holds is what the rows held, on the node that made it and on
// one that got it; what is written later is not in it, or is as a whole.
func TestSnapshotIsTheRows(t *testing.T) {
	a, b := newShelf(t, vfs.NewMem()), newShelf(t, vfs.NewMem())
	for round := range 4 {
		want := a.fill(300)
		hash := want.hash()
		if err := a.take(want.index); err != nil {
			t.Fatalf("round %d: take: %v", round, err)
		}
		a.fill(10)
		if err := a.send(b, nil); err != nil {
			t.Fatalf("round %d: send: %v", round, err)
		}
		for name, s := range map[string]*shelf{"receiver": b, "sender": a} {
			if err := s.restore(); err != nil {
				t.Fatalf("round %d: restore on the %s: %v", round, name, err)
			}
			if got := s.machine(); got.hash() != hash || got.index != want.index {
				t.Errorf("round %d: %s has entry %d and another hash than entry %d had", round, name, got.index, want.index)
			}
		}
		if list, err := a.snapshots.List(); err != nil || len(list) != min(round+1, snapshotsKept) {
			t.Errorf("round %d: %d snapshots kept, %v", round, len(list), err)
		}
	}
	names, err := a.fs.List("/registry/snapshots")
	if err != nil || len(names) != snapshotsKept {
		t.Errorf("left in the directory: %q, %v", names, err)
	}
}

// A snapshot in use outlives those that replace it.
func TestSnapshotIsKeptForItsReaders(t *testing.T) {
	a := newShelf(t, vfs.NewMem())
	if err := a.take(a.fill(1).index); err != nil {
		t.Fatal(err)
	}
	meta, r, err := a.newest()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := a.take(a.fill(1).index); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != meta.Size {
		t.Errorf("read %d bytes of %d, %v", n, meta.Size, err)
	}
	path := a.snapshots.path(r.snapshot)
	if _, err := a.fs.Stat(path); err != nil {
		t.Errorf("%s while it is read: %v", path, err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := a.fs.Stat(path); err == nil {
		t.Errorf("%s is still there", path)
	}
}

// A bit flipped in a snapshot, at rest or on its way, is found before any row
// of it counts, and a snapshot that was found damaged is not offered again.
func TestFlippedBitsInASnapshotAreFound(t *testing.T) {
	const flips = 250 // of each kind
	fs := vfs.NewMem()
	a, r := newShelf(t, fs), testrand.New(t)
	want := a.fill(2000)
	if err := a.take(want.index); err != nil {
		t.Fatal(err)
	}
	before := newShelf(t, vfs.NewMem())
	rows := before.fill(5).hash()
	list, err := a.snapshots.List()
	if err != nil || len(list) != 1 {
		t.Fatalf("List = %v, %v", list, err)
	}
	var files []string
	dir := filepath.Join("/registry/snapshots", list[0].ID)
	for _, sub := range []string{"", rowsDir} {
		names, err := fs.List(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path := filepath.Join(dir, sub, name)
			if info, err := fs.Stat(path); err == nil && !info.IsDir() && info.Size() > 0 {
				files = append(files, path)
			}
		}
	}
	for i := range flips {
		path := files[r.IntN(len(files))]
		data, err := fs.UnsafeGetFileDataBuffer(path)
		if err != nil {
			t.Fatal(err)
		}
		at, bit := r.IntN(len(data)), byte(1)<<r.IntN(8)
		data[at] ^= bit
		a.reopenSnapshots()
		if err := a.send(before, nil); err == nil || !errors.Is(err, ErrDamaged) && path != filepath.Join(dir, manifestName) {
			t.Fatalf("flip %d: bit %#x of byte %d of %s: sending it = %v", i, bit, at, path, err)
		}
		if list, err := a.snapshots.List(); err != nil || len(list) != 0 {
			t.Fatalf("flip %d: byte %d of %s: still offered: %v, %v", i, at, path, list, err)
		}
		a.reopenSnapshots()
		if err := a.restore(); err == nil {
			t.Fatalf("flip %d: bit %#x of byte %d of %s: restored", i, bit, at, path)
		}
		data[at] ^= bit
	}
	a.reopenSnapshots()
	for i := range flips {
		var at int
		err := a.send(before, func(stream []byte) {
			at = r.IntN(len(stream))
			stream[at] ^= 1 << r.IntN(8)
		})
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("flip %d: in byte %d of the stream: %v", i, at, err)
		}
	}
	names, err := before.fs.List("/registry/snapshots")
	if err != nil || len(names) != 0 || before.machine().hash() != rows {
		t.Errorf("refused snapshots left %q, %v", names, err)
	}
	if err := errors.Join(a.send(before, nil), before.restore()); err != nil || before.machine().hash() != want.hash() {
		t.Errorf("intact again: %v", err)
	}
}

// What Raft says about a snapshot has no checksum. A snapshot that says
// otherwise of itself is refused, and so is half of one, or more than one.
func TestSnapshotMustBeTheOneAnnounced(t *testing.T) {
	a, b := newShelf(t, vfs.NewMem()), newShelf(t, vfs.NewMem())
	if err := a.take(a.fill(20).index); err != nil {
		t.Fatal(err)
	}
	meta, r, err := a.newest()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stream, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	other := raft.Configuration{Servers: slices.Clone(meta.Configuration.Servers)}
	other.Servers[0].Suffrage = raft.Nonvoter
	tests := []struct {
		name        string
		index, term uint64
		servers     raft.Configuration
		stream      []byte
	}{
		{"another index", meta.Index ^ 4, meta.Term, meta.Configuration, stream},
		{"another term", meta.Index, meta.Term + 1, meta.Configuration, stream},
		{"another configuration", meta.Index, meta.Term, other, stream},
		{"cut", meta.Index, meta.Term, meta.Configuration, stream[:len(stream)-1]},
		{"cut to the manifest", meta.Index, meta.Term, meta.Configuration, stream[:manifestHeader]},
		{"nothing", meta.Index, meta.Term, meta.Configuration, nil},
		{"too long", meta.Index, meta.Term, meta.Configuration, append(slices.Clone(stream), 0)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			sink, err := b.snapshots.Create(1, tc.index, tc.term, tc.servers, meta.ConfigurationIndex, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = sink.Write(tc.stream)
			if err == nil {
				err = sink.Close()
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v, want ErrDamaged", err)
			}
			if err := sink.Cancel(); err != nil {
				t.Errorf("Cancel: %v", err)
			}
			if names, err := b.fs.List("/registry/snapshots"); err != nil || len(names) != 0 {
				t.Errorf("left %q, %v", names, err)
			}
		})
	}
}

// Damage that was there before the snapshot is not certified by it.
func TestSnapshotOfDamagedRowsIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	a := newShelf(t, fs)
	index := a.fill(2000).index
	if err := a.state.current.db.Flush(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List(a.state.current.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !isTable(name) {
			continue
		}
		data, err := fs.UnsafeGetFileDataBuffer(filepath.Join(a.state.current.path, name))
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/3] ^= 1
		if err := a.take(index); !errors.Is(err, ErrDamaged) {
			t.Errorf("snapshot with a bit flipped in %s = %v, want ErrDamaged", name, err)
		}
		data[len(data)/3] ^= 1
	}
	if err := a.take(index); err != nil {
		t.Errorf("snapshot of sound rows: %v", err)
	}
}

// A table is read for its sum once, not for every snapshot and not after a
// restart: the rows may be large. So a table that rots is found by the sum it
// had, wherever the next snapshot is made.
func TestTablesKeepTheirSums(t *testing.T) {
	fs := vfs.NewMem()
	a := newShelf(t, fs)
	if err := a.take(a.fill(500).index); err != nil {
		t.Fatal(err)
	}
	first := a.snapshots.stored[0].manifest.tables()
	if len(first) == 0 {
		t.Fatal("a snapshot without tables")
	}
	if err := a.state.close(); err != nil {
		t.Fatal(err)
	}
	b := newShelf(t, fs)
	b.snapshots.knownTables(b.snapshots.stored[0].id(), b.state.current)
	if !maps.Equal(b.state.current.sums, first) {
		t.Errorf("after a restart: sums %v, want %v", b.state.current.sums, first)
	}
	a.state = b.state // closed once
	b.state.current.number++
	b.state.current.sums = nil
	b.snapshots.knownTables(b.snapshots.stored[0].id(), b.state.current)
	if b.state.current.sums != nil {
		t.Error("tables of other rows got the sums")
	}
	b.state.current.number--
	if err := errors.Join(b.take(b.fill(5).index), b.restore()); err != nil {
		t.Fatal(err)
	}
}

func FuzzManifest(f *testing.F) {
	m := newManifest(7, 3, testServers, 2)
	m.files = []fileSum{{"000004.sst", 100, 5}, {"CURRENT", 0, 0}}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
	})
}
