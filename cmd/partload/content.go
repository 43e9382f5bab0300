package main

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
)

// content is payload made from a seed: every byte can be computed from its
// offset alone. It is made of pages, each a piece of the same random material
// from where seed and number of the page say, so that making and comparing it
// costs a load generator no more than copying memory does.
type content struct {
	seed uint64
	size int64
}

const (
	pageSize     = 4 << 10
	materialSize = 256 << 10 // fits the cache; two pages are alike once in so many times
)

// material is what pages are cut from.
var material = sync.OnceValue(func() []byte {
	b := make([]byte, materialSize+pageSize)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
})

// pages yields the content from offset on, n bytes of it, in pieces.
func (c content) pages(offset, n int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for n > 0 {
			at := mix(c.seed+uint64(offset/pageSize)*0x9e3779b97f4a7c15) % materialSize
			page := material()[at:][:pageSize][offset%pageSize:]
			page = page[:min(n, int64(len(page)))]
			if !yield(page) {
				return
			}
			offset, n = offset+int64(len(page)), n-int64(len(page))
		}
	}
}

// mix is the finaliser of the splitmix64 generator.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
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
	n := 0
	for page := range r.pages(r.offset, min(int64(len(p)), r.size-r.offset)) {
		n += copy(p[n:], page)
	}
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

// pages yields the object from offset on, n bytes of it at most, in pieces.
func (o object) pages(offset, n int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, c := range o {
			here := min(n, max(0, c.size-offset))
			for page := range c.pages(offset, here) {
				if !yield(page) {
					return
				}
			}
			offset, n = max(0, offset-c.size), n-here
		}
	}
}

// verify reads body to its end and compares it with length bytes of the object
// from offset on. A difference is a *breach; any other error is the body's.
func (o object) verify(body io.Reader, offset, length int64) error {
	buf := make([]byte, 256<<10)
	for at := int64(0); ; {
		n, err := body.Read(buf)
		if int64(n) > length-at {
			return &breach{kind: kindWrongBytes, detail: fmt.Sprintf("more than %d bytes from offset %d", length, offset)}
		}
		got := buf[:n]
		for want := range o.pages(offset+at, int64(n)) {
			if !bytes.Equal(got[:len(want)], want) {
				return &breach{kind: kindWrongBytes, detail: fmt.Sprintf("at offset %d", offset+at+int64(firstDifference(got, want)))}
			}
			got, at = got[len(want):], at+int64(len(want))
		}
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

// firstDifference is where got differs from want, which is no longer.
func firstDifference(got, want []byte) int {
	for i := range want {
		if got[i] != want[i] {
			return i
		}
	}
	return len(want)
}
