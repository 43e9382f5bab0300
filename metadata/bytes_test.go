package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// files of one registry directory as Raft uses them.
type openedFiles struct {
	*files
	log    *checkedLog
	vote   *voteStore
	mu     sync.Mutex
	failed error
}

// openDir opens the files in dir the way Open does.
func openDir(dir string, who owner) (o *openedFiles, err error) {
	o = &openedFiles{}
	if o.files, err = openFiles(realDisk(), dir); err != nil {
		return nil, err
	}
	o.log, o.vote, err = o.check(who, func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.failed == nil {
			o.failed = err
		}
	})
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

func (o *openedFiles) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// newDir formats a directory.
func newDir(t testing.TB) (string, owner) {
	t.Helper()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "registry"), Node: testNodeID(1), Cluster: layout.ClusterID{7}}
	if err := Format(cfg); err != nil {
		t.Fatal(err)
	}
	return cfg.Dir, cfg.owner()
}

// fillDir writes a log as Raft would: appends of all types and sizes, a suffix
// that another leader replaced, a prefix that went into a snapshot.
func fillDir(t testing.TB, rnd *rand.Rand, dir string, who owner) []raft.Log {
	t.Helper()
	o, err := openDir(dir, who)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(o.failure(), o.close()); err != nil {
			t.Fatal(err)
		}
	}()
	var want []raft.Log
	term := uint64(1)
	store := func(n int) {
		var batch []*raft.Log
		for range n {
			l := raft.Log{Index: uint64(len(want) + 1), Term: term, Type: raft.LogCommand, AppendedAt: time.Unix(5, 0)}
			switch size := rnd.IntN(400); {
			case len(want)%7 == 0:
				l.Type = raft.LogNoop
			case len(want)%11 == 0:
				l.Type, l.Data = raft.LogConfiguration, bytes.Repeat([]byte{byte(size)}, size)
			case size == 0:
				l.Data = encodePack(pack{commands: [][]byte{make([]byte, 20000)}})
			default:
				l.Data = encodePack(pack{time: 5, commands: [][]byte{bytes.Repeat([]byte{byte(size)}, size)}})
			}
			want = append(want, l)
			batch = append(batch, &l)
		}
		if err := o.log.StoreLogs(batch); err != nil {
			t.Fatal(err)
		}
	}
	elect := func() {
		term++
		err := errors.Join(o.vote.SetUint64([]byte(keyTerm), term), o.vote.SetUint64([]byte(keyVotedTerm), term),
			o.vote.Set([]byte(keyCandidate), []byte(who.server.String())))
		if err != nil {
			t.Fatal(err)
		}
	}
	elect()
	for range 40 {
		store(1 + rnd.IntN(12))
		if rnd.IntN(10) == 0 {
			elect()
			keep := max(1, len(want)-5)
			if err := o.log.DeleteRange(uint64(keep+1), uint64(len(want))); err != nil {
				t.Fatal(err)
			}
			want = want[:keep]
		}
	}
	if err := o.log.DeleteRange(1, 50); err != nil {
		t.Fatal(err)
	}
	return want[50:]
}

// compare reads everything and returns how it differs from what was written.
func (o *openedFiles) compare(want []raft.Log) error {
	first, _ := o.log.FirstIndex()
	last, _ := o.log.LastIndex()
	if first != want[0].Index || last != want[len(want)-1].Index {
		return fmt.Errorf("log from %d to %d", first, last)
	}
	for _, w := range want {
		var l raft.Log
		if err := o.log.GetLog(w.Index, &l); err != nil {
			return err
		}
		if o.failure() != nil {
			// What goes out now must be refused by everybody.
			if _, err := unseal(&l); err == nil && !sameEntry(l, w) {
				return fmt.Errorf("entry %d goes out as %v", w.Index, l)
			}
			continue
		}
		if !sameEntry(l, w) {
			return fmt.Errorf("entry %d is %v", w.Index, l)
		}
	}
	return nil
}

func sameEntry(a, b raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data)
}

// use does what Raft would do next.
func (o *openedFiles) use(want []raft.Log) error {
	last := want[len(want)-1]
	next := &raft.Log{Index: last.Index + 1, Term: last.Term, Type: raft.LogNoop}
	err := errors.Join(
		o.log.StoreLogs([]*raft.Log{next}),
		o.vote.SetUint64([]byte(keyVotedTerm), last.Term),
		o.log.DeleteRange(next.Index, next.Index),
		o.log.DeleteRange(want[0].Index, want[0].Index+9),
	)
	if o.failure() != nil {
		return nil
	}
	return errors.Join(err, o.compare(want[10:]))
}

// memoryDir is a directory where a sync costs nothing, if there is one.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "metadata-test-") //nolint:usetesting // t.TempDir is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func flip(t testing.TB, path string, at int64, bit uint) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// livePlaces returns places in the pages of raft.db that can be reached, and
// in its metas.
func livePlaces(t testing.TB, path string) (at []int64) {
	t.Helper()
	file, f, err := openBoltFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := file.meta()
	if err != nil {
		t.Fatal(err)
	}
	c := &boltCheck{boltFile: file, meta: m}
	if err := c.tree(m.root, bounds{}, true, 0); err != nil {
		t.Fatal(err)
	}
	for n := range m.used {
		if n < 2 || c.seen[n/64]&(1<<(n%64)) != 0 {
			for i := range int64(logPageSize) {
				at = append(at, int64(n)*logPageSize+i)
			}
		}
	}
	return at
}

// Property: whatever bit of log, vote and witness flips, at rest or under an
// open registry, either everything still reads as it was written or the damage
// is found, before a wrong entry is seen, without a panic.
func TestAFlippedBitIsFoundOrHarmless(t *testing.T) {
	rnd := testrand.New(t)
	dir, who := newDir(t)
	want := fillDir(t, rnd, dir, who)
	trial := filepath.Join(memoryDir(t), "trial")
	log := filepath.Join(dir, logName)
	info, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	live := livePlaces(t, log)
	anywhere := func() int64 { return rnd.Int64N(info.Size()) }
	inUse := func() int64 { return live[rnd.IntN(len(live))] }
	inSector := func() int64 { return rnd.Int64N(sectorSize) }
	for _, tc := range []struct {
		name, file string
		flips      int
		place      func() int64
		open       bool // while the files are open
	}{
		{"anywhere in the log", logName, 500, anywhere, false},
		{"in pages of the log in use", logName, 300, inUse, false},
		{"in pages of an open log in use", logName, 150, inUse, true},
		{"vote", voteName, 100, inSector, false},
		{"witness", witnessName, 100, inSector, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			atOpen, later, harmless := 0, 0, 0
			for range lessWithRace(tc.flips) {
				copyDir(t, dir, trial)
				at, bit := tc.place(), uint(rnd.IntN(8))
				where := fmt.Sprintf("bit %d of byte %d of %s", bit, at, tc.file)
				if !tc.open {
					flip(t, filepath.Join(trial, tc.file), at, bit)
				}
				o, err := openDir(trial, who)
				if errors.Is(err, ErrDamaged) {
					atOpen++
					continue
				}
				if err != nil {
					t.Fatalf("%s: open = %v, want ErrDamaged", where, err)
				}
				if tc.open {
					flip(t, filepath.Join(trial, tc.file), at, bit)
				}
				err = o.compare(want)
				if err == nil {
					err = o.use(want)
				}
				if err != nil {
					t.Fatalf("%s was not found: %v", where, err)
				}
				if err := o.close(); err != nil && o.failure() == nil {
					t.Fatalf("%s: close = %v", where, err)
				}
				switch failed := o.failure(); {
				case failed == nil:
					harmless++
				case errors.Is(failed, ErrDamaged):
					later++
				default:
					t.Fatalf("%s: %v, want ErrDamaged", where, failed)
				}
			}
			t.Logf("%d flips found at open, %d found later, %d harmless", atOpen, later, harmless)
			if atOpen+later == 0 {
				t.Error("no flip had an effect")
			}
		})
	}
}

// Property: a log that is sound in itself but older than what was acknowledged
// is damage: bbolt's fall-back to its older meta page, an old copy of the file,
// and files that are gone.
func TestALostTailIsFound(t *testing.T) {
	rnd := testrand.New(t)
	dir, who := newDir(t)
	want := fillDir(t, rnd, dir, who)
	old := filepath.Join(t.TempDir(), "old")
	copyDir(t, dir, old)
	o, err := openDir(dir, who)
	if err != nil {
		t.Fatal(err)
	}
	last := want[len(want)-1]
	more := &raft.Log{Index: last.Index + 1, Term: last.Term, Type: raft.LogNoop}
	if err := errors.Join(o.log.StoreLog(more), o.vote.SetUint64([]byte(keyTerm), o.vote.now().term+1), o.close()); err != nil {
		t.Fatal(err)
	}
	replace := func(name string) func(dir string) error {
		return func(dir string) error {
			b, err := os.ReadFile(filepath.Join(old, name))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
	}
	remove := func(name string) func(dir string) error {
		return func(dir string) error { return os.Remove(filepath.Join(dir, name)) }
	}
	for name, harm := range map[string]func(dir string) error{
		"newest meta page": func(dir string) error {
			path := filepath.Join(dir, logName)
			file, f, err := openBoltFile(path)
			if err != nil {
				return err
			}
			defer f.Close()
			m, err := file.meta()
			flip(t, path, int64(m.txid%2)*logPageSize+boltHeader+20, 3)
			return err
		},
		"old log":     replace(logName),
		"old vote":    replace(voteName),
		"no log":      remove(logName),
		"no vote":     remove(voteName),
		"no witness":  remove(witnessName),
		"cut log":     func(dir string) error { return os.Truncate(filepath.Join(dir, logName), 5*logPageSize) },
		"empty log":   func(dir string) error { return os.Truncate(filepath.Join(dir, logName), 0) },
		"cut vote":    func(dir string) error { return os.Truncate(filepath.Join(dir, voteName), 100) },
		"cut witness": func(dir string) error { return os.Truncate(filepath.Join(dir, witnessName), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			trial := filepath.Join(t.TempDir(), "trial")
			copyDir(t, dir, trial)
			if err := harm(trial); err != nil {
				t.Fatal(err)
			}
			cfg := Config{Dir: trial, Node: who.server.node, Cluster: who.cluster}
			err := prepareDir(cfg.withDefaults())
			if err == nil {
				o, err = openDir(trial, who)
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("open = %v, want ErrDamaged", err)
			}
		})
	}
}

// Property: whatever a crash takes of what was not synced, the files open; and
// what was synced first cannot be missing without being missed.
func TestWitnessIsNeverAheadOfTheLog(t *testing.T) {
	dir, who := newDir(t)
	want := fillDir(t, testrand.New(t), dir, who)
	trial := filepath.Join(t.TempDir(), "trial")
	last := want[len(want)-1]
	next := func(ahead uint64) *raft.Log {
		return &raft.Log{Index: last.Index + ahead, Term: last.Term, Type: raft.LogNoop}
	}
	for _, tc := range []struct {
		name   string
		change func(l *checkedLog) error
		lost   string
		found  bool
	}{
		{"append", func(l *checkedLog) error { return l.StoreLog(next(1)) }, witnessName, false},
		{"append", func(l *checkedLog) error { return l.StoreLog(next(1)) }, logName, true},
		{"remove suffix", func(l *checkedLog) error { return l.DeleteRange(last.Index-3, last.Index) }, logName, false},
		{"remove suffix", func(l *checkedLog) error { return l.DeleteRange(last.Index-3, last.Index) }, witnessName, true},
		{"remove prefix", func(l *checkedLog) error { return l.DeleteRange(want[0].Index, want[20].Index) }, logName, false},
		{"remove all", func(l *checkedLog) error { return l.DeleteRange(want[0].Index, last.Index) }, logName, false},
		{"remove all", func(l *checkedLog) error { return l.DeleteRange(want[0].Index, last.Index) }, witnessName, true},
		{"close a gap", func(l *checkedLog) error { return l.StoreLog(next(100)) }, logName, true},
	} {
		t.Run(fmt.Sprintf("%s, %s is not written", tc.name, tc.lost), func(t *testing.T) {
			copyDir(t, dir, trial)
			o, err := openDir(trial, who)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(tc.change(o.log), o.failure(), o.close()); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(filepath.Join(dir, tc.lost))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(trial, tc.lost), before, 0o600); err != nil {
				t.Fatal(err)
			}
			o, err = openDir(trial, who)
			if err == nil {
				err = o.close()
			}
			if errors.Is(err, ErrDamaged) != tc.found || err != nil && !tc.found {
				t.Errorf("open = %v, want damage: %t", err, tc.found)
			}
		})
	}
}

// slowRemoval is a log that has removed entries before it says so.
type slowRemoval struct {
	raft.LogStore
	removed, goOn chan struct{}
}

func (s *slowRemoval) DeleteRange(first, last uint64) error {
	err := s.LogStore.DeleteRange(first, last)
	close(s.removed)
	<-s.goOn
	return err
}

// An entry that is read while it is being removed is gone, not damaged.
func TestAnEntryBeingRemovedIsNotDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, who := newDir(t)
		want := fillDir(t, testrand.New(t), dir, who)
		o, err := openDir(dir, who)
		if err != nil {
			t.Fatal(err)
		}
		slow := &slowRemoval{o.log.inner, make(chan struct{}), make(chan struct{})}
		o.log.inner = slow
		removal, reading := make(chan error), make(chan error)
		go func() { removal <- o.log.DeleteRange(want[0].Index, want[9].Index) }()
		<-slow.removed
		go func() { reading <- o.log.GetLog(want[5].Index, &raft.Log{}) }()
		synctest.Wait()
		close(slow.goOn)
		if err := <-reading; !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("GetLog = %v, want ErrLogNotFound", err)
		}
		if err := errors.Join(<-removal, o.failure(), o.close()); err != nil {
			t.Error(err)
		}
	})
}

// fullLog is a log on a disk that takes no more entries.
type fullLog struct{ raft.LogStore }

func (fullLog) StoreLogs([]*raft.Log) error { return syscall.ENOSPC }

// Raft counts on entries it had removed until it has stored those that take
// their place, and ends the process when it misses them. So if it cannot store
// them, the registry is opened anew.
func TestALogThatLostItsEndIsOpenedAnew(t *testing.T) {
	for _, removed := range []bool{false, true} {
		dir, who := newDir(t)
		want := fillDir(t, testrand.New(t), dir, who)
		o, err := openDir(dir, who)
		if err != nil {
			t.Fatal(err)
		}
		last := want[len(want)-1]
		next := &raft.Log{Index: last.Index + 1, Term: last.Term + 1, Type: raft.LogNoop}
		if removed {
			next.Index = last.Index
			if err := o.log.DeleteRange(last.Index, last.Index); err != nil {
				t.Fatal(err)
			}
			// A snapshot may shorten the log between the two.
			if err := o.log.DeleteRange(want[0].Index, want[0].Index); err != nil {
				t.Fatal(err)
			}
		}
		o.log.inner = fullLog{o.log.inner}
		if err := o.log.StoreLog(next); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("removed %t: StoreLog = %v, want ENOSPC", removed, err)
		}
		if err := o.failure(); errors.Is(err, ErrDiskFault) != removed {
			t.Errorf("removed %t: out of service for %v", removed, err)
		}
		var got raft.Log
		if err := o.log.GetLog(next.Index, &got); removed && (err != nil || got.Term != 0) || !removed && !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("removed %t: GetLog of what is not there = %+v, %v", removed, got, err)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	}
}

// Property: an entry that changed on its way, or that does not continue the
// log, is not stored.
func TestForeignEntriesAreRefused(t *testing.T) {
	dir, who := newDir(t)
	want := fillDir(t, testrand.New(t), dir, who)
	o, err := openDir(dir, who)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	last := want[len(want)-1]
	good := raft.Log{Index: last.Index + 1, Term: last.Term, Type: raft.LogCommand, Data: encodePack(pack{time: 1})}
	seal(&good, o.log.sum)
	for name, change := range map[string]func(l *raft.Log){
		"data":           func(l *raft.Log) { l.Data = encodePack(pack{time: 2}) },
		"term":           func(l *raft.Log) { l.Term++ },
		"type":           func(l *raft.Log) { l.Type = raft.LogNoop },
		"index":          func(l *raft.Log) { l.Index-- },
		"envelope":       func(l *raft.Log) { l.Extensions = l.Extensions[1:] },
		"another before": func(l *raft.Log) { seal(l, o.log.sum+1) },
		"earlier term":   func(l *raft.Log) { l.Term = 0; seal(l, o.log.sum) },
		"no pack":        func(l *raft.Log) { l.Data = []byte{1}; seal(l, o.log.sum) },
	} {
		l := good
		l.Extensions = slices.Clone(good.Extensions)
		change(&l)
		if err := o.log.StoreLog(&l); err == nil {
			t.Errorf("an entry with a changed %s was stored", name)
		}
	}
	if err := errors.Join(o.log.StoreLog(&good), o.failure()); err != nil {
		t.Errorf("after all of them: %v", err)
	}
}

// Property: a term that cannot be saved takes the registry out of service; the
// process and the other goroutines of Raft go on, and it can be closed.
func TestATermThatCannotBeSavedEndsTheRegistryOnly(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.Timeout = 10 * time.Second })
	stock(t, c.nodes[0])
	n := c.follower()
	if err := n.files.vote.Close(); err != nil { // every later write fails
		t.Fatal(err)
	}
	c.eventually("new term on every node", func() bool {
		if n.failure() == nil {
			_ = c.leader().TransferLeadership(t.Context()) // tried again if it was too late
		}
		return n.failure() != nil
	})
	if err := n.Run(t.Context()); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("Run = %v, want the I/O error", err)
	}
	if _, err := n.Bucket(t.Context(), "b"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Bucket = %v, want ErrUnavailable", err)
	}
	c.net.mu.Lock()
	delete(c.net.nodes, n.id)
	c.net.mu.Unlock()
	if err := n.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close = %v, want only that the file is closed", err)
	}
	c.running[n.id] = false
	if err := c.leader().CreateBucket(t.Context(), Bucket{Name: "c", Owner: "me"}); err != nil {
		t.Errorf("CreateBucket on the others = %v", err)
	}
}

// Property: damage under a running registry takes it out of service; it answers
// nothing and does not crash.
func TestDamageUnderARunningRegistry(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.Timeout = time.Second })
	n := c.leader()
	stock(t, n)
	path := filepath.Join(n.dir, logName)
	for at := int64(0); at < 2*logPageSize; at += logPageSize {
		flip(t, path, at+boltHeader+60, 1) // both metas
	}
	_ = n.CreateBucket(t.Context(), Bucket{Name: "c", Owner: "me"})
	if err := n.Run(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("Run = %v, want ErrDamaged", err)
	}
	if _, err := n.Bucket(t.Context(), "b"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Bucket = %v, want ErrUnavailable", err)
	}
}

// Property: a row that Pebble finds corrupt is not answered from.
func TestACorruptRowTakesTheNodeOutOfService(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.Timeout = time.Second })
	n := c.leader()
	stock(t, n)
	if err := n.state.current.db.Flush(); err != nil {
		t.Fatal(err)
	}
	c.stop(n)
	tables, err := filepath.Glob(filepath.Join(n.dir, "state", "*", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables: %v, %v", tables, err)
	}
	for _, path := range tables {
		flip(t, path, 10, 1) // in the first data block
	}
	l := &testNode{id: n.id, dir: n.dir}
	cfg := c.config(l)
	r, err := Open(cfg)
	if err == nil {
		_, err = r.Bucket(t.Context(), "b")
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("Bucket = %v, want ErrUnavailable", err)
		}
		err = errors.Join(r.Run(t.Context()), r.Close())
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("registry with a corrupt row: %v, want ErrDamaged", err)
	}
}
