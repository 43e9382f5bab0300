package metadata

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"time"

	"partstore/internal/layout"
)

// A hello begins every Raft connection. Without it, a node that gave up its
// copy could answer, as its next generation, for the one before: a vote or an
// acknowledgement would count that nobody gave.
//
//	offset  size  field
//	0       4     magic "PSRH"
//	4       1     version, 1
//	5       16    cluster
//	21      20    server that dials: node, generation (4)
//	41      20    server that is meant: node, generation (4)
//	61      4     CRC-32C of bytes 0-60
//
// Numbers are little-endian. A server that is not meant closes the connection.
type hello struct {
	cluster  layout.ClusterID
	from, to server
}

const (
	helloMagic   = "PSRH"
	helloVersion = 1
	helloSize    = 65
)

func encodeHello(h hello) []byte {
	b := append([]byte(helloMagic), helloVersion)
	b = append(b, h.cluster[:]...)
	for _, s := range []server{h.from, h.to} {
		b = append(b, s.node[:]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(s.generation))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHello(b []byte) (h hello, err error) {
	body := len(b) - 4
	switch {
	case len(b) != helloSize || string(b[:4]) != helloMagic:
		return h, fmt.Errorf("%w: hello of %d bytes", errMalformed, len(b))
	case crc32.Checksum(b[:body], castagnoli) != binary.LittleEndian.Uint32(b[body:]):
		return h, fmt.Errorf("%w: hello checksum", errMalformed)
	case b[4] != helloVersion:
		return h, fmt.Errorf("hello version %d; this binary reads %d", b[4], helloVersion)
	}
	copy(h.cluster[:], b[5:])
	for i, s := range []*server{&h.from, &h.to} {
		copy(s.node[:], b[21+20*i:])
		s.generation = Generation(binary.LittleEndian.Uint32(b[37+20*i:]))
	}
	return h, nil
}

// accepted is a connection that is only read from if it is meant for us.
type accepted struct {
	net.Conn
	self owner

	once sync.Once
	err  error
}

func (c *accepted) Read(b []byte) (int, error) {
	c.once.Do(func() { c.err = c.greet() })
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(b)
}

func (c *accepted) greet() error {
	if err := c.SetReadDeadline(time.Now().Add(raftCallTimeout)); err != nil {
		return err
	}
	var b [helloSize]byte
	if _, err := io.ReadFull(c.Conn, b[:]); err != nil {
		return err
	}
	h, err := decodeHello(b[:])
	if err != nil {
		return err
	}
	if h.cluster != c.self.cluster || h.to != c.self.server {
		return fmt.Errorf("%w: connection of %s for server %s of cluster %s", ErrInvalid, h.from, h.to, h.cluster)
	}
	return c.SetReadDeadline(time.Time{})
}
