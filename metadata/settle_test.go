package metadata

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"partstore/internal/testrand"
)

// flipIn flips a bit in the middle of every file that matches.
func flipIn(t *testing.T, pattern ...string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(paths) == 0 {
		t.Fatalf("Glob(%q) = %q, %v", pattern, paths, err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err == nil {
			b[len(b)/2] ^= 1
			err = os.WriteFile(path, b, 0o600) //nolint:gosec // a file of this test
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// snapshotDirs are the directories of a stopped node's snapshots, oldest first.
func snapshotDirs(t *testing.T, n *testNode) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(n.dir, "snapshots", snapshotPrefix+"*"))
	if err != nil || len(dirs) != snapshotsKept {
		t.Fatalf("snapshots: %q, %v", dirs, err)
	}
	slices.Sort(dirs)
	return dirs
}

// A node whose newest snapshot is damaged starts from what is left if that is
// everything it had, and does not start if it is less.
func TestStartWithDamagedSnapshots(t *testing.T) {
	manifestOf := func(dir string) []string { return []string{dir, manifestName} }
	rowsOf := func(dir string) []string { return []string{dir, rowsDir, "MANIFEST-*"} }
	type damage struct {
		newest, older func(dir string) []string
		rows          bool // gone
	}
	const shortLog, wholeLog = 1, 1000 // entries behind a snapshot
	tests := []struct {
		name     string
		trailing uint64
		damage   damage
		want     error
	}{
		{"files of the newest, the rows are newer", shortLog, damage{newest: rowsOf}, nil},
		{"files of the newest, the log has it all", wholeLog, damage{newest: rowsOf, rows: true}, nil},
		{"files of both, the log has it all", wholeLog, damage{newest: rowsOf, older: rowsOf, rows: true}, nil},
		{"manifest of the newest, the rows are newer", shortLog, damage{newest: manifestOf}, nil},
		{"manifests of both, the rows are newer", shortLog, damage{newest: manifestOf, older: manifestOf}, nil},
		{"files of the newest, no rows, short log", shortLog, damage{newest: rowsOf, rows: true}, ErrDamaged},
		{"manifests of both, no rows, short log", shortLog, damage{newest: manifestOf, older: manifestOf, rows: true}, ErrDamaged},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, 1, func(cfg *Config) {
				cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 20, tc.trailing, 10*time.Millisecond
			})
			n := c.nodes[0]
			stock(t, n)
			refs := []UploadRef{newUpload(t, n, "b", "first")}
			for snapshots, last := 0, uint64(0); snapshots < 3; {
				refs = append(refs, newUpload(t, n, "b", "more"))
				if now := n.Status().SnapshotIndex; now != last {
					snapshots, last = snapshots+1, now
				}
			}
			c.stop(n)
			dirs := snapshotDirs(t, n)
			flipIn(t, tc.damage.newest(dirs[1])...)
			if tc.damage.older != nil {
				flipIn(t, tc.damage.older(dirs[0])...)
			}
			if tc.damage.rows {
				if err := os.RemoveAll(filepath.Join(n.dir, "state")); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.tryStart(n); !errors.Is(err, tc.want) {
				t.Fatalf("Open = %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				return
			}
			for _, ref := range refs {
				if _, err := n.Upload(t.Context(), ref); err != nil {
					t.Fatalf("Upload = %v", err)
				}
			}
			second := c.add() // only a sound snapshot or the log brings it up
			if err := n.AddMember(t.Context(), second.id, 1); err != nil {
				t.Fatal(err)
			}
			c.sameState()
		})
	}
}

// A leader that finds its snapshot damaged while it sends it makes a fresh one.
func TestDamagedSnapshotIsReplacedByAFreshOne(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 20, 1, 10*time.Millisecond
	})
	n := c.nodes[0]
	stock(t, n)
	ref := newUpload(t, n, "b", "k")
	poll(t, "a snapshot", func() bool {
		newUpload(t, n, "b", "more")
		return n.Status().SnapshotIndex > 20
	})
	index := n.Status().SnapshotIndex
	flipIn(t, n.dir, "snapshots", fmt.Sprintf("%s%016x-*", snapshotPrefix, index), rowsDir, "MANIFEST-*")
	second := c.add()
	if err := n.AddMember(t.Context(), second.id, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Upload(t.Context(), ref); err != nil {
		t.Errorf("Upload on the new node = %v", err)
	}
	if now := n.Status().SnapshotIndex; now <= index {
		t.Errorf("the snapshot is still the one of entry %d", now)
	}
	c.sameState()
}

// faultyFS fails with err what matches, while broken is set, and counts it.
type faultyFS struct {
	vfs.FS
	broken atomic.Bool
	failed atomic.Int64
}

func newFaultyFS(err error, match func(errorfs.Op) bool) *faultyFS {
	f := &faultyFS{}
	f.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !f.broken.Load() || !match(op) {
			return nil
		}
		f.failed.Add(1)
		return err
	}))
	return f
}

// A follower whose disk is full in the middle of a snapshot from the leader
// keeps its rows and takes the snapshot once there is room.
func TestFullDiskInTheMiddleOfASnapshot(t *testing.T) {
	fs := newFaultyFS(syscall.ENOSPC, func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "snapshots") && strings.Contains(op.Path, "MANIFEST")
	})
	opened := 0
	c := newCluster(t, 1, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 20, 1, 10*time.Millisecond
		if opened++; opened > 1 { // not the leader
			cfg.disk = realDisk()
			cfg.disk.fs = fs
		}
	})
	lead := c.nodes[0]
	stock(t, lead)
	second := c.add()
	if err := lead.AddMember(t.Context(), second.id, 1); err != nil {
		t.Fatal(err)
	}
	before := newUpload(t, lead, "b", "before")
	if _, err := second.Upload(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	c.stop(second)
	since := lead.Status().LastIndex
	poll(t, "a log that begins later", func() bool {
		newUpload(t, lead, "b", "more")
		first, err := lead.files.log.FirstIndex()
		return err == nil && first > since+1
	})
	after := newUpload(t, lead, "b", "after")
	fs.broken.Store(true)
	c.start(second)
	poll(t, "failed transfers", func() bool { return fs.failed.Load() >= 2 })
	if s := second.Status(); s.Failed != nil || s.AppliedIndex > since {
		t.Errorf("with a full disk: applied %d, had %d; failed: %v", s.AppliedIndex, since, s.Failed)
	}
	if _, err := second.UploadOpen(t.Context(), before); err != nil {
		t.Errorf("UploadOpen with a full disk = %v", err)
	}
	fs.broken.Store(false)
	if _, err := second.Upload(t.Context(), after); err != nil {
		t.Errorf("Upload once there is room = %v", err)
	}
	c.sameState()
	c.stop(second)
	if left, err := filepath.Glob(filepath.Join(second.dir, "snapshots", partialPrefix+"*")); err != nil || len(left) != 0 {
		t.Errorf("left of failed transfers: %q, %v", left, err)
	}
	c.start(second)
}

// While a node takes a snapshot over, it cannot vote. A sender that stops in
// the middle must not keep it so.
func TestStalledSnapshotIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newShelf(t, vfs.NewMem()), newShelf(t, vfs.NewMem())
		stalled := make(chan time.Duration, 1)
		start := time.Now()
		b.snapshots.stalled = func() { stalled <- time.Since(start) }
		if err := errors.Join(a.take(a.fill(5).index), a.send(b, nil)); err != nil {
			t.Fatal(err)
		}
		meta, r, err := a.newest()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		sink, err := b.snapshots.Create(1, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
		if err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, 100)
		for range 5 { // slowly, but it goes on
			time.Sleep(raftCallTimeout - time.Millisecond)
			if _, err := r.Read(piece); err != nil {
				t.Fatal(err)
			}
			if _, err := sink.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		last := time.Since(start)
		if got := <-stalled - last; got != raftCallTimeout {
			t.Errorf("given up %v after the last bytes, want %v", got, raftCallTimeout)
		}
		if err := sink.Cancel(); err != nil {
			t.Error(err)
		}
	})
}

// Whatever a crash takes, the disk holds a whole snapshot no older than the
// last that was finished, rows no older than it, and nothing in between states.
func TestSnapshotsSurviveAnyCrash(t *testing.T) {
	r := testrand.New(t)
	mem := vfs.NewCrashableMem()
	type crash struct {
		fs       *vfs.MemFS
		promised uint64 // index of the last finished snapshot
	}
	var (
		mu       sync.Mutex
		crashes  []crash
		promised uint64
		hashes   = map[uint64][32]byte{}
	)
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && r.IntN(3) == 0 {
			// All that was not synced, or nothing: Pebble relies on a directory
			// keeping the order of its changes, as journals of file systems do.
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: 100 * r.IntN(2), RNG: r}
			crashes = append(crashes, crash{mem.CrashClone(cfg), promised})
		}
		return nil
	}))
	promise := func(index uint64) {
		mu.Lock()
		defer mu.Unlock()
		promised = index
	}
	a, leader := newShelf(t, fs), newShelf(t, vfs.NewMem())
	grow := func(s *shelf) uint64 {
		var b *bench
		for range 4 {
			b = s.fill(1)
			hashes[b.index] = b.hash()
		}
		return b.index
	}
	for range 3 {
		index := grow(a)
		if err := a.take(index); err != nil {
			t.Fatal(err)
		}
		promise(index)
	}
	var index uint64
	for range 4 {
		index = grow(leader)
	}
	if err := errors.Join(leader.take(index), leader.send(a, nil)); err != nil {
		t.Fatal(err)
	}
	if err := a.restore(); err != nil {
		t.Fatal(err)
	}
	promise(index)
	index = grow(a)
	if err := a.take(index); err != nil {
		t.Fatal(err)
	}
	mu.Lock() // Pebble may still be removing files
	seen := slices.Clone(crashes)
	mu.Unlock()
	t.Logf("%d crashes", len(seen))
	if len(seen) < 50 {
		t.Errorf("%d crashes are too few to show anything", len(seen))
	}
	for i, crash := range seen {
		checkCrash(t, i, newShelf(t, crash.fs), crash.promised, hashes)
	}
}

func checkCrash(t *testing.T, i int, s *shelf, promised uint64, hashes map[uint64][32]byte) {
	t.Helper()
	rows := s.machine()
	if want, known := hashes[rows.index]; rows.index != 0 && known && rows.hash() != want {
		t.Fatalf("crash %d: rows of entry %d differ", i, rows.index)
	}
	list, err := s.snapshots.List()
	if err != nil || len(list) != len(s.snapshots.stored) {
		t.Fatalf("crash %d: damaged snapshots, %v", i, err)
	}
	newest := uint64(0)
	if len(list) > 0 {
		newest = list[0].Index
		if newest > rows.index { // a crash between the two steps of taking one over
			if err := s.restore(); err != nil {
				t.Fatalf("crash %d: %v", i, err)
			}
			rows = s.machine()
		} else if err := s.send(newShelf(t, vfs.NewMem()), nil); err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
	}
	if newest < promised || rows.index < newest {
		t.Fatalf("crash %d: snapshot of entry %d, rows of %d; promised was %d", i, newest, rows.index, promised)
	}
}
