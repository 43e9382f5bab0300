package peer

import (
	"bytes"
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
	ahead   []byte // of a record that is no block, read together with one
}

// errEndOfRecords reports that the stream is complete.
var errEndOfRecords = errors.New("end of records")

// begin reads the head of the first record.
func (r *records) begin() error {
	if r.started {
		return nil
	}
	if err := r.fill(r.head[:]); err != nil {
		return err
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

// frame reads the frame of a block of size payload bytes to the begin of room. It
// takes the head of the next record along, which always exists, and so saves a
// read.
func (r *records) frame(room []byte, size int) error {
	const _ = uint(chunkstore.FrameSpare - headSize)
	n := size + chunkstore.ChecksumSize
	if err := r.fill(room[:n+headSize]); err != nil {
		return err
	}
	copy(r.head[:], room[n:])
	r.blocks++
	return nil
}

// payload reads a block of size payload bytes straight into buf and verifies it.
func (r *records) payload(buf []byte, size int) error {
	var tail [chunkstore.ChecksumSize + headSize]byte
	if err := r.fill(buf[:size]); err != nil {
		return err
	}
	if err := r.fill(tail[:]); err != nil {
		return err
	}
	copy(r.head[:], tail[chunkstore.ChecksumSize:])
	r.blocks++
	return r.seal.Verify(r.first+r.blocks-1, buf[:size], tail[:])
}

// run reads blocks into buf, which has layout.BlockRoom for each, and appends
// their payloads, verified, to dst: one, and then as many as have arrived. left
// is how many may come at most, -1 if that is not known.
func (r *records) run(buf []byte, left int64, dst [][]byte) ([][]byte, error) {
	const size = chunkstore.MaxFrameSize + headSize // with the head of the next record
	const _ = uint(layout.BlockRoom - size - endSize)
	if room := int64(len(buf) / layout.BlockRoom); left < 0 || left > room {
		buf = buf[:room*size] // nothing of the block after
	} else {
		buf = buf[:left*size+endSize]
	}
	for begin, filled := 0, 0; ; {
		n, err := r.next()
		if err != nil {
			return dst, err
		}
		end := begin + n + chunkstore.ChecksumSize + headSize
		if end > len(buf) {
			return dst, fmt.Errorf("block %d is one too many: %w", r.first+r.blocks, ErrBadRequest)
		}
		if filled < end {
			got, err := io.ReadAtLeast(r.r, buf[filled:], end-filled)
			if filled += got; err != nil {
				return dst, noEOF(err)
			}
		}
		payload := buf[begin : begin+n]
		if err := r.seal.Verify(r.first+r.blocks, payload, buf[begin+n:]); err != nil {
			return dst, err
		}
		dst = append(dst, payload)
		r.blocks++
		begin = end
		copy(r.head[:], buf[end-headSize:])
		if filled == begin {
			return dst, nil
		}
		if r.complete() || r.failed() {
			r.ahead = bytes.Clone(buf[begin:filled])
			return dst, nil
		}
	}
}

// fill reads all of b.
func (r *records) fill(b []byte) error {
	n := copy(b, r.ahead)
	r.ahead = r.ahead[n:]
	if n == len(b) {
		return nil
	}
	_, err := io.ReadFull(r.r, b[n:])
	return noEOF(err)
}

func (r *records) end() error {
	var b [endSize]byte
	if err := r.fill(b[:]); err != nil {
		return err
	}
	if err := r.seal.Verify(endNumber, b[:8], b[8:]); err != nil {
		return fmt.Errorf("checksum of the end: %w", ErrBadRequest)
	}
	if n := binary.LittleEndian.Uint64(b[:8]); n != uint64(r.blocks) || len(r.ahead) > 0 {
		return fmt.Errorf("%d blocks arrived of %d, and %d bytes more: %w", r.blocks, n, len(r.ahead), ErrBadRequest)
	}
	return errEndOfRecords
}

// complete reports whether the end record is all that is left.
func (r *records) complete() bool { return binary.LittleEndian.Uint32(r.head[:]) == headEnd }

// failed reports whether a failure is all that is left.
func (r *records) failed() bool { return binary.LittleEndian.Uint32(r.head[:]) == headFailure }

func (r *records) failure() error {
	var size [1]byte
	if err := r.fill(size[:]); err != nil {
		return err
	}
	code := make([]byte, int(size[0])+2)
	if err := r.fill(code); err != nil {
		return err
	}
	length := int(binary.LittleEndian.Uint16(code[size[0]:]))
	if length > maxErrorText {
		return fmt.Errorf("error text of %d bytes: %w", length, ErrBadRequest)
	}
	text := make([]byte, length)
	if err := r.fill(text); err != nil {
		return err
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
