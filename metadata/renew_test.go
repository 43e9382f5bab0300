package metadata

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// unsyncedRegistry is a directory as a failed sync leaves it: all of it can be
// read, and a power loss would take the newest bytes.
func unsyncedRegistry(t *testing.T) (fs *vfs.MemFS, want map[string]string) {
	t.Helper()
	fs, want = vfs.NewCrashableMem(), map[string]string{}
	if err := fs.MkdirAll("r/state/state-1", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "r", "r/state"} {
		if err := syncDir(fs, dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{logName, witnessName, voteName, "state/state-1/000001.sst"} {
		path := filepath.Join("r", name)
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		old, fresh := strings.Repeat("old ", 1<<19), "fresh of "+name
		_, errOld := f.Write([]byte(old)) // which is not ours any more, with the race detector
		err = errors.Join(errOld, f.Sync(), syncDir(fs, filepath.Dir(path)))
		_, errFresh := f.WriteAt([]byte(fresh), 0)
		if err := errors.Join(err, errFresh, f.Close()); err != nil {
			t.Fatal(err)
		}
		want[name] = fresh + old[len(fresh):]
	}
	return fs, want
}

func contents(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	f, err := fs.Open(filepath.Join("r", name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What can be read of log, witness and vote before is what a power loss leaves
// afterwards, although no sync of theirs ever succeeded.
func TestRenewMakesDurableWhatCanBeRead(t *testing.T) {
	fs, want := unsyncedRegistry(t)
	if err := renew(fs, "r"); err != nil {
		t.Fatal(err)
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	for _, name := range []string{logName, witnessName, voteName} {
		if got := contents(t, after, name); got != want[name] {
			t.Errorf("%s after the power loss has %d bytes that begin with %.20q, want %.20q", name, len(got), got, want[name])
		}
	}
	names, err := fs.List("r")
	if err != nil || strings.Contains(strings.Join(names, " "), newSuffix) {
		t.Errorf("left in the directory: %v, %v", names, err)
	}
}

// A disk that still fails is no damage, wherever it fails; a file that cannot
// be read on a disk that takes writes is. Neither changes what can be read.
func TestRenewOnADiskThatStillFails(t *testing.T) {
	inject := func(fault func(op errorfs.Op) bool) errorfs.Injector {
		return errorfs.InjectorFunc(func(op errorfs.Op) error {
			if fault(op) {
				return syscall.EIO
			}
			return nil
		})
	}
	check := func(when string, injector errorfs.Injector, damage bool) (failed bool) {
		fs, want := unsyncedRegistry(t)
		err := renew(errorfs.Wrap(fs, injector), "r")
		if err != nil && (!errors.Is(err, syscall.EIO) || errors.Is(err, ErrDamaged) != damage) {
			t.Errorf("%s: renew = %v, want damage: %t", when, err, damage)
		}
		for name, want := range want {
			if got := contents(t, fs, name); got != want {
				t.Errorf("%s: %s begins with %.20q, want %.20q", when, name, got, want)
			}
		}
		return err != nil
	}
	for n := 0; ; n++ {
		writes := 0
		if !check("a write", inject(func(op errorfs.Op) bool {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				writes++
				return writes == n+1
			}
			return false
		}), false) {
			if n < 10 {
				t.Errorf("there were only %d writes to fail", n)
			}
			break
		}
	}
	for _, name := range []string{logName, witnessName, voteName, "000001.sst"} {
		if !check("reading "+name, inject(func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileRead && filepath.Base(op.Path) == name
		}), true) {
			t.Errorf("renew did not read %s", name)
		}
	}
}
