package chunkstoretest

import (
	"errors"
	"testing"

	"partstore/internal/vfs"
)

// Segment returns the content of the only segment of the store in dir.
func Segment(t testing.TB, fs vfs.FS, dir string) []byte {
	t.Helper()
	f := openSegment(t, fs, dir)
	defer f.Close()
	size, err := f.Size()
	content := make([]byte, size)
	_, readErr := f.ReadAt(content, 0)
	if err := errors.Join(err, readErr); err != nil {
		t.Fatal(err)
	}
	return content
}

// SetSegment changes that in place, also for a store that is open.
func SetSegment(t testing.TB, fs vfs.FS, dir string, content []byte) {
	t.Helper()
	f := openSegment(t, fs, dir)
	defer f.Close()
	_, err := f.WriteAt(content, 0)
	if err := errors.Join(err, f.Truncate(int64(len(content)))); err != nil {
		t.Fatal(err)
	}
}

func openSegment(t testing.TB, fs vfs.FS, dir string) vfs.File {
	t.Helper()
	entries, err := fs.ReadDir(dir + "/segments")
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d segments, %v; want one", len(entries), err)
	}
	f, err := fs.OpenWrite(dir + "/segments/" + entries[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
