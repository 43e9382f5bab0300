package chunkstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// Constants of the on-disk format.
const (
	segmentMagic  = "PSSG"
	segmentSuffix = ".segment"
)

// segmentHeader begins a segment, and is repeated at the end of the first unit.
type segmentHeader struct {
	number uint32
	salt   uint64 // random; covered by the checksum of everything that frames
	store  layout.StoreID
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, segmentMagic)
	b[4] = formatVersion
	binary.LittleEndian.PutUint32(b[8:], h.number)
	binary.LittleEndian.PutUint64(b[16:], h.salt)
	copy(b[24:], h.store[:])
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return b
}

func parseSegmentHeader(b []byte) (segmentHeader, error) {
	switch {
	case len(b) != headerSize || string(b[:4]) != segmentMagic:
		return segmentHeader{}, fmt.Errorf("no segment header: %w", ErrCorrupt)
	case checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]):
		return segmentHeader{}, fmt.Errorf("checksum of the segment header: %w", ErrCorrupt)
	case b[4] != formatVersion:
		return segmentHeader{}, fmt.Errorf("segment format %d, this program reads %d: %w", b[4], formatVersion, ErrUnavailable)
	}
	h := segmentHeader{
		number: binary.LittleEndian.Uint32(b[8:]),
		salt:   binary.LittleEndian.Uint64(b[16:]),
		store:  layout.StoreID(b[24:40]),
	}
	if [headerSize]byte(h.encode()) != [headerSize]byte(b) {
		return segmentHeader{}, fmt.Errorf("segment header of no known form: %w", ErrCorrupt)
	}
	return h, nil
}

func segmentName(number uint32) string { return fmt.Sprintf("%08x%s", number, segmentSuffix) }

// parseSegmentName reports whether a file is a segment, and which.
func parseSegmentName(name string) (uint32, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 16, 32)
	return uint32(n), err == nil && segmentName(uint32(n)) == name
}

// segment is one file of a store. It grows while a lane writes to it; then it
// is sealed with a footer and changes no more, except that holes are punched.
type segment struct {
	segmentHeader
	files *openFiles
	fs    vfs.FS
	path  string

	// users are the lane that writes here and the writers that have pieces
	// here. The last to leave has the segment sealed.
	users atomic.Int32

	// Guarded by its lane's lock while the segment grows; fixed afterwards.
	next      uint32 // the first free unit, where the footer goes
	allocated uint32 // units that have room on the drive, if room is allocated

	writer vfs.File // nil once sealed

	// Guarded by Disk.mu.
	live       int64            // units of committed chunks
	records    []layout.ChunkID // committed here since the segment began to grow
	sealed     bool
	compacting bool // will be, or was

	mu      sync.Mutex
	reader  vfs.File // through the page cache; nil until first used
	readers int      // who will use it; it outlives the file's name for them
	gone    bool     // removed
}

// newSegment makes a segment and its name durable.
func (d *Disk) newSegment(number uint32) (*segment, error) {
	s := d.segment(number)
	var salt [8]byte
	rand.Read(salt[:])
	s.salt = binary.LittleEndian.Uint64(salt[:])
	f, err := d.fs.Create(s.path, d.mode())
	if err != nil {
		return nil, err
	}
	b := vfs.AlignedBuffer(unitSize)
	copy(b, s.encode())
	copy(b[unitSize-headerSize:], s.encode())
	_, err = f.WriteAt(b, 0)
	if err == nil {
		if err = f.Sync(); err != nil {
			err = d.raiseFence(err)
		}
	}
	if err == nil {
		err = d.syncDir(path.Dir(s.path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), d.fs.Remove(s.path))
	}
	s.writer, s.next = f, 1
	return s, nil
}

// segment returns a handle of a segment of this store.
func (d *Disk) segment(number uint32) *segment {
	return &segment{
		segmentHeader: segmentHeader{number: number, store: d.id},
		files:         &d.files,
		fs:            d.fs,
		path:          path.Join(d.segmentsDir(), segmentName(number)),
	}
}

// acquire keeps the content of the segment until release, even if the segment
// is removed meanwhile.
func (s *segment) acquire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers++
}

func (s *segment) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers--; s.readers == 0 && (s.gone || s.files.crowded()) {
		_ = s.closeReader() // only read from
	}
}

// remove lets go of the file once nobody reads it.
func (s *segment) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone = true; s.readers == 0 {
		_ = s.closeReader() // only read from
	}
}

func (s *segment) closeReader() (err error) {
	if s.reader != nil {
		err = s.reader.Close()
		s.reader = nil
		s.files.count.Add(-1)
	}
	return err
}

// file returns the segment opened for reading, and for punching holes where
// the file system allows it.
func (s *segment) file() (vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == nil {
		f, err := s.fs.OpenWrite(s.path)
		if err != nil {
			f, err = s.fs.Open(s.path)
		}
		if err != nil {
			return nil, err
		}
		s.reader = f
		s.files.count.Add(1)
	}
	return s.reader, nil
}

// openFiles counts the segments of a store that are open for reading. When
// there are too many, a segment is closed as soon as nobody reads it.
type openFiles struct {
	limit int64
	count atomic.Int64
}

// maxOpenFiles is how many segments are kept open, 256 GiB of full ones.
const maxOpenFiles = 1024

func (f *openFiles) crowded() bool { return f.count.Load() > f.limit }

// readAt fills b; a file that ends before is corrupt.
func (s *segment) readAt(b []byte, offset int64) error {
	f, err := s.file()
	if err != nil {
		return readError(err)
	}
	n, err := f.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("segment %s ends at %d: %w", segmentName(s.number), offset+int64(n), ErrCorrupt)
	}
	return readError(err)
}

// close lets go of all files.
func (s *segment) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.closeReader()
	if s.writer != nil {
		err = errors.Join(err, s.writer.Close())
		s.writer = nil
	}
	return err
}
