package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// records reads the records of a chunk stream.
type records struct {
	r       io.Reader
	seal    chunkstore.Seal
	first   int64 // number of the first block
	blocks  int64 // seen so far
	head    [headSize]byte
	started bool
}

// errEndOfRecords reports that the stream is complete.
var errEndOfRecords = errors.New("end of records")

// begin reads the head of the first record.
func (r *records) begin() error {
	if r.started {
		return nil
	}
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return noEOF(err)
	}
	r.started = true
	return nil
}

// next returns the payload size of the next block, or errEndOfRecords once the
// stream is known to be complete, or the failure the other side reported. After
// a size, the caller takes the block with frame or payload.
func (r *records) next() (int, error) {
	if err := r.begin(); err != nil {
		return 0, err
	}
	switch head := binary.LittleEndian.Uint32(r.head[:]); {
	case head == headEnd:
		return 0, r.end()
	case head == headFailure:
		return 0, r.failure()
	case head < 1 || head > layout.BlockSize:
		return 0, fmt.Errorf("record head %#x: %w", head, ErrBadRequest)
	default:
		return int(head), nil
	}
}

// frame reads the frame of a block of size payload bytes into buf, which must
// hold maxRecordSize bytes. It takes the head of the next record along, which
// always exists, and so saves a read.
func (r *records) frame(buf []byte, size int) ([]byte, error) {
	n := size + chunkstore.ChecksumSize
	if _, err := io.ReadFull(r.r, buf[:n+headSize]); err != nil {
		return nil, noEOF(err)
	}
	copy(r.head[:], buf[n:n+headSize])
	r.blocks++
	return buf[:n], nil
}

// payload reads a block of size payload bytes straight into buf and verifies it.
func (r *records) payload(buf []byte, size int) error {
	var tail [chunkstore.ChecksumSize + headSize]byte
	if _, err := io.ReadFull(r.r, buf[:size]); err != nil {
		return noEOF(err)
	}
	if _, err := io.ReadFull(r.r, tail[:]); err != nil {
		return noEOF(err)
	}
	copy(r.head[:], tail[chunkstore.ChecksumSize:])
	r.blocks++
	return r.seal.Verify(r.first+r.blocks-1, buf[:size], tail[:])
}

func (r *records) end() error {
	var b [endSize]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		return noEOF(err)
	}
	if err := r.seal.Verify(endNumber, b[:8], b[8:]); err != nil {
		return fmt.Errorf("checksum of the end: %w", ErrBadRequest)
	}
	if n := binary.LittleEndian.Uint64(b[:8]); n != uint64(r.blocks) {
		return fmt.Errorf("%d blocks arrived of %d: %w", r.blocks, n, ErrBadRequest)
	}
	return errEndOfRecords
}

// complete reports whether the end record is all that is left.
func (r *records) complete() bool { return binary.LittleEndian.Uint32(r.head[:]) == headEnd }

// failed reports whether a failure is all that is left.
func (r *records) failed() bool { return binary.LittleEndian.Uint32(r.head[:]) == headFailure }

func (r *records) failure() error {
	var size [1]byte
	if _, err := io.ReadFull(r.r, size[:]); err != nil {
		return noEOF(err)
	}
	code := make([]byte, int(size[0])+2)
	if _, err := io.ReadFull(r.r, code); err != nil {
		return noEOF(err)
	}
	length := int(binary.LittleEndian.Uint16(code[size[0]:]))
	if length > maxErrorText {
		return fmt.Errorf("error text of %d bytes: %w", length, ErrBadRequest)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r.r, text); err != nil {
		return noEOF(err)
	}
	return errorOf(string(code[:size[0]]), string(text))
}

// noEOF makes a stream that just stops an error: only its end record ends it.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
