package metadata

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble gives up for good if it cannot write the list of its tables: it would
// end the process. Here only the goroutine ends that met the error, and the
// registry goes out of service; the database is left as it is. Since the process
// goes on, and opens the same directory again later, what is left of it must
// not touch that any more.

// pebbleLog drops Pebble's chatter. Its errors are returned by the calls that
// meet them; a fatal one has no caller.
type pebbleLog struct{ fatal func(error) }

func (pebbleLog) Infof(string, ...any)  {}
func (pebbleLog) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger. It must not return.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf(format, args...))
	runtime.Goexit() // with the deferred calls of whoever it was: Raft still ends
}

// fatal marks a database that cannot go on. It may hold any of its locks, so it
// is not closed any more.
func (s *state) fatal(err error) {
	s.dead.Store(true)
	s.fail(fmt.Errorf("%w: rows: %w", ErrDiskFault, err))
}

var errGaveUp = errors.New("the database gave up")

// mortalFS is the file system of a database. Once it gave up, it makes, moves
// and removes nothing: its successor has the directory. Files that it has open
// are nobody else's.
type mortalFS struct {
	vfs.FS
	dead *atomic.Bool
}

// Unwrap implements vfs.FS.
func (f mortalFS) Unwrap() vfs.FS { return f.FS }

func (f mortalFS) alive() error {
	if f.dead.Load() {
		return errGaveUp
	}
	return nil
}

func (f mortalFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.alive(); err != nil {
		return nil, err
	}
	return f.FS.Create(name, c)
}

func (f mortalFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := f.alive(); err != nil {
		return nil, err
	}
	return f.FS.OpenReadWrite(name, c, opts...)
}

func (f mortalFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.alive(); err != nil {
		return nil, err
	}
	return f.FS.ReuseForWrite(old, name, c)
}

func (f mortalFS) Link(old, name string) error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.FS.Link(old, name)
}

func (f mortalFS) Rename(old, name string) error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.FS.Rename(old, name)
}

func (f mortalFS) Remove(name string) error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f mortalFS) RemoveAll(name string) error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.FS.RemoveAll(name)
}
