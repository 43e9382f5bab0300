package vfs

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory that knows what has been synced. It has one
// root directory, "/" or ".".
type Mem struct {
	mu    sync.Mutex
	root  *memNode
	locks map[string]bool
}

// NewMem returns an empty Mem.
func NewMem() *Mem { return &Mem{root: newMemDir(), locks: map[string]bool{}} }

// memNode is a file or a directory: what programs see now, and what a crash
// would leave of it.
type memNode struct {
	names, syncedNames map[string]*memNode // nil for a file
	data, syncedData   []byte
}

func newMemDir() *memNode {
	return &memNode{names: map[string]*memNode{}, syncedNames: map[string]*memNode{}}
}

func (n *memNode) isDir() bool { return n.names != nil }

// allocated pretends that a drive keeps pages, and none of zeros.
func (n *memNode) allocated() (total int64) {
	for page := range slices.Chunk(n.data, Align) {
		if len(bytes.TrimLeft(page, "\x00")) > 0 {
			total += Align
		}
	}
	return total
}

// find returns the node of a name. The caller holds m.mu.
func (m *Mem) find(op, name string) (*memNode, error) {
	n := m.root
	for _, step := range steps(name) {
		if !n.isDir() {
			return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
		}
		if n = n.names[step]; n == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOENT}
		}
	}
	return n, nil
}

// findDir is find for a name that must be a directory.
func (m *Mem) findDir(op, name string) (*memNode, error) {
	n, err := m.find(op, name)
	if err == nil && !n.isDir() {
		err = &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
	}
	return n, err
}

func steps(name string) []string {
	name = strings.Trim(path.Clean("/"+name), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// add puts a new node under a name that must be free.
func (m *Mem) add(op, name string, n *memNode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.findDir(op, path.Dir(name))
	if err != nil {
		return err
	}
	if dir.names[path.Base(name)] != nil || len(steps(name)) == 0 {
		return &fs.PathError{Op: op, Path: name, Err: syscall.EEXIST}
	}
	dir.names[path.Base(name)] = n
	return nil
}

// Create implements FS.
func (m *Mem) Create(name string, _ Mode) (File, error) {
	n := &memNode{}
	if err := m.add("create", name, n); err != nil {
		return nil, err
	}
	return &memFile{mem: m, node: n}, nil
}

// Mkdir implements FS.
func (m *Mem) Mkdir(name string) error { return m.add("mkdir", name, newMemDir()) }

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	return &memFile{mem: m, node: n}, nil
}

// OpenWrite implements FS.
func (m *Mem) OpenWrite(name string) (File, error) { return m.Open(name) }

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("rename", from)
	if err != nil {
		return err
	}
	source, err := m.findDir("rename", path.Dir(from))
	if err != nil {
		return err
	}
	target, err := m.findDir("rename", path.Dir(to))
	if err != nil {
		return err
	}
	if old := target.names[path.Base(to)]; old != nil && old.isDir() {
		return &fs.PathError{Op: "rename", Path: to, Err: syscall.EISDIR}
	}
	delete(source.names, path.Base(from))
	target.names[path.Base(to)] = n
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("remove", name)
	if err != nil {
		return err
	}
	if len(n.names) > 0 || n == m.root {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	dir, err := m.findDir("remove", path.Dir(name))
	if err != nil {
		return err
	}
	delete(dir.names, path.Base(name))
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.findDir("readdir", name)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(dir.names))
	for _, name := range slices.Sorted(maps.Keys(dir.names)) {
		entries = append(entries, Entry{Name: name, Dir: dir.names[name].isDir()})
	}
	return entries, nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("stat", name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: int64(len(n.data)), Allocated: n.allocated(), Dir: n.isDir()}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.findDir("syncdir", name)
	if err != nil {
		return err
	}
	dir.syncedNames = maps.Clone(dir.names)
	return nil
}

// Space implements FS. Memory pretends to be 1 TiB, always empty.
func (m *Mem) Space(string) (Space, error) {
	return Space{Capacity: 1 << 40, Free: 1 << 40}, nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	if f, err := m.Create(name, Buffered); err == nil {
		f.Close()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if _, err := m.find("lock", name); err != nil {
		return nil, err
	}
	if m.locks[name] {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: ErrLocked}
	}
	m.locks[name] = true
	return &memLock{mem: m, name: name}, nil
}

type memLock struct {
	mem  *Mem
	name string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.mem.mu.Lock()
		defer l.mem.mu.Unlock()
		delete(l.mem.locks, l.name)
	})
	return nil
}
