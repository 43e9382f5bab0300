package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// content is payload made from a seed: every byte can be computed from its
// offset alone, about as fast as memory is written.
type content struct {
	seed uint64
	size int64
}

// word is the splitmix64 generator at one step of its sequence.
func word(seed, i uint64) uint64 {
	z := seed + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fill writes the content from offset on into buf.
func (c content) fill(buf []byte, offset int64) {
	i := uint64(offset) / 8
	if skip := int(offset % 8); skip != 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], word(c.seed, i))
		buf = buf[copy(buf, w[skip:]):]
		i++
	}
	for ; len(buf) >= 8; i++ {
		binary.LittleEndian.PutUint64(buf, word(c.seed, i))
		buf = buf[8:]
	}
	if len(buf) > 0 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], word(c.seed, i))
		copy(buf, w[:])
	}
}

// reader returns the whole content as a stream.
func (c content) reader() io.Reader { return &contentReader{content: c} }

type contentReader struct {
	content
	offset int64
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.offset == r.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), r.size-r.offset))
	r.fill(p[:n], r.offset)
	r.offset += int64(n)
	return n, nil
}

// object is contents joined: what Complete makes of parts.
type object []content

func (o object) size() (n int64) {
	for _, c := range o {
		n += c.size
	}
	return n
}

// fill writes the object's bytes from offset on into buf.
func (o object) fill(buf []byte, offset int64) {
	for _, c := range o {
		if offset >= c.size {
			offset -= c.size
			continue
		}
		n := int(min(int64(len(buf)), c.size-offset))
		c.fill(buf[:n], offset)
		if buf = buf[n:]; len(buf) == 0 {
			return
		}
		offset = 0
	}
}

// verify reads body to its end and compares it with length bytes of the object
// from offset on. A difference is a *breach; any other error is the body's.
func (o object) verify(body io.Reader, offset, length int64) error {
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := body.Read(got)
		if int64(n) > length-at {
			return &breach{kind: kindWrongBytes, detail: fmt.Sprintf("more than %d bytes from offset %d", length, offset)}
		}
		o.fill(want[:n], offset+at)
		if !bytes.Equal(got[:n], want[:n]) {
			return &breach{kind: kindWrongBytes, detail: fmt.Sprintf("at offset %d", offset+at+int64(firstDifference(got[:n], want[:n])))}
		}
		at += int64(n)
		switch {
		case err == io.EOF && at < length:
			return &breach{kind: kindWrongBytes, detail: fmt.Sprintf("clean end after %d of %d bytes from offset %d", at, length, offset)}
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}
