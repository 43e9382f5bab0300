package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// snapshotReader reads one snapshot, as a stream for another node or file by
// file for this one. Every byte is checked against the manifest; a snapshot
// that fails is never offered again. The store keeps the files until Close.
type snapshotReader struct {
	store    *snapshotStore
	snapshot *storedSnapshot

	pending []byte       // of the stream, ready to be read
	next    int          // the file after the open one
	file    *checkedFile // nil: none open
	frame   []byte
	failed  error
	closed  bool
}

// Read implements io.Reader: the stream.
func (r *snapshotReader) Read(p []byte) (int, error) {
	for len(r.pending) == 0 {
		if r.failed == nil {
			r.failed = r.fill()
		}
		if r.failed != nil {
			return 0, r.failed
		}
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}

// fill makes the next frame pending. It returns io.EOF behind the last one.
func (r *snapshotReader) fill() error {
	for r.file == nil || r.file.left() == 0 { // an empty file has no frame
		if err := r.nextFile(); err != nil {
			return err
		}
	}
	size := min(r.file.left(), snapshotFrame)
	if r.frame == nil {
		r.frame = make([]byte, snapshotFrame+checksumSize)
	}
	if _, err := io.ReadFull(r.file, r.frame[:size]); err != nil {
		return r.damaged(err)
	}
	r.pending = binary.LittleEndian.AppendUint32(r.frame[:size], r.file.sum)
	return nil
}

func (r *snapshotReader) nextFile() (err error) {
	files := r.snapshot.manifest.files
	if r.next == len(files) {
		return io.EOF
	}
	if err := r.closeFile(); err != nil {
		return err
	}
	r.file, err = r.open(files[r.next])
	r.next++
	return err
}

func (r *snapshotReader) open(f fileSum) (*checkedFile, error) {
	file, err := openChecked(r.store.fs, filepath.Join(r.store.rows(r.snapshot), f.name), f)
	if err != nil {
		return nil, r.damaged(err)
	}
	return file, nil
}

func (r *snapshotReader) closeFile() error {
	if r.file == nil {
		return nil
	}
	defer func() { r.file = nil }()
	return r.file.Close()
}

// damaged takes the snapshot out of use.
func (r *snapshotReader) damaged(err error) error {
	err = fmt.Errorf("snapshot %s: %w", r.snapshot.id(), err)
	r.store.markDamaged(r.snapshot, err)
	return err
}

// Close implements io.Closer. It may be called twice.
func (r *snapshotReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.store.release(r.snapshot)
	return r.closeFile()
}

// linkTo makes dir a copy of the snapshot's rows, durable but for its own name.
// Tables, which Pebble never changes, are linked.
func (r *snapshotReader) linkTo(dir string) error {
	fs := r.store.fs
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range r.snapshot.manifest.files {
		if err := r.linkFile(f, filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	return syncDir(fs, dir)
}

func (r *snapshotReader) linkFile(f fileSum, to string) (err error) {
	from, err := r.open(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	fs := r.store.fs
	if !isTable(f.name) {
		return r.copyFile(from, to)
	}
	if _, err := io.CopyBuffer(io.Discard, onlyReader{from}, make([]byte, snapshotFrame)); err != nil {
		return r.damaged(err)
	}
	return fs.Link(filepath.Join(r.store.rows(r.snapshot), f.name), to)
}

func (r *snapshotReader) copyFile(from *checkedFile, to string) (err error) {
	out, err := r.store.fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(onlyWriter{out}, onlyReader{from}); errors.Is(err, ErrDamaged) {
		return r.damaged(err)
	} else if err != nil {
		return err
	}
	return out.Sync()
}

// isTable tells the files that Pebble writes once from those it goes on with.
func isTable(name string) bool {
	switch filepath.Ext(name) {
	case ".sst", ".blob":
		return true
	}
	return false
}

// checkedFile reads a file that must have a given size and checksum. Reading
// its last byte fails unless it has; so does opening it if the size is wrong.
type checkedFile struct {
	vfs.File
	want fileSum
	read int64
	sum  uint32 // CRC-32C of what was read
}

func openChecked(fs vfs.FS, path string, want fileSum) (*checkedFile, error) {
	file, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	info, err := file.Stat()
	if err == nil && info.Size() != want.size {
		err = fmt.Errorf("%s has %d bytes of %d", want.name, info.Size(), want.size)
	}
	if err == nil && want.size == 0 && want.sum != 0 {
		err = fmt.Errorf("%s: checksum", want.name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrDamaged, err), file.Close())
	}
	return &checkedFile{File: file, want: want}, nil
}

func (c *checkedFile) left() int64 { return c.want.size - c.read }

// Read returns no bytes together with an error: io.ReadFull would forget it.
func (c *checkedFile) Read(p []byte) (int, error) {
	if c.left() == 0 {
		return 0, io.EOF
	}
	n, err := c.File.Read(p[:min(int64(len(p)), c.left())])
	c.read += int64(n)
	c.sum = crc32.Update(c.sum, castagnoli, p[:n])
	switch {
	case err != nil && err != io.EOF:
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	case c.left() == 0 && c.sum != c.want.sum:
		return 0, fmt.Errorf("%w: checksum of %s", ErrDamaged, c.want.name)
	case n == 0:
		return 0, fmt.Errorf("%w: %s ends after %d bytes of %d", ErrDamaged, c.want.name, c.read, c.want.size)
	}
	return n, nil
}

// onlyReader and onlyWriter hide what io.Copy would rather use.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
