package chunkstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// These constants are part of the on-disk format and must not change. A new
// format gets a new version. doc.go has the picture.
const (
	headerMagic   = "PSCK"
	formatVersion = 2
	headerSize    = 64

	unitSize    = vfs.Align // everything in a segment begins at a multiple
	pieceBlocks = 8
	pieceSize   = pieceBlocks * MaxFrameSize
	pieceUnits  = (pieceSize + unitSize - 1) / unitSize
	maxPieces   = 1 << 14
	placeSize   = 8

	tableNumber = LabelNumber - 1 // in place of a block number in the table's checksum
)

// maxRecordUnits is the length of the longest record.
const maxRecordUnits = (pieceSize + maxPieces*placeSize + ChecksumSize + MaxLabelSize + ChecksumSize + headerSize + unitSize - 1) / unitSize

// place is where something begins: a unit of a segment.
type place struct{ segment, unit uint32 }

func (p place) offset() int64 { return int64(p.unit) * unitSize }

// header describes a chunk. It is the end of the chunk's record.
type header struct {
	id        layout.ChunkID
	labelSize int
	pieces    int   // full pieces before the record
	size      int64 // payload bytes
	sequence  uint64
}

// rest is the payload that lies in the record itself, behind the pieces.
func (h header) rest() int64 { return h.size - int64(h.pieces)*pieceBlocks*layout.BlockSize }

// frames is the size of the frames in the record.
func (h header) frames() int64 { return framesSize(h.rest()) }

// tail is the size of what ends the record: table, label and header.
func (h header) tail() int64 {
	return int64(h.pieces)*placeSize + ChecksumSize + int64(h.labelSize) + ChecksumSize + headerSize
}

// units is the length of the record.
func (h header) units() uint32 {
	return uint32((h.frames() + h.tail() + unitSize - 1) / unitSize)
}

// valid reports whether a chunk of that shape can have been written.
func (h header) valid() bool {
	return h.size >= 0 && h.pieces >= 0 && h.pieces <= maxPieces && h.labelSize >= 0 && h.labelSize <= MaxLabelSize &&
		h.size <= (maxPieces+1)*pieceBlocks*layout.BlockSize &&
		h.rest() >= 0 && h.rest() <= pieceBlocks*layout.BlockSize && (h.rest() > 0 || h.pieces == 0)
}

// encode writes the header as it lies at the end of a record that begins at
// unit of a segment with that salt. The checksum covers both, so that a header
// elsewhere, or in another life of the drive's sectors, is no header.
func (h header) encode(b []byte, salt uint64, unit uint32) {
	clear(b[:headerSize])
	copy(b, headerMagic)
	b[4] = formatVersion
	b[5] = h.id.Index
	binary.LittleEndian.PutUint16(b[6:], uint16(h.labelSize))
	copy(b[8:], h.id.Attempt[:])
	binary.LittleEndian.PutUint64(b[24:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[32:], h.sequence)
	binary.LittleEndian.PutUint32(b[40:], uint32(h.pieces))
	binary.LittleEndian.PutUint32(b[60:], placedSum(b[:60], salt, unit))
}

// parseHeader reads the header at the end of a record whose last unit is last.
// Its record begins at the returned unit.
func parseHeader(b []byte, salt uint64, last uint32) (h header, first uint32, err error) {
	if len(b) != headerSize || string(b[:4]) != headerMagic {
		return header{}, 0, fmt.Errorf("no chunk header: %w", ErrCorrupt)
	}
	h = header{
		id:        layout.ChunkID{Attempt: layout.AttemptID(b[8:24]), Index: b[5]},
		labelSize: int(binary.LittleEndian.Uint16(b[6:])),
		size:      int64(binary.LittleEndian.Uint64(b[24:])),
		sequence:  binary.LittleEndian.Uint64(b[32:]),
		pieces:    int(binary.LittleEndian.Uint32(b[40:])),
	}
	if !h.valid() || h.units() > last+1 {
		return header{}, 0, fmt.Errorf("header of no known form: %w", ErrCorrupt)
	}
	first = last + 1 - h.units()
	if placedSum(b[:60], salt, first) != binary.LittleEndian.Uint32(b[60:]) {
		return header{}, 0, fmt.Errorf("header checksum: %w", ErrCorrupt)
	}
	if b[4] != formatVersion {
		return header{}, 0, fmt.Errorf("chunk format %d, this program reads %d: %w", b[4], formatVersion, ErrUnavailable)
	}
	var again [headerSize]byte
	if h.encode(again[:], salt, first); again != [headerSize]byte(b) {
		return header{}, 0, fmt.Errorf("header of no known form: %w", ErrCorrupt)
	}
	return h, first, nil
}

// appendTail appends table, label and room for the header.
func appendTail(dst []byte, seal Seal, table []place, label []byte) []byte {
	start := len(dst)
	dst = appendPlaces(dst, table)
	dst = seal.AppendChecksum(dst, tableNumber, dst[start:])
	dst = append(dst, label...)
	dst = seal.AppendChecksum(dst, LabelNumber, label)
	return append(dst, make([]byte, headerSize)...)
}

// parseTail reads the tail of a record, without the header. The label lies in b.
func (h header) parseTail(b []byte) (table []place, label []byte, err error) {
	seal := NewSeal(h.id)
	size := h.pieces * placeSize
	if err := seal.verify("table", tableNumber, b[:size], b[size:]); err != nil {
		return nil, nil, err
	}
	label = b[size+ChecksumSize:][:h.labelSize:h.labelSize]
	if err := seal.verify("label", LabelNumber, label, b[size+ChecksumSize+h.labelSize:]); err != nil {
		return nil, nil, err
	}
	return parsePlaces(b[:size]), label, nil
}

func appendPlaces(dst []byte, places []place) []byte {
	for _, p := range places {
		dst = binary.LittleEndian.AppendUint32(dst, p.segment)
		dst = binary.LittleEndian.AppendUint32(dst, p.unit)
	}
	return dst
}

func parsePlaces(b []byte) []place {
	if len(b) < placeSize {
		return nil
	}
	places := make([]place, len(b)/placeSize)
	for i := range places {
		places[i] = place{binary.LittleEndian.Uint32(b[i*placeSize:]), binary.LittleEndian.Uint32(b[i*placeSize+4:])}
	}
	return places
}

// placedSum is a checksum that also covers where its bytes lie.
func placedSum(b []byte, salt uint64, unit uint32) uint32 {
	var seed [12]byte
	binary.LittleEndian.PutUint64(seed[0:], salt)
	binary.LittleEndian.PutUint32(seed[8:], unit)
	return crc32.Update(checksum(seed[:]), castagnoli, b)
}

// blockCount is the number of blocks of a chunk of size payload bytes.
func blockCount(size int64) int64 {
	return size/layout.BlockSize + min(1, size%layout.BlockSize)
}

// framesSize is the size of the frames of so many payload bytes.
func framesSize(size int64) int64 { return size + blockCount(size)*ChecksumSize }
