package metadata

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"partstore/internal/layout"
)

// A pack is the payload of one log entry: commands that share one consensus
// round and one fsync, and the leader's reading of registry time.
//
//	offset  size  field
//	0       1     pack version, 1
//	1       4     CRC-32C of everything after it, little-endian
//	5       var   registry time, milliseconds
//	        var   number of commands
//	        ...   each: length, bytes (see command)
//
// A pack without commands only moves registry time; it is also the fence a new
// leader proposes to learn the true commit index of its term.
type pack struct {
	time     layout.RegistryTime
	commands [][]byte
}

const (
	packVersion    = 1
	packHeaderSize = 5

	// A pack closes at whichever comes first. A command larger than
	// maxPackBytes goes alone.
	maxPackCommands = 256
	maxPackBytes    = 128 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodePack(p pack) []byte {
	size := packHeaderSize + 2*binary.MaxVarintLen64
	for _, cmd := range p.commands {
		size += binary.MaxVarintLen32 + len(cmd)
	}
	b := make([]byte, packHeaderSize, size)
	b[0] = packVersion
	b = binary.AppendUvarint(b, uint64(p.time))
	b = binary.AppendUvarint(b, uint64(len(p.commands)))
	for _, cmd := range p.commands {
		b = binary.AppendUvarint(b, uint64(len(cmd)))
		b = append(b, cmd...)
	}
	binary.LittleEndian.PutUint32(b[1:], crc32.Checksum(b[packHeaderSize:], castagnoli))
	return b
}

// checkPack verifies version and checksum without reading further.
func checkPack(b []byte) error {
	switch {
	case len(b) < packHeaderSize:
		return fmt.Errorf("%w: pack of %d bytes", errMalformed, len(b))
	case b[0] != packVersion:
		return fmt.Errorf("%w: pack version %d; this binary reads %d", errMalformed, b[0], packVersion)
	case crc32.Checksum(b[packHeaderSize:], castagnoli) != binary.LittleEndian.Uint32(b[1:]):
		return fmt.Errorf("%w: pack checksum", errMalformed)
	}
	return nil
}

// decodePack returns a pack whose commands share b's memory.
func decodePack(b []byte) (pack, error) {
	if err := checkPack(b); err != nil {
		return pack{}, err
	}
	c := &coder{buf: b[packHeaderSize:], decoding: true}
	var p pack
	c.uint((*uint64)(&p.time))
	n := c.count(0, maxPackCommands)
	for i := 0; i < n && c.err == nil; i++ {
		p.commands = append(p.commands, c.take(c.count(0, maxCommandSize)))
	}
	if c.err == nil && len(c.buf) != 0 {
		c.fail("%d bytes after the last command", len(c.buf))
	}
	return p, c.err
}
