package chunkstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"partstore/internal/layout"
)

// A block travels and rests as a frame: its payload, then a CRC-32C. These
// constants are part of the disk and wire formats and must not change.
const (
	// ChecksumSize is the size of a checksum, in bytes.
	ChecksumSize = 4
	// LabelNumber stands in for a block number in the checksum of a label.
	LabelNumber = -1
	// MaxFrameSize is the size of the frame of a full block, in bytes.
	MaxFrameSize = layout.BlockSize + ChecksumSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Seal computes the checksums of one chunk. They cover the chunk's identity
// and the block's number besides the payload, so that a stale, swapped or
// misplaced block is as wrong as a flipped bit.
type Seal struct{ seed uint32 }

// NewSeal returns the Seal of a chunk.
func NewSeal(id layout.ChunkID) Seal {
	var b [17]byte
	copy(b[:], id.Attempt[:])
	b[16] = id.Index
	return Seal{crc32.Checksum(b[:], castagnoli)}
}

// AppendChecksum appends the checksum of block number n, or of the label if n
// is LabelNumber, to dst.
func (s Seal) AppendChecksum(dst []byte, n int64, payload []byte) []byte {
	return binary.LittleEndian.AppendUint32(dst, s.sum(n, payload))
}

// AppendFrame appends block number n as a frame to dst.
func (s Seal) AppendFrame(dst []byte, n int64, payload []byte) []byte {
	return s.AppendChecksum(append(dst, payload...), n, payload)
}

// Payload returns the payload of the frame of block number n, which lies in
// frame, or an error wrapping ErrCorrupt.
func (s Seal) Payload(n int64, frame []byte) ([]byte, error) {
	size := len(frame) - ChecksumSize
	if size < 1 || size > layout.BlockSize {
		return nil, fmt.Errorf("frame of block %d has %d bytes: %w", n, len(frame), ErrCorrupt)
	}
	payload := frame[:size]
	return payload, s.Verify(n, payload, frame[size:])
}

// Verify checks the payload of block number n against its checksum, the first
// ChecksumSize bytes of checksum. Errors wrap ErrCorrupt.
func (s Seal) Verify(n int64, payload, checksum []byte) error {
	if binary.LittleEndian.Uint32(checksum) != s.sum(n, payload) {
		return fmt.Errorf("checksum of block %d: %w", n, ErrCorrupt)
	}
	return nil
}

// verify is Verify for what is not a block.
func (s Seal) verify(what string, number int64, data, checksum []byte) error {
	if binary.LittleEndian.Uint32(checksum) != s.sum(number, data) {
		return fmt.Errorf("checksum of the %s: %w", what, ErrCorrupt)
	}
	return nil
}

// sum is the checksum of data under a number; what is not a block has a
// negative one.
func (s Seal) sum(number int64, data []byte) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(number))
	return crc32.Update(crc32.Update(s.seed, castagnoli, b[:]), castagnoli, data)
}

// Sequence counts the blocks of a chunk as they arrive and refuses what
// Writer.WriteBlock forbids.
type Sequence struct {
	Blocks int64 // so far; also the number of the next block
	Size   int64 // payload bytes so far
}

// Add takes note of a block with size payload bytes.
func (s *Sequence) Add(size int) error {
	switch {
	case size < 1 || size > layout.BlockSize:
		return fmt.Errorf("block %d has %d bytes", s.Blocks, size)
	case s.Size != s.Blocks*layout.BlockSize:
		return fmt.Errorf("block %d follows a short one", s.Blocks)
	}
	s.Blocks++
	s.Size += int64(size)
	return nil
}

// FrameWriter is a Writer that also takes blocks as frames, so that the
// checksum made by the first writer is the one that is stored.
type FrameWriter interface {
	Writer
	// WriteFrame is WriteBlock of a frame of size bytes, which read puts at the
	// begin of the room it is given; FrameSpare bytes behind it are read's to
	// use. A frame that fails its checksum is ErrCorrupt and is not stored, nor
	// is one of which read returns an error, which ends the Writer.
	WriteFrame(size int, read func(room []byte) error) error
}

// FrameSpare is how many bytes more than the frame may be read together with
// it, so that a stream's next head costs no read of its own.
const FrameSpare = 4

// RunWriter is a Writer that also takes several blocks at a time.
type RunWriter interface {
	Writer
	// WriteRun is WriteBlock of each block in order.
	WriteRun(blocks [][]byte) error
}

// RunReader is a Reader that also returns several blocks at a time.
type RunReader interface {
	Reader
	// NextRun reads blocks that follow into buf, which holds layout.BlockRoom
	// bytes for each, and appends them to dst, in order and verified; they lie
	// in buf. It returns at least one block or an error, as Next would, and
	// more only if they are at hand: fewer than fit means nothing.
	NextRun(buf []byte, dst [][]byte) ([][]byte, error)
}

// FrameReader is a Reader that also returns blocks as frames.
type FrameReader interface {
	Reader
	// NextFrame is Next for a frame; buf must hold MaxFrameSize bytes. The
	// frame has been verified.
	NextFrame(buf []byte) (int, error)
}
