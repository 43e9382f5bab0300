package chunkstore

import (
	"encoding/binary"
	"fmt"

	"partstore/internal/layout"
)

// Constants of the on-disk format.
const (
	footerMagic    = "PSSF"
	footerItemSize = 44 // without the places of pieces
)

// foundChunk is a chunk as it is read from a segment.
type foundChunk struct {
	entry
	table []place
}

// encodeFooter returns the footer of a segment, to be written at unit; whole
// units. It is an index of the records in the segment, so that opening a store
// does not have to read the segment.
func encodeFooter(chunks []foundChunk, s segmentHeader, unit uint32) []byte {
	size := headerSize
	for _, c := range chunks {
		size += footerItemSize + len(c.table)*placeSize
	}
	b := make([]byte, 0, (size+unitSize-1)/unitSize*unitSize)
	for _, c := range chunks {
		b = append(b, c.id.Attempt[:]...)
		b = append(b, c.id.Index, 0)
		b = binary.LittleEndian.AppendUint16(b, uint16(c.labelSize))
		b = binary.LittleEndian.AppendUint32(b, c.at.unit)
		b = binary.LittleEndian.AppendUint64(b, uint64(c.size))
		b = binary.LittleEndian.AppendUint64(b, c.sequence)
		b = binary.LittleEndian.AppendUint32(b, uint32(c.pieces))
		b = appendPlaces(b, c.table)
	}
	body := len(b)
	b = b[:cap(b)]
	end := b[len(b)-headerSize:]
	copy(end, footerMagic)
	end[4] = formatVersion
	binary.LittleEndian.PutUint32(end[8:], uint32(len(chunks)))
	binary.LittleEndian.PutUint32(end[12:], uint32(body))
	binary.LittleEndian.PutUint32(end[16:], unit)
	binary.LittleEndian.PutUint32(end[20:], checksum(b[:body]))
	binary.LittleEndian.PutUint32(end[60:], placedSum(end[:60], s.salt, unit))
	return b
}

// footerEnd is the last header of a sealed segment.
type footerEnd struct {
	chunks int
	body   int
	unit   uint32
	sum    uint32
}

// parseFooterEnd reads the last headerSize bytes of a segment of so many units.
func parseFooterEnd(b []byte, s segmentHeader, units uint32) (footerEnd, error) {
	if len(b) != headerSize || string(b[:4]) != footerMagic {
		return footerEnd{}, fmt.Errorf("no footer: %w", ErrCorrupt)
	}
	e := footerEnd{
		chunks: int(binary.LittleEndian.Uint32(b[8:])),
		body:   int(binary.LittleEndian.Uint32(b[12:])),
		unit:   binary.LittleEndian.Uint32(b[16:]),
		sum:    binary.LittleEndian.Uint32(b[20:]),
	}
	if placedSum(b[:60], s.salt, e.unit) != binary.LittleEndian.Uint32(b[60:]) {
		return footerEnd{}, fmt.Errorf("checksum of the footer's end: %w", ErrCorrupt)
	}
	if b[4] != formatVersion {
		return footerEnd{}, fmt.Errorf("footer format %d, this program reads %d: %w", b[4], formatVersion, ErrUnavailable)
	}
	if want := uint64(e.unit) + uint64(e.body+headerSize+unitSize-1)/unitSize; want != uint64(units) {
		return footerEnd{}, fmt.Errorf("footer ends at unit %d of %d: %w", want, units, ErrCorrupt)
	}
	return e, nil
}

// parseFooterBody reads the items of a footer of a segment.
func parseFooterBody(b []byte, end footerEnd, segment uint32) ([]foundChunk, error) {
	if checksum(b) != end.sum || end.chunks > len(b)/footerItemSize {
		return nil, fmt.Errorf("checksum of the footer: %w", ErrCorrupt)
	}
	found := make([]foundChunk, 0, end.chunks)
	for range end.chunks {
		if len(b) < footerItemSize {
			return nil, fmt.Errorf("footer ends early: %w", ErrCorrupt)
		}
		c := foundChunk{entry: entry{
			header: header{
				id:        layout.ChunkID{Attempt: layout.AttemptID(b[0:16]), Index: b[16]},
				labelSize: int(binary.LittleEndian.Uint16(b[18:])),
				size:      int64(binary.LittleEndian.Uint64(b[24:])),
				sequence:  binary.LittleEndian.Uint64(b[32:]),
				pieces:    int(binary.LittleEndian.Uint32(b[40:])),
			},
			at: place{segment, binary.LittleEndian.Uint32(b[20:])},
		}}
		b = b[footerItemSize:]
		size := c.pieces * placeSize
		if !c.valid() || size > len(b) || uint64(c.at.unit)+uint64(c.units()) > uint64(end.unit) {
			return nil, fmt.Errorf("footer names what cannot be: %w", ErrCorrupt)
		}
		c.table = parsePlaces(b[:size])
		b = b[size:]
		found = append(found, c)
	}
	return found, nil
}
