package metadata

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A state is the directory of this node's rows:
//
//	state-00000001/   a Pebble database, complete; the highest number counts
//	building/         a database a restore is still filling
//
// A restore fills building, syncs it, renames it to the next number, syncs the
// directory and only then removes the old one. A crash anywhere leaves the old
// rows or the new, never a mixture; what is left over is swept at the next open.
//
// The databases have no journal: Raft's log is one. A crash takes what was only
// in memory, and the log brings it back.
type state struct {
	fs   vfs.FS
	dir  string
	fail func(error) // called when a row is found damaged, whoever meets it

	mu      sync.Mutex
	current *generation // nil once closed

	dead atomic.Bool // Pebble gave up; see fatal.go
}

// generation is one database with the number of its users. Readers and a
// snapshot being written keep the old one alive through a restore.
type generation struct {
	db     *pebble.DB
	lock   *pebble.Lock // ours, so that it can be released if Pebble gave up
	fs     vfs.FS
	path   string
	number uint64
	sums   map[string]fileSum // of the tables of the last checkpoint; that goroutine's alone
	users  int                // guarded by state.mu
	old    bool               // guarded by state.mu: close and remove after the last user
	idle   *sync.Cond
}

const (
	generationPrefix = "state-"
	buildingName     = "building"
)

func openState(fs vfs.FS, dir string, fail func(error)) (*state, error) {
	if err := makeDir(fs, dir); err != nil {
		return nil, err
	}
	s := &state{dir: dir, fail: fail}
	s.fs = mortalFS{fs, &s.dead}
	number, err := s.sweep()
	if err != nil {
		return nil, fmt.Errorf("sweep state: %w", err)
	}
	s.current, err = s.open(number)
	return s, err
}

// sweep removes everything but the newest complete database and returns its
// number, or 1 if there is none yet.
func (s *state) sweep() (newest uint64, err error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return 0, err
	}
	newest = 1
	for _, name := range names {
		newest = max(newest, generationNumber(name))
	}
	for _, name := range names {
		if n := generationNumber(name); name == buildingName || n != 0 && n != newest {
			if err := s.fs.RemoveAll(filepath.Join(s.dir, name)); err != nil {
				return 0, err
			}
		}
	}
	return newest, nil
}

func generationNumber(name string) uint64 {
	n, ok := numbered(name, generationPrefix)
	if !ok {
		return 0
	}
	return n
}

func (s *state) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%08x", generationPrefix, number))
}

func (s *state) open(number uint64) (*generation, error) {
	path := s.path(number)
	if err := s.fs.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(path, s.fs)
	if err != nil {
		return nil, err
	}
	opts := pebbleOptions(s.fs)
	opts.Lock = lock
	opts.Logger = pebbleLog{s.fatal}
	opts.EventListener = &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
		s.fail(damagef("rows", "%s: %w", info.Path, info.Details))
	}, BackgroundError: func(err error) {
		// Pebble tries again, and rows that are not on disk yet are in the
		// log: only a disk that has room and does not write is at its end.
		if !isFull(err) && !isOutOfFiles(err) && !errors.Is(err, pebble.ErrCorruption) {
			s.fail(fmt.Errorf("%w: rows: %w", ErrDiskFault, err))
		}
	}}
	db, err := pebble.Open(path, opts)
	if err != nil {
		return nil, errors.Join(rowsError(fmt.Errorf("open state %s: %w", path, err)), lock.Close())
	}
	return &generation{db: db, lock: lock, fs: s.fs, path: path, number: number, idle: sync.NewCond(&s.mu)}, nil
}

// acquire returns the current generation, which the caller must release, or
// false once the state is closed.
func (s *state) acquire() (*generation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, false
	}
	s.current.users++
	return s.current, true
}

func (s *state) release(g *generation) {
	s.mu.Lock()
	g.users--
	last := g.old && g.users == 0
	g.idle.Broadcast()
	s.mu.Unlock()
	if last {
		g.discard()
	}
}

func (g *generation) close() error { return errors.Join(g.db.Close(), g.lock.Close()) }

// discard closes and removes a database nobody uses any more. A failure is
// harmless: the next open sweeps.
func (g *generation) discard() {
	_ = g.close()
	_ = g.fs.RemoveAll(g.path)
}

// replace has fill make a new database in a directory that does not exist yet,
// all synced, and makes it the current one. Its rows must include the log up to
// index.
func (s *state) replace(index uint64, fill func(dir string) error) error {
	building := filepath.Join(s.dir, buildingName)
	if err := s.fs.RemoveAll(building); err != nil {
		return err
	}
	err := fill(building)
	if err == nil {
		err = s.try(building, index)
	}
	if err != nil {
		return errors.Join(err, s.fs.RemoveAll(building))
	}
	number := s.current.number + 1 // only this goroutine changes current
	path := s.path(number)
	if err := s.fs.Rename(building, path); err != nil {
		return err
	}
	next, err := s.take(number)
	if err != nil {
		return errors.Join(err, s.fs.RemoveAll(path)) // the old rows go on
	}
	s.mu.Lock()
	last := s.current
	s.current, last.old = next, true
	unused := last.users == 0
	s.mu.Unlock()
	if unused {
		last.discard()
	}
	return nil
}

// try opens a database to see whether it is what it should be.
func (s *state) try(path string, index uint64) error {
	opts := pebbleOptions(s.fs)
	opts.Logger = pebbleLog{s.fatal}
	db, err := pebble.Open(path, opts)
	if err != nil {
		return rowsError(err)
	}
	var m meta
	_, err = getRow(db, metaKey(), m.code)
	if err == nil && m.index < index {
		err = damagef("snapshot", "has entry %d, should have %d", m.index, index)
	}
	return errors.Join(err, db.Close())
}

// take makes a renamed database durable and opens it.
func (s *state) take(number uint64) (*generation, error) {
	if err := syncDir(s.fs, s.dir); err != nil {
		return nil, err
	}
	return s.open(number)
}

// closePatience bounds the wait for the last rows to reach a disk that may be
// full. They are in the log as well, so it is not worth more.
const closePatience = 3 * time.Second

// close turns newcomers away, waits for the users there are and releases the
// database. Rows in memory go to disk, so that the next start need not have
// them from the log.
func (s *state) close() error {
	s.mu.Lock()
	g := s.current
	s.current = nil
	for g != nil && g.users > 0 {
		g.idle.Wait()
	}
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	if s.dead.Load() {
		return errors.Join(g.lock.Close(), g.lock.Close()) // ours and that of the database
	}
	if flushed, err := g.db.AsyncFlush(); err == nil {
		timer := time.NewTimer(closePatience)
		defer timer.Stop()
		select {
		case <-flushed:
		case <-timer.C:
		}
	}
	return g.close()
}

// makeDir makes sure that a directory is there to stay.
func makeDir(fs vfs.FS, path string) error {
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return syncDir(fs, fs.PathDir(path))
}

func syncDir(fs vfs.FS, path string) error {
	d, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func pebbleOptions(fs vfs.FS) *pebble.Options {
	opts := &pebble.Options{
		FS:                          fs,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   64 << 20,
		MemTableSize:                32 << 20,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                256,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      pebbleLog{func(err error) { panic(err) }}, // where nothing is written
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return opts
}
