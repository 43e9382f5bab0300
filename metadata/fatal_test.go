package metadata

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What is left of a database that gave up changes nothing in a directory that
// another may have by now.
func TestADatabaseThatGaveUpChangesNothing(t *testing.T) {
	inner := vfs.NewMem()
	var dead atomic.Bool
	fs := mortalFS{inner, &dead}
	f, err := fs.Create("there", vfs.WriteCategoryUnspecified)
	if err := errors.Join(err, f.Close(), fs.MkdirAll("dir", 0o700)); err != nil {
		t.Fatal(err)
	}
	dead.Store(true)
	open := func(_ vfs.File, err error) error { return err }
	for name, err := range map[string]error{
		"Create":        open(fs.Create("new", vfs.WriteCategoryUnspecified)),
		"OpenReadWrite": open(fs.OpenReadWrite("there", vfs.WriteCategoryUnspecified)),
		"ReuseForWrite": open(fs.ReuseForWrite("there", "new", vfs.WriteCategoryUnspecified)),
		"Link":          fs.Link("there", "new"),
		"Rename":        fs.Rename("there", "new"),
		"Remove":        fs.Remove("there"),
		"RemoveAll":     fs.RemoveAll("dir"),
	} {
		if !errors.Is(err, errGaveUp) {
			t.Errorf("%s = %v, want errGaveUp", name, err)
		}
	}
	if names, err := inner.List(""); err != nil || len(names) != 2 {
		t.Errorf("the directory has %v, %v", names, err)
	}
}
