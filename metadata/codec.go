package metadata

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// A coder writes or reads one value, depending on decoding. Every type has a
// single code method that visits its fields in order, so an encoder and its
// decoder cannot drift apart. The first error sticks; later visits do nothing.
// Encoding only reads the value: several goroutines may encode one.
//
// Decoding accepts exactly what encoding writes: integers in their shortest
// form, map keys ascending, nothing left over. So equal values have equal
// bytes, and a digest of the bytes is a digest of the value.
type coder struct {
	buf      []byte
	decoding bool
	err      error
}

// Bounds of what a coder accepts. They keep a command decodable by everybody,
// whatever the protocol layer above allows.
const (
	maxNameSize    = 255  // bytes of a bucket, node or zone name, or user ID
	maxKeySize     = 4096 // bytes of an object key
	maxHeaders     = 128
	maxHeaderBytes = 16 << 10 // of all names and values of one object
	maxSlots       = 255
	maxStores      = 1024
	maxGroups      = 4096
	maxWishes      = 2         // in one command
	maxReasonSize  = 1024      // bytes of why a change of membership is refused
	maxCommandSize = 480 << 10 // below Raft's advice of 512 KiB for an entry
)

// encodeValue returns the bytes of what code writes.
func encodeValue(code func(*coder)) ([]byte, error) {
	c := &coder{}
	code(c)
	return c.buf, c.err
}

// decodeValue reads b whole.
func decodeValue(b []byte, code func(*coder)) error {
	c := &coder{buf: b, decoding: true}
	code(c)
	if c.err == nil && len(c.buf) != 0 {
		c.fail("%d bytes left over", len(c.buf))
	}
	return c.err
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
	}
}

// take returns the next n bytes to decode, or nil after an error.
func (c *coder) take(n int) []byte {
	if c.err == nil && n > len(c.buf) {
		c.fail("want %d bytes, have %d", n, len(c.buf))
	}
	if c.err != nil {
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

// fixed codes an array or any slice whose length both sides know.
func (c *coder) fixed(b []byte) {
	if c.decoding {
		copy(b, c.take(len(b)))
		return
	}
	c.buf = append(c.buf, b...)
}

func (c *coder) byte(v *uint8) {
	b := [1]byte{*v}
	c.fixed(b[:])
	if c.decoding {
		*v = b[0]
	}
}

func (c *coder) bool(v *bool) {
	var b uint8
	if *v {
		b = 1
	}
	c.byte(&b)
	if b > 1 {
		c.fail("boolean %d", b)
	}
	if c.decoding {
		*v = b == 1
	}
}

func (c *coder) uint(v *uint64) {
	if !c.decoding {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	if c.err != nil {
		return
	}
	x, n := binary.Uvarint(c.buf)
	if n <= 0 || n > 1 && c.buf[n-1] == 0 {
		c.fail("malformed integer")
		return
	}
	*v, c.buf = x, c.buf[n:]
}

// uintMax codes an unsigned integer that must not exceed limit.
func (c *coder) uintMax(v, limit uint64) uint64 {
	c.uint(&v)
	if v > limit {
		c.fail("integer %d above %d", v, limit)
		return 0
	}
	return v
}

func (c *coder) uint32(v *uint32) { codeUint(c, v, math.MaxUint32) }

// codeUint codes an integer between 0 and limit.
func codeUint[T ~int | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32](c *coder, v *T, limit T) {
	if n := c.uintMax(uint64(*v), uint64(limit)); c.decoding {
		*v = T(n)
	}
}

// size codes a byte count: an int64 that is never negative.
func (c *coder) size(v *int64) {
	if *v < 0 {
		c.fail("negative size %d", *v)
	}
	codeUint(c, v, math.MaxInt64)
}

// count codes the length of a list.
func (c *coder) count(n, limit int) int { return int(c.uintMax(uint64(n), uint64(max(0, limit)))) }

func (c *coder) bytes(v *[]byte, limit int) {
	n := c.count(len(*v), limit)
	if !c.decoding {
		c.buf = append(c.buf, *v...)
	} else if b := c.take(n); len(b) > 0 {
		*v = slices.Clone(b)
	}
}

func (c *coder) string(v *string, limit int) {
	n := c.count(len(*v), limit)
	if !c.decoding {
		c.buf = append(c.buf, *v...)
	} else {
		*v = string(c.take(n))
	}
}

// time codes a wall-clock time to the microsecond, without its zone.
func (c *coder) time(v *time.Time) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(v.UnixMicro()))
	c.fixed(b[:])
	if c.decoding {
		*v = time.UnixMicro(int64(binary.BigEndian.Uint64(b[:]))).UTC()
	}
}

// headers codes a map in ascending order of names. Empty and nil are the same.
func (c *coder) headers(v *Headers) {
	n, room := c.count(len(*v), maxHeaders), maxHeaderBytes
	pair := func(name, value *string) {
		c.string(name, room)
		c.string(value, max(0, room-len(*name)))
		room -= len(*name) + len(*value)
	}
	if !c.decoding {
		for _, name := range slices.Sorted(maps.Keys(*v)) {
			value := (*v)[name]
			pair(&name, &value)
		}
		return
	}
	last := ""
	for i := 0; i < n && c.err == nil; i++ {
		var name, value string
		pair(&name, &value)
		if i > 0 && name <= last {
			c.fail("header %q out of order", name)
		}
		if *v == nil {
			*v = Headers{}
		}
		(*v)[name], last = value, name
	}
}

// codeList codes a list of at most limit elements. A decoded list grows with
// the bytes that are there, never with the length that is claimed.
func codeList[T any](c *coder, v *[]T, limit int, code func(*T, *coder)) {
	n := c.count(len(*v), limit)
	for i := 0; i < n && c.err == nil; i++ {
		if c.decoding {
			var zero T
			*v = append(*v, zero)
		}
		code(&(*v)[i], c)
	}
}
