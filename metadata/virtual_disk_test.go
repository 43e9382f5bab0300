package metadata

import (
	"maps"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// virtualDisk is a node's disk in memory. It keeps what was synced; of the rest, a
// crash takes all, or leaves some blocks and names by chance, whatever the order
// in which they were written. The crash may come at a moment, or at a chosen write, sync or
// rename from now on, in the middle of whatever the node does.
type virtualDisk struct {
	mu     sync.Mutex // held through each change: a crash sees all of one or nothing
	fs     *vfs.MemFS
	log    *virtualLog
	left   int    // changes until the crash; 0: none is planned
	crash  func() // what the crash does besides; called once, with mu held
	rng    *rand.Rand
	keeps  int // per cent of what was not synced that the crash left
	frozen *virtualDisk
}

func newVirtualDisk(rng *rand.Rand) *virtualDisk {
	return &virtualDisk{fs: vfs.NewCrashableMem(), log: newVirtualLog(), rng: rng}
}

// disk is the disk as a registry sees it.
func (d *virtualDisk) disk() *disk {
	return &disk{
		fs: virtualFS{d.fs, d},
		openLog: func(path string, create bool) (logFile, error) {
			o := &openVirtualLog{disk: d}
			var made bool
			o.look(func(r *logRows) { made = r.made })
			switch {
			case made:
				return o, nil
			case !create:
				return nil, damaged(path, os.ErrNotExist)
			}
			return o, o.change(func(r *logRows) { r.made = true })
		},
	}
}

// crashAfter plans a crash before the n-th change from now; what then calls is
// told of it.
func (d *virtualDisk) crashAfter(n int, what func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen == nil {
		d.left, d.crash = n, what
	}
}

// crashNow freezes what is durable, unless a planned crash did already.
func (d *virtualDisk) crashNow(what func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen == nil {
		d.crash = what
		d.freeze()
	}
}

func (d *virtualDisk) freeze() {
	d.left = 0
	d.keeps = max(0, d.rng.IntN(200)-99) // nothing, every other time
	left := d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: d.keeps, RNG: d.rng})
	d.frozen = &virtualDisk{fs: left, log: d.log.durable(), rng: d.rng}
	d.crash()
}

// after returns the disk as the crash left it. The old one may still be written
// to: nobody will know.
func (d *virtualDisk) after() (left *virtualDisk, torn bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen, d.keeps > 0 && d.keeps < 100
}

// change runs one change of the disk.
func (d *virtualDisk) change(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left > 0 {
		if d.left--; d.left == 0 {
			d.freeze()
		}
	}
	return do()
}

// virtualFS counts the changes made through it.
type virtualFS struct {
	vfs.FS
	d *virtualDisk
}

func (f virtualFS) file(open func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.d.change(func() error {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return virtualFile{file, f.d}, nil
}

func (f virtualFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f virtualFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, c) })
}

func (f virtualFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f virtualFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return virtualFile{file, f.d}, nil
}

func (f virtualFS) Link(old, name string) error {
	return f.d.change(func() error { return f.FS.Link(old, name) })
}

func (f virtualFS) Remove(name string) error {
	return f.d.change(func() error { return f.FS.Remove(name) })
}

func (f virtualFS) RemoveAll(name string) error {
	return f.d.change(func() error { return f.FS.RemoveAll(name) })
}

func (f virtualFS) Rename(old, name string) error {
	return f.d.change(func() error { return f.FS.Rename(old, name) })
}

func (f virtualFS) MkdirAll(dir string, mode os.FileMode) error {
	return f.d.change(func() error { return f.FS.MkdirAll(dir, mode) })
}

func (f virtualFS) Unwrap() vfs.FS { return f.FS }

type virtualFile struct {
	vfs.File
	d *virtualDisk
}

func (f virtualFile) Write(b []byte) (n int, err error) {
	err = f.d.change(func() error {
		n, err = f.File.Write(b)
		return err
	})
	return n, err
}

func (f virtualFile) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.d.change(func() error {
		n, err = f.File.WriteAt(b, at)
		return err
	})
	return n, err
}

func (f virtualFile) Sync() error     { return f.d.change(f.File.Sync) }
func (f virtualFile) SyncData() error { return f.d.change(f.File.SyncData) }

// virtualLog is what bbolt keeps: the entries of Raft's log. Every change is
// atomic and durable, as bbolt's are.
type virtualLog struct{ entries logRows }

type logRows struct {
	made        bool
	logs        map[uint64]*raft.Log
	first, last uint64
}

func newVirtualLog() *virtualLog {
	return &virtualLog{logRows{logs: map[uint64]*raft.Log{}}}
}

// durable is the log as a crash would leave it.
func (l *virtualLog) durable() *virtualLog {
	entries := l.entries
	entries.logs = maps.Clone(entries.logs)
	return &virtualLog{entries}
}

func (r *logRows) store(logs []*raft.Log) {
	for _, l := range logs {
		entry := *l
		r.logs[l.Index] = &entry
		if r.first == 0 || l.Index < r.first {
			r.first = l.Index
		}
		r.last = max(r.last, l.Index)
	}
}

// deleteRange keeps first and last by looking at both ends, as bbolt's cursor
// does.
func (r *logRows) deleteRange(from, to uint64) {
	for i := from; i <= to; i++ {
		delete(r.logs, i)
	}
	for r.first <= r.last && r.logs[r.first] == nil {
		r.first++
	}
	for r.last >= r.first && r.logs[r.last] == nil {
		r.last--
	}
	if len(r.logs) == 0 {
		r.first, r.last = 0, 0
	}
}

// openVirtualLog is a virtualLog as one process has it open.
type openVirtualLog struct {
	disk *virtualDisk
}

var _ logFile = (*openVirtualLog)(nil)

func (o *openVirtualLog) change(do func(*logRows)) error {
	return o.disk.change(func() error {
		do(&o.disk.log.entries)
		return nil
	})
}

func (o *openVirtualLog) look(at func(*logRows)) {
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	at(&o.disk.log.entries)
}

func (o *openVirtualLog) FirstIndex() (i uint64, _ error) {
	o.look(func(r *logRows) { i = r.first })
	return i, nil
}

func (o *openVirtualLog) LastIndex() (i uint64, _ error) {
	o.look(func(r *logRows) { i = r.last })
	return i, nil
}

func (o *openVirtualLog) GetLog(index uint64, l *raft.Log) (err error) {
	o.look(func(r *logRows) {
		if entry := r.logs[index]; entry != nil {
			*l = *entry
		} else {
			err = raft.ErrLogNotFound
		}
	})
	return err
}

func (o *openVirtualLog) StoreLog(l *raft.Log) error { return o.StoreLogs([]*raft.Log{l}) }

func (o *openVirtualLog) StoreLogs(logs []*raft.Log) error {
	return o.change(func(r *logRows) { r.store(logs) })
}

func (o *openVirtualLog) DeleteRange(from, to uint64) error {
	return o.change(func(r *logRows) { r.deleteRange(from, to) })
}

func (o *openVirtualLog) Close() error { return nil }
