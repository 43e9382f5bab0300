package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// madeUpSize is the size of the content when no file is named.
const madeUpSize = 200 << 20

// source is the content to upload.
type source struct {
	name string
	size int64
	io.ReaderAt
	close func() error
}

// openSource opens the file, or makes content up if the path is empty.
func openSource(path string) (*source, error) {
	if path == "" {
		return &source{name: "made-up content", size: madeUpSize, ReaderAt: madeUp{}, close: func() error { return nil }}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &source{name: info.Name(), size: info.Size(), ReaderAt: f, close: f.Close}, nil
}

// sum reads the source to its end.
func (s *source) sum(progress io.Writer) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, progress), io.NewSectionReader(s, 0, s.size))
	if err == nil && n != s.size {
		err = fmt.Errorf("%s: %d bytes, expected %d", s.name, n, s.size)
	}
	return [sha256.Size]byte(h.Sum(nil)), err
}

// madeUp is content without end that looks random: every word is a hash of its
// position.
type madeUp struct{}

// ReadAt implements io.ReaderAt.
func (madeUp) ReadAt(p []byte, offset int64) (int, error) {
	var word [8]byte
	for i := 0; i < len(p); {
		at := uint64(offset) + uint64(i)
		z := (at/8 + 1) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		i += copy(p[i:], word[at%8:])
	}
	return len(p), nil
}
