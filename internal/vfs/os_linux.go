package vfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const createFlags = os.O_RDWR | os.O_CREATE | os.O_EXCL

// Create implements FS.
func (OS) Create(name string, mode Mode) (File, error) {
	if mode == Direct {
		f, err := os.OpenFile(name, createFlags|unix.O_DIRECT, 0o600)
		if err == nil {
			return &osFile{File: f, direct: true}, nil
		}
		// A file system without direct writes refuses the flag, some of them
		// only after they made the file.
		if !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	f, err := os.OpenFile(name, createFlags, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Sync implements File. fdatasync also flushes a changed length, because the
// data could not be found without it.
func (f *osFile) Sync() error { return f.control("fdatasync", unix.Fdatasync) }

// maxBuffers is how many buffers one system call takes.
const maxBuffers = 1024

// WriteBuffers implements File.
func (f *osFile) WriteBuffers(buffers [][]byte, off int64) error {
	if len(buffers) == 1 {
		_, err := f.WriteAt(buffers[0], off)
		return err
	}
	for len(buffers) > 0 {
		some := buffers[:min(len(buffers), maxBuffers)]
		n, err := f.writeSome(some, off)
		if err != nil {
			return err
		}
		off += int64(n)
		for n > 0 && n >= len(buffers[0]) {
			n -= len(buffers[0])
			buffers = buffers[1:]
		}
		if n > 0 {
			// A write cut short in the middle of a buffer.
			if _, err := f.WriteAt(buffers[0][n:], off); err != nil {
				return err
			}
			off += int64(len(buffers[0]) - n)
			buffers = buffers[1:]
		}
	}
	return nil
}

func (f *osFile) writeSome(buffers [][]byte, off int64) (n int, err error) {
	err = f.control("pwritev", func(fd int) (err error) {
		n, err = unix.Pwritev(fd, buffers, off)
		return err
	})
	if err == nil && n == 0 {
		err = &os.PathError{Op: "pwritev", Path: f.Name(), Err: io.ErrShortWrite}
	}
	return n, err
}

// Allocate implements File.
func (f *osFile) Allocate(start, end int64) error {
	return f.control("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, start, end-start) })
}

// Punch implements File.
func (f *osFile) Punch(start, end int64) error {
	return f.control("punch", func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, start, end-start)
	})
}

// control makes a system call on the file's descriptor, which stays open
// meanwhile.
func (f *osFile) control(op string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = conn.Control(func(fd uintptr) {
		for {
			if failure = call(int(fd)); !errors.Is(failure, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		failure = os.ErrClosed // the only reason there is
	}
	if failure != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: failure}
	}
	return nil
}
