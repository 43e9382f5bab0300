package metadata

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// snapshotStore keeps Raft's snapshots:
//
//	snapshot-00000000000004d2-0000000a/   its log index, its number
//	  manifest    what the snapshot is of, and the sum of each file
//	  rows/       a Pebble database; its tables are links to the live ones
//	partial-0000000b/   one that is being made or removed
//
// A snapshot is made in a partial directory, synced, and gets its name by a
// rename. What a crash leaves of one is swept at the next open. The two newest
// good ones are kept, and the log from the older of them on, as long as Config
// leaves more entries behind a snapshot than it takes to make one.
type snapshotStore struct {
	fs  vfs.FS
	dir string
	log *slog.Logger

	// replace says that a damaged snapshot waits for a fresh one.
	replace chan struct{}

	// stalled is called when another node stops in the middle of sending its
	// snapshot. While it does not go on, this node cannot vote.
	stalled func()

	mu     sync.Mutex
	number uint64            // the last one given to a snapshot
	stored []*storedSnapshot // newest first
}

var _ raft.SnapshotStore = (*snapshotStore)(nil)

// storedSnapshot is one directory. What it is of never changes.
type storedSnapshot struct {
	index    uint64
	number   uint64
	manifest manifest // zero if it is damaged

	// Guarded by snapshotStore.mu.
	damaged bool
	readers int
	dropped bool // to be removed with the last reader
}

const (
	snapshotPrefix = "snapshot-"
	partialPrefix  = "partial-"
	manifestName   = "manifest"
	rowsDir        = "rows"
	snapshotsKept  = 2
)

func (s *storedSnapshot) id() string {
	return fmt.Sprintf("%s%016x-%08x", snapshotPrefix, s.index, s.number)
}

func openSnapshots(fs vfs.FS, dir string, log *slog.Logger) (*snapshotStore, error) {
	s := &snapshotStore{fs: fs, dir: dir, log: log, replace: make(chan struct{}, 1), stalled: func() {}}
	if err := makeDir(fs, dir); err != nil {
		return nil, err
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.load(name); err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", name, err)
		}
	}
	s.sort()
	return s, nil
}

// load takes one entry of the directory into account.
func (s *snapshotStore) load(name string) error {
	if number, ok := numbered(name, partialPrefix); ok {
		s.number = max(s.number, number)
		return s.fs.RemoveAll(filepath.Join(s.dir, name))
	}
	o, ok := parseSnapshotName(name)
	if !ok {
		return nil
	}
	s.number = max(s.number, o.number)
	b, err := readFile(s.fs, filepath.Join(s.dir, name, manifestName), manifestHeader+manifestMax)
	if err == nil {
		o.manifest, err = parseManifest(b)
	}
	if err == nil && o.manifest.index != o.index {
		err = fmt.Errorf("%w: manifest of entry %d", ErrDamaged, o.manifest.index)
	}
	if errors.Is(err, ErrDamaged) {
		s.markDamaged(o, fmt.Errorf("snapshot %s: %w", name, err))
		err = nil
	}
	s.stored = append(s.stored, o)
	return err
}

func parseSnapshotName(name string) (*storedSnapshot, bool) {
	index, number, _ := strings.Cut(strings.TrimPrefix(name, snapshotPrefix), "-")
	o := &storedSnapshot{}
	var okIndex, okNumber bool
	o.index, okIndex = numbered(index, "")
	o.number, okNumber = numbered(number, "")
	return o, okIndex && okNumber && name == o.id()
}

func numbered(name, prefix string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, ok && err == nil
}

// readFile reads a small file. One that is missing or larger than limit is
// damaged.
func readFile(fs vfs.FS, path string, limit int64) (b []byte, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if b, err = io.ReadAll(io.LimitReader(f, limit+1)); int64(len(b)) > limit {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrDamaged, path, limit)
	}
	return b, err
}

func (s *snapshotStore) sort() {
	slices.SortFunc(s.stored, func(a, b *storedSnapshot) int {
		return cmp.Or(cmp.Compare(b.index, a.index), cmp.Compare(b.manifest.term, a.manifest.term), cmp.Compare(b.number, a.number))
	})
}

func (s *snapshotStore) path(o *storedSnapshot) string { return filepath.Join(s.dir, o.id()) }
func (s *snapshotStore) rows(o *storedSnapshot) string { return filepath.Join(s.path(o), rowsDir) }
func (s *snapshotStore) partial(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%08x", partialPrefix, number))
}

// Create implements raft.SnapshotStore.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("snapshot version %d of Raft", version)
	}
	return s.create(newManifest(index, term, c, configurationIndex))
}

func (s *snapshotStore) create(m manifest) (*snapshotSink, error) {
	s.mu.Lock()
	s.number++
	snapshot := &storedSnapshot{index: m.index, number: s.number, manifest: m}
	s.mu.Unlock()
	if err := s.fs.MkdirAll(s.partial(snapshot.number), 0o700); err != nil {
		return nil, err
	}
	return &snapshotSink{store: s, snapshot: snapshot, patience: time.AfterFunc(raftCallTimeout, s.stalled)}, nil
}

// commit makes a complete snapshot count, and drops those it makes superfluous.
func (s *snapshotStore) commit(o *storedSnapshot) error {
	b, err := o.manifest.encode()
	if err != nil {
		return err
	}
	from := s.partial(o.number)
	if err := writeSynced(s.fs, filepath.Join(from, manifestName), b); err != nil {
		return err
	}
	if err := syncDir(s.fs, from); err != nil {
		return err
	}
	if err := s.fs.Rename(from, s.path(o)); err != nil {
		return err
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return err
	}
	s.mu.Lock()
	s.stored = append(s.stored, o)
	s.sort()
	gone := s.prune()
	s.mu.Unlock()
	s.remove(gone)
	return nil
}

func writeSynced(fs vfs.FS, path string, b []byte) (err error) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// prune drops all but the newest good snapshots, and returns those that nobody
// reads. The caller holds the mutex.
func (s *snapshotStore) prune() (unread []*storedSnapshot) {
	kept := 0
	s.stored = slices.DeleteFunc(s.stored, func(o *storedSnapshot) bool {
		if !o.damaged && kept < snapshotsKept {
			kept++
			return false
		}
		if o.dropped = true; o.readers == 0 {
			unread = append(unread, o)
		}
		return true
	})
	return unread
}

// remove deletes directories, each under a name that does not count. A failure
// leaves garbage for the next open to sweep.
func (s *snapshotStore) remove(gone []*storedSnapshot) {
	for _, o := range gone {
		err := s.fs.Rename(s.path(o), s.partial(o.number))
		if err == nil {
			err = s.fs.RemoveAll(s.partial(o.number))
		}
		if err != nil {
			s.log.Warn("remove snapshot", "snapshot", o.id(), "err", err)
		}
	}
}

// List implements raft.SnapshotStore. Damaged snapshots are not in the list.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*raft.SnapshotMeta
	for _, o := range s.stored {
		if o.damaged {
			continue
		}
		meta, err := o.meta()
		if err != nil {
			return nil, err
		}
		list = append(list, meta)
	}
	return list, nil
}

func (s *storedSnapshot) meta() (*raft.SnapshotMeta, error) {
	m := &s.manifest
	size, err := m.streamSize()
	return &raft.SnapshotMeta{
		Version: 1, ID: s.id(), Index: m.index, Term: m.term, Size: size,
		Configuration: raft.DecodeConfiguration(m.configuration), ConfigurationIndex: m.configurationIndex,
	}, err
}

// Open implements raft.SnapshotStore. The reader is a *snapshotReader.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.stored, func(o *storedSnapshot) bool { return o.id() == id && !o.damaged })
	if at < 0 {
		return nil, nil, fmt.Errorf("no snapshot %s", id)
	}
	o := s.stored[at]
	meta, err := o.meta()
	if err != nil {
		return nil, nil, err
	}
	head, err := o.manifest.encode()
	if err != nil {
		return nil, nil, err
	}
	o.readers++
	return meta, &snapshotReader{store: s, snapshot: o, pending: head}, nil
}

// release ends the use of a snapshot by one reader.
func (s *snapshotStore) release(o *storedSnapshot) {
	s.mu.Lock()
	o.readers--
	last := o.dropped && o.readers == 0
	s.mu.Unlock()
	if last {
		s.remove([]*storedSnapshot{o})
	}
}

// markDamaged takes a snapshot out of the list for good and asks for a fresh
// one. Its directory stays until there is one.
func (s *snapshotStore) markDamaged(o *storedSnapshot, err error) {
	s.mu.Lock()
	known := o.damaged
	o.damaged = true
	s.mu.Unlock()
	if known {
		return
	}
	s.log.Error("damaged snapshot", "err", err)
	select {
	case s.replace <- struct{}{}:
	default:
	}
}

// dismiss takes a snapshot out of the list because of err.
func (s *snapshotStore) dismiss(id string, err error) {
	s.mu.Lock()
	at := slices.IndexFunc(s.stored, func(o *storedSnapshot) bool { return o.id() == id })
	s.mu.Unlock()
	if at >= 0 {
		s.markDamaged(s.stored[at], fmt.Errorf("snapshot %s: %w", id, err))
	}
}

// knownTables gives rows that were just opened the sums of the tables they share
// with a snapshot, so that the next checkpoint need not read them all.
func (s *snapshotStore) knownTables(id string, g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.stored, func(o *storedSnapshot) bool { return o.id() == id })
	if m := &s.stored[at].manifest; g.sums == nil && m.rows == g.number {
		g.sums = m.tables()
	}
}

// claim is the largest index of any snapshot, damaged ones included.
func (s *snapshotStore) claim() (index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.stored {
		index = max(index, o.index)
	}
	return index
}
