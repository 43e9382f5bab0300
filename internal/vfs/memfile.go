package vfs

import (
	"bytes"
	"io"
	"io/fs"
)

// memFile is an open file of a Mem. It outlives the removal of its name.
type memFile struct {
	mem    *Mem
	node   *memNode
	closed bool
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	f.node.resize(max(int64(len(f.node.data)), off+int64(len(b))))
	return copy(f.node.data[off:], b), nil
}

func (f *memFile) WriteBuffers(buffers [][]byte, off int64) error {
	for _, b := range buffers {
		n, err := f.WriteAt(b, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

func (f *memFile) Allocate(_, end int64) error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.node.resize(max(int64(len(f.node.data)), end))
	return nil
}

func (f *memFile) Punch(start, end int64) error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	size := int64(len(f.node.data))
	clear(f.node.data[min(start, size):min(end, size)])
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.node.resize(size)
	return nil
}

func (n *memNode) resize(size int64) {
	old := int64(len(n.data))
	if size <= int64(cap(n.data)) {
		n.data = n.data[:size]
		if size > old {
			clear(n.data[old:])
		}
		return
	}
	n.data = append(n.data, make([]byte, size-old)...)
}

func (f *memFile) Sync() error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.node.syncedData = bytes.Clone(f.node.data)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *memFile) Direct() bool { return false }

func (f *memFile) Close() error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
