package vfs

import "io"

// OpKind names an operation of FS or File.
type OpKind string

// The operations Fault sees. Closing a file is not among them.
const (
	OpCreate   OpKind = "create"
	OpOpen     OpKind = "open"
	OpRename   OpKind = "rename"
	OpRemove   OpKind = "remove"
	OpMkdir    OpKind = "mkdir"
	OpReadDir  OpKind = "readdir"
	OpStat     OpKind = "stat"
	OpSyncDir  OpKind = "syncdir"
	OpSpace    OpKind = "space"
	OpLock     OpKind = "lock"
	OpRead     OpKind = "read"
	OpWrite    OpKind = "write"
	OpTruncate OpKind = "truncate"
	OpAllocate OpKind = "allocate"
	OpPunch    OpKind = "punch"
	OpSync     OpKind = "sync"
)

// Op is one operation about to happen.
type Op struct {
	Kind OpKind
	Name string // for a rename, the old name
}

// Mutates reports whether the operation can change what is on the drive.
func (o Op) Mutates() bool {
	switch o.Kind {
	case OpCreate, OpRename, OpRemove, OpMkdir, OpSyncDir, OpWrite, OpTruncate, OpAllocate, OpPunch, OpSync:
		return true
	}
	return false
}

// Fault is an FS that asks Before about every operation. An error from Before
// is the operation's error, and the operation does not happen. Before may also
// just watch. It is called concurrently if the FS is used so.
type Fault struct {
	FS     FS
	Before func(Op) error
}

// Create implements FS.
func (f *Fault) Create(name string, mode Mode) (File, error) {
	return f.file(OpCreate, name, func() (File, error) { return f.FS.Create(name, mode) })
}

// Open implements FS.
func (f *Fault) Open(name string) (File, error) {
	return f.file(OpOpen, name, func() (File, error) { return f.FS.Open(name) })
}

// OpenWrite implements FS.
func (f *Fault) OpenWrite(name string) (File, error) {
	return f.file(OpOpen, name, func() (File, error) { return f.FS.OpenWrite(name) })
}

func (f *Fault) file(kind OpKind, name string, open func() (File, error)) (File, error) {
	if err := f.Before(Op{kind, name}); err != nil {
		return nil, err
	}
	inner, err := open()
	if err != nil {
		return nil, err
	}
	return &faultFile{File: inner, fault: f, name: name}, nil
}

// Rename implements FS.
func (f *Fault) Rename(from, to string) error {
	if err := f.Before(Op{OpRename, from}); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Remove implements FS.
func (f *Fault) Remove(name string) error {
	if err := f.Before(Op{OpRemove, name}); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// Mkdir implements FS.
func (f *Fault) Mkdir(name string) error {
	if err := f.Before(Op{OpMkdir, name}); err != nil {
		return err
	}
	return f.FS.Mkdir(name)
}

// ReadDir implements FS.
func (f *Fault) ReadDir(name string) ([]Entry, error) {
	if err := f.Before(Op{OpReadDir, name}); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(name)
}

// Stat implements FS.
func (f *Fault) Stat(name string) (Info, error) {
	if err := f.Before(Op{OpStat, name}); err != nil {
		return Info{}, err
	}
	return f.FS.Stat(name)
}

// SyncDir implements FS.
func (f *Fault) SyncDir(name string) error {
	if err := f.Before(Op{OpSyncDir, name}); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

// Space implements FS.
func (f *Fault) Space(name string) (Space, error) {
	if err := f.Before(Op{OpSpace, name}); err != nil {
		return Space{}, err
	}
	return f.FS.Space(name)
}

// Lock implements FS.
func (f *Fault) Lock(name string) (io.Closer, error) {
	if err := f.Before(Op{OpLock, name}); err != nil {
		return nil, err
	}
	return f.FS.Lock(name)
}

type faultFile struct {
	File
	fault *Fault
	name  string
}

func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.fault.Before(Op{OpRead, f.name}); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fault.Before(Op{OpWrite, f.name}); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultFile) WriteBuffers(buffers [][]byte, off int64) error {
	if err := f.fault.Before(Op{OpWrite, f.name}); err != nil {
		return err
	}
	return f.File.WriteBuffers(buffers, off)
}

func (f *faultFile) Allocate(start, end int64) error {
	if err := f.fault.Before(Op{OpAllocate, f.name}); err != nil {
		return err
	}
	return f.File.Allocate(start, end)
}

func (f *faultFile) Punch(start, end int64) error {
	if err := f.fault.Before(Op{OpPunch, f.name}); err != nil {
		return err
	}
	return f.File.Punch(start, end)
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fault.Before(Op{OpTruncate, f.name}); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err := f.fault.Before(Op{OpSync, f.name}); err != nil {
		return err
	}
	return f.File.Sync()
}
