package chunkstore_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"partstore/chunkstore"
	"partstore/internal/vfs"
)

var (
	update = flag.Bool("update", false, "rewrite golden files")
)

// checkGolden compares got with a file in testdata.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", file, got, want)
	}
}

const storeDir = "/store"

func readFile(t *testing.T, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) {
		t.Fatalf("read %s: %d of %d bytes, %v", name, n, len(b), err)
	}
	return b
}

// replaceFile puts other content into a file behind the store's back.
func replaceFile(t *testing.T, fsys vfs.FS, name string, content []byte) {
	t.Helper()
	if err := fsys.Remove(name); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create(name, vfs.Buffered)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
}

func openMem(t *testing.T, fsys vfs.FS) *chunkstore.Disk {
	t.Helper()
	return openDisk(t, chunkstore.DiskConfig{FS: fsys, Dir: storeDir})
}

// drives are kinds of drives in memory: a usual one, one with direct writes,
// which it checks, and one without holes.
var drives = map[string]func(*vfs.Mem) vfs.FS{
	"buffered": func(m *vfs.Mem) vfs.FS { return m },
	"direct":   func(m *vfs.Mem) vfs.FS { return directDrive{m} },
	"no holes": func(m *vfs.Mem) vfs.FS { return noHoles{m} },
}

type noHoles struct{ *vfs.Mem }

func (d noHoles) Create(name string, mode vfs.Mode) (vfs.File, error) {
	f, err := d.Mem.Create(name, mode)
	return solidFile{f}, err
}

func (d noHoles) OpenWrite(name string) (vfs.File, error) {
	f, err := d.Mem.OpenWrite(name)
	return solidFile{f}, err
}

type solidFile struct{ vfs.File }

func (solidFile) Punch(_, _ int64) error { return errors.ErrUnsupported }

type directDrive struct{ *vfs.Mem }

func (d directDrive) Create(name string, mode vfs.Mode) (vfs.File, error) {
	f, err := d.Mem.Create(name, mode)
	if err != nil || mode != vfs.Direct {
		return f, err
	}
	return directFile{f}, nil
}

type directFile struct{ vfs.File }

func (directFile) Direct() bool { return true }

func (f directFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.WriteBuffers([][]byte{b}, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f directFile) WriteBuffers(buffers [][]byte, off int64) error {
	at := off
	for _, b := range buffers {
		if at%vfs.Align != 0 || len(b)%vfs.Align != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%vfs.Align != 0 {
			return syscall.EINVAL
		}
		at += int64(len(b))
	}
	return f.File.WriteBuffers(buffers, off)
}
