package vfs_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"partstore/internal/testrand"
	"partstore/internal/vfs"
)

func names(t *testing.T, fsys vfs.FS, dir string) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.Name)
	}
	return b.String()
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for _, tc := range []struct {
		name  string
		do    func(t *testing.T, m *vfs.Mem)
		names string
		a     string // content of /a
	}{
		{"nothing synced", func(t *testing.T, m *vfs.Mem) { create(t, m, "/a", "x", false) }, "", ""},
		{"file without its name", func(t *testing.T, m *vfs.Mem) { create(t, m, "/a", "x", true) }, "", ""},
		{"name without content", func(t *testing.T, m *vfs.Mem) {
			create(t, m, "/a", "x", false)
			must(t, m.SyncDir("/"))
		}, "a", ""},
		{"both", func(t *testing.T, m *vfs.Mem) {
			create(t, m, "/a", "x", true)
			must(t, m.SyncDir("/"))
		}, "a", "x"},
		{"sync before the last write", func(t *testing.T, m *vfs.Mem) {
			f := create(t, m, "/a", "x", true)
			must(t, m.SyncDir("/"))
			_, err := f.WriteAt([]byte("yz"), 0)
			must(t, err)
		}, "a", "x"},
		{"rename not synced", func(t *testing.T, m *vfs.Mem) {
			create(t, m, "/b", "x", true)
			must(t, m.SyncDir("/"))
			must(t, m.Rename("/b", "/a"))
		}, "b", ""},
		{"rename synced", func(t *testing.T, m *vfs.Mem) {
			create(t, m, "/b", "x", true)
			must(t, m.Rename("/b", "/a"))
			must(t, m.SyncDir("/"))
		}, "a", "x"},
		{"remove not synced", func(t *testing.T, m *vfs.Mem) {
			create(t, m, "/a", "x", true)
			must(t, m.SyncDir("/"))
			must(t, m.Remove("/a"))
		}, "a", "x"},
		{"directory not synced", func(t *testing.T, m *vfs.Mem) {
			must(t, m.Mkdir("/d"))
			create(t, m, "/d/a", "x", true)
			must(t, m.SyncDir("/d"))
		}, "", ""},
		{"directory synced", func(t *testing.T, m *vfs.Mem) {
			must(t, vfs.MkdirAll(m, "/d"))
		}, "d", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := vfs.NewMem()
			tc.do(t, m)
			after := m.Crash()
			if got := names(t, after, "/"); got != tc.names {
				t.Errorf("names after the crash = %q, want %q", got, tc.names)
			}
			if strings.Contains(tc.names, "a") {
				if got := read(t, after, "/a"); got != tc.a {
					t.Errorf("content after the crash = %q, want %q", got, tc.a)
				}
			}
			if again := names(t, after.Crash(), "/"); again != tc.names {
				t.Errorf("names after two crashes = %q, want %q", again, tc.names)
			}
		})
	}
}

func create(t *testing.T, m *vfs.Mem, name, content string, sync bool) vfs.File {
	t.Helper()
	f, err := m.Create(name, vfs.Buffered)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	return f
}

// TestCrashKeepingTearsWrites checks that a random crash shows old and new
// sectors mixed, keeps what was synced, and repeats itself for a seed.
func TestCrashKeepingTearsWrites(t *testing.T) {
	s := testrand.Seed(t)
	m := vfs.NewMem()
	create(t, m, "/kept", "synced", true)
	f := create(t, m, "/torn", strings.Repeat("o", 64<<10), true)
	must(t, m.SyncDir("/"))
	_, err := f.WriteAt([]byte(strings.Repeat("n", 64<<10)), 0)
	must(t, err)
	create(t, m, "/loose", "x", false)
	seen := map[string]bool{}
	for i := range uint64(64) {
		crash := func() *vfs.Mem { return m.CrashKeeping(rand.New(rand.NewPCG(s, i))) }
		after := crash()
		if got := read(t, after, "/kept"); got != "synced" {
			t.Errorf("synced file = %q", got)
		}
		torn := read(t, after, "/torn")
		if len(torn) != 64<<10 || !strings.Contains(torn, "on") || !strings.Contains(torn, "no") {
			t.Errorf("torn file has %d bytes, %d of them new", len(torn), strings.Count(torn, "n"))
		}
		if torn != read(t, crash(), "/torn") {
			t.Error("one seed, two outcomes")
		}
		seen[names(t, after, "/")] = true
	}
	if !seen["kepttorn"] || !seen["keptloosetorn"] || len(seen) != 2 {
		t.Errorf("directories seen: %v", seen)
	}
}

func TestFaultSeesEveryOperation(t *testing.T) {
	var seen []string
	broken := errors.New("broken")
	var fail vfs.OpKind
	fsys := &vfs.Fault{FS: vfs.NewMem(), Before: func(op vfs.Op) error {
		seen = append(seen, string(op.Kind)+" "+op.Name)
		if op.Kind == fail {
			return broken
		}
		return nil
	}}
	write(t, fsys, "/a", "x")
	must(t, fsys.Rename("/a", "/b"))
	must(t, fsys.SyncDir("/"))
	want := []string{"create /a", "write /a", "sync /a", "rename /a", "syncdir /"}
	if !slices.Equal(seen, want) {
		t.Errorf("operations %q, want %q", seen, want)
	}
	seen = nil
	f, err := fsys.OpenWrite("/b")
	must(t, err)
	must(t, f.WriteBuffers([][]byte{{'x'}}, 0))
	must(t, f.Allocate(0, 1))
	must(t, f.Punch(1, 1))
	if want := []string{"open /b", "write /b", "allocate /b", "punch /b"}; !slices.Equal(seen, want) {
		t.Errorf("operations %q, want %q", seen, want)
	}
	fail = vfs.OpRemove
	checkError(t, "Remove", fsys.Remove("/b"), broken)
	fail = vfs.OpOpen
	if _, err := fsys.Open("/b"); !errors.Is(err, broken) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open = %v, want %v", err, broken)
	}
	fail = ""
	if got := read(t, fsys, "/b"); got != "x" {
		t.Errorf("after the faults: %q", got)
	}
}
