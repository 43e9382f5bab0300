// Package vfs is the seam between Partstore and the file system. OS is the
// real one; Mem is one in memory that forgets what was not synced when it
// crashes; Fault wraps either and makes chosen operations fail.
//
// The promise behind the seam, the same for OS and Mem: the content of a file
// survives power loss once File.Sync returned, the names in a directory once
// SyncDir of that directory returned, and nothing else does for sure.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
)

// ErrLocked reports a lock file that somebody else holds.
var ErrLocked = errors.New("locked by another process")

// FS is a file system. Names are cleaned slash-separated paths. Errors wrap
// those of io/fs and syscall; all methods may be called concurrently.
type FS interface {
	// Create makes a new file for writing; an existing name is fs.ErrExist.
	Create(name string, mode Mode) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// OpenWrite opens a file for reading and writing, through the page cache.
	OpenWrite(name string) (File, error)
	// Rename gives a file a new name, replacing what had it.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Mkdir makes one directory; an existing name is fs.ErrExist.
	Mkdir(name string) error
	// ReadDir returns the entries of a directory in byte order of their names.
	ReadDir(name string) ([]Entry, error)
	// Stat describes a file or directory.
	Stat(name string) (Info, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Space tells how full the file system under a name is.
	Space(name string) (Space, error)
	// Lock takes the lock file of that name, made if absent, until the
	// returned Closer is closed or the process ends. A held one is ErrLocked.
	Lock(name string) (io.Closer, error)
}

// File is an open file. Its methods may be called concurrently. Once it is
// closed, they fail with fs.ErrClosed.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WriteBuffers writes the buffers one behind the other, the first at off.
	WriteBuffers(buffers [][]byte, off int64) error
	// Allocate makes the file at least end bytes long and finds room on the
	// drive for those from start on. What was not written reads as zeros. It
	// wraps errors.ErrUnsupported where the file system cannot.
	Allocate(start, end int64) error
	// Punch gives the room of the bytes from start to end back; they read as
	// zeros, and the length stays. Like a write it is durable after Sync. It
	// wraps errors.ErrUnsupported where the file system cannot.
	Punch(start, end int64) error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate sets the length in bytes.
	Truncate(size int64) error
	// Sync makes content and length durable. After an error nothing is known
	// of what was written since the last good Sync, and trying again proves nothing.
	Sync() error
	// Direct reports whether writes must obey the rule of Mode Direct.
	Direct() bool
}

// Mode says how a new file will be written.
type Mode uint8

const (
	// Buffered writes go through the page cache.
	Buffered Mode = iota
	// Direct writes go around the page cache where the file system allows it.
	// If File.Direct then reports true, offset, length and memory of every
	// WriteAt must be multiples of Align; Truncate sets the true length.
	Direct
)

// Align is the alignment that direct writes need, in bytes.
const Align = 4096

// Entry is one name in a directory.
type Entry struct {
	Name string
	Dir  bool
}

// Info describes a file or directory.
type Info struct {
	Size      int64
	Allocated int64 // bytes of the drive that the content takes
	Dir       bool
}

// Space tells how full a file system is, in bytes.
type Space struct {
	Capacity int64
	Free     int64 // available to this process
}

// MkdirAll makes a directory and its parents, as far as they are missing, and
// makes every name it adds durable.
func MkdirAll(fsys FS, name string) error {
	info, err := fsys.Stat(name)
	if err == nil {
		if !info.Dir {
			return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := path.Dir(name)
	if parent != name {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}
