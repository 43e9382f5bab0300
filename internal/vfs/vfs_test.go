package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"partstore/internal/vfs"
)

// TestFileSystemsAgree holds OS and Mem to the same behaviour.
func TestFileSystemsAgree(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (vfs.FS, string){
		"OS":    func(t *testing.T) (vfs.FS, string) { return vfs.OS{}, t.TempDir() },
		"Mem":   func(*testing.T) (vfs.FS, string) { return vfs.NewMem(), "/" },
		"Fault": func(*testing.T) (vfs.FS, string) { return &vfs.Fault{FS: vfs.NewMem(), Before: allow}, "/" },
	} {
		t.Run(name, func(t *testing.T) {
			fsys, root := open(t)
			t.Run("names", func(t *testing.T) { testNames(t, fsys, path.Join(root, "names")) })
			t.Run("content", func(t *testing.T) { testContent(t, fsys, path.Join(root, "content")) })
			t.Run("room", func(t *testing.T) { testRoom(t, fsys, path.Join(root, "room")) })
			t.Run("direct", func(t *testing.T) { testDirect(t, fsys, path.Join(root, "direct")) })
			t.Run("lock", func(t *testing.T) { testLock(t, fsys, path.Join(root, "lock")) })
			if space, err := fsys.Space(root); err != nil || space.Capacity <= 0 || space.Free > space.Capacity {
				t.Errorf("Space = %+v, %v", space, err)
			}
		})
	}
}

func allow(vfs.Op) error { return nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func checkError(t *testing.T, call string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s = %v, want %v", call, got, want)
	}
}

func write(t *testing.T, fsys vfs.FS, name, content string) {
	t.Helper()
	f, err := fsys.Create(name, vfs.Buffered)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func read(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	must(t, err)
	return string(b)
}

func testNames(t *testing.T, fsys vfs.FS, dir string) {
	must(t, vfs.MkdirAll(fsys, path.Join(dir, "b/c")))
	must(t, vfs.MkdirAll(fsys, path.Join(dir, "b/c")))
	checkError(t, "Mkdir", fsys.Mkdir(path.Join(dir, "b")), fs.ErrExist)
	checkError(t, "Mkdir", fsys.Mkdir(path.Join(dir, "x/y")), fs.ErrNotExist)
	write(t, fsys, path.Join(dir, "a"), "old")
	write(t, fsys, path.Join(dir, "d"), "new")
	_, err := fsys.Create(path.Join(dir, "a"), vfs.Direct)
	checkError(t, "Create", err, fs.ErrExist)
	must(t, fsys.Rename(path.Join(dir, "d"), path.Join(dir, "a")))
	if got := read(t, fsys, path.Join(dir, "a")); got != "new" {
		t.Errorf("after Rename: %q", got)
	}
	checkError(t, "Rename", fsys.Rename(path.Join(dir, "d"), path.Join(dir, "e")), fs.ErrNotExist)
	entries, err := fsys.ReadDir(dir)
	if want := []vfs.Entry{{Name: "a"}, {Name: "b", Dir: true}}; err != nil || !slices.Equal(entries, want) {
		t.Errorf("ReadDir = %v, %v; want %v", entries, err, want)
	}
	checkError(t, "Remove", fsys.Remove(path.Join(dir, "b")), syscall.ENOTEMPTY)
	must(t, fsys.Remove(path.Join(dir, "b/c")))
	must(t, fsys.Remove(path.Join(dir, "b")))
	checkError(t, "Remove", fsys.Remove(path.Join(dir, "b")), fs.ErrNotExist)
	_, err = fsys.Stat(path.Join(dir, "b"))
	checkError(t, "Stat", err, fs.ErrNotExist)
	checkError(t, "SyncDir", fsys.SyncDir(path.Join(dir, "b")), fs.ErrNotExist)
	_, err = fsys.ReadDir(path.Join(dir, "b"))
	checkError(t, "ReadDir", err, fs.ErrNotExist)
	must(t, fsys.SyncDir(dir))
	if info, err := fsys.Stat(path.Join(dir, "a")); err != nil || info.Size != 3 || info.Dir {
		t.Errorf("Stat = %+v, %v", info, err)
	}
	checkError(t, "MkdirAll", vfs.MkdirAll(fsys, path.Join(dir, "a")), fs.ErrExist)
}

func testContent(t *testing.T, fsys vfs.FS, dir string) {
	must(t, vfs.MkdirAll(fsys, dir))
	name := path.Join(dir, "f")
	f, err := fsys.Create(name, vfs.Buffered)
	must(t, err)
	_, err = f.WriteAt([]byte("world"), 6)
	must(t, err)
	_, err = f.WriteAt([]byte("hello"), 0)
	must(t, err)
	must(t, f.Truncate(9))
	must(t, f.Truncate(10))
	size, err := f.Size()
	if err != nil || size != 10 || f.Direct() {
		t.Errorf("Size = %d, %v; Direct = %t", size, err, f.Direct())
	}
	r, err := fsys.Open(name)
	must(t, err)
	must(t, fsys.Remove(name)) // an open file outlives its name
	b := make([]byte, 20)
	if n, err := r.ReadAt(b, 0); !errors.Is(err, io.EOF) || string(b[:n]) != "hello\x00wor\x00" {
		t.Errorf("ReadAt = %q, %v", b[:n], err)
	}
	if n, err := r.ReadAt(b[:4], 6); err != nil || string(b[:n]) != "wor\x00" {
		t.Errorf("ReadAt = %q, %v", b[:n], err)
	}
	if n, err := r.ReadAt(b, 99); !errors.Is(err, io.EOF) || n != 0 {
		t.Errorf("ReadAt behind the end = %d, %v", n, err)
	}
	must(t, r.Close())
	must(t, f.Close())
	checkError(t, "second Close", f.Close(), fs.ErrClosed)
}

// testRoom writes several buffers at once and gives room back.
func testRoom(t *testing.T, fsys vfs.FS, dir string) {
	must(t, vfs.MkdirAll(fsys, dir))
	name := path.Join(dir, "f")
	write(t, fsys, name, "x")
	f, err := fsys.OpenWrite(name)
	must(t, err)
	const pages = 1500 // more than one system call takes
	buffers := make([][]byte, pages)
	for i := range buffers {
		buffers[i] = bytes.Repeat([]byte{byte(i%250 + 1)}, vfs.Align)
	}
	must(t, f.WriteBuffers(buffers, vfs.Align))
	must(t, f.Sync())
	b := make([]byte, vfs.Align)
	for i, want := range buffers {
		if _, err := f.ReadAt(b, int64(i+1)*vfs.Align); err != nil || !bytes.Equal(b, want) {
			t.Fatalf("page %d: %v, equal: %t", i+1, err, bytes.Equal(b, want))
		}
	}
	checkAllocated(t, fsys, name, (pages+1)*vfs.Align)
	switch err := f.Punch(2*vfs.Align, 1000*vfs.Align); {
	case err == nil:
		must(t, f.Sync())
		checkAllocated(t, fsys, name, (pages+1-998)*vfs.Align)
		if _, err := f.ReadAt(b, 999*vfs.Align); err != nil || !bytes.Equal(b, make([]byte, vfs.Align)) {
			t.Errorf("a hole is not zero, or %v", err)
		}
	case !errors.Is(err, errors.ErrUnsupported):
		t.Error(err)
	}
	if err := f.Allocate(vfs.Align, (pages+10)*vfs.Align); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	} else if info, statErr := fsys.Stat(name); err == nil && (statErr != nil || info.Size != (pages+10)*vfs.Align) {
		t.Errorf("after Allocate: %+v, %v", info, statErr)
	}
	if _, err := f.ReadAt(b, pages*vfs.Align); err != nil || !bytes.Equal(b, buffers[pages-1]) {
		t.Errorf("Allocate changed the content, or %v", err)
	}
	must(t, f.Close())
	checkError(t, "WriteBuffers", f.WriteBuffers(buffers[:2], 0), fs.ErrClosed)
	checkError(t, "Sync", f.Sync(), fs.ErrClosed)
	_, err = fsys.OpenWrite(path.Join(dir, "absent"))
	checkError(t, "OpenWrite", err, fs.ErrNotExist)
}

// checkAllocated allows a file system some pages for itself.
func checkAllocated(t *testing.T, fsys vfs.FS, name string, want int64) {
	t.Helper()
	if info, err := fsys.Stat(name); err != nil || info.Allocated < want || info.Allocated > want+16*vfs.Align {
		t.Errorf("%d bytes are allocated, %v; want %d", info.Allocated, err, want)
	}
}

func testDirect(t *testing.T, fsys vfs.FS, dir string) {
	must(t, vfs.MkdirAll(fsys, dir))
	f, err := fsys.Create(path.Join(dir, "f"), vfs.Direct)
	must(t, err)
	defer f.Close()
	b := vfs.AlignedBuffer(3 * vfs.Align)
	if at := uintptr(unsafe.Pointer(&b[0])); at%vfs.Align != 0 {
		t.Errorf("AlignedBuffer begins at %#x", at)
	}
	for i := range b {
		b[i] = byte(i)
	}
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Truncate(2*vfs.Align+7))
	must(t, f.Sync())
	if got := read(t, fsys, path.Join(dir, "f")); !bytes.Equal([]byte(got), b[:2*vfs.Align+7]) {
		t.Errorf("read back %d bytes; want the %d that were written", len(got), 2*vfs.Align+7)
	}
}

func testLock(t *testing.T, fsys vfs.FS, dir string) {
	must(t, vfs.MkdirAll(fsys, dir))
	name := path.Join(dir, "lock")
	lock, err := fsys.Lock(name)
	must(t, err)
	_, err = fsys.Lock(name)
	checkError(t, "second Lock", err, vfs.ErrLocked)
	must(t, lock.Close())
	lock, err = fsys.Lock(name)
	must(t, err)
	must(t, lock.Close())
	_, err = fsys.Lock(path.Join(dir, "no/lock"))
	checkError(t, "Lock", err, fs.ErrNotExist)
}
