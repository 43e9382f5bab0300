package datadir

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// driven is a node with a store in its data directory and two drives, a and b,
// each with a chunk that tells them apart.
type driven struct {
	t    *testing.T
	root string
	id   Identity
	had  map[string]layout.StoreID // by directory

	change func() error // called before a change is made durable
}

func newDriven(t *testing.T) *driven {
	d := &driven{t: t, root: t.TempDir(), had: map[string]layout.StoreID{}, change: func() error { return nil }}
	for _, dir := range []string{"data", "a", "b"} {
		d.mkdir(dir)
	}
	id, err := Load(d.path("data"), "node1")
	if err != nil {
		t.Fatal(err)
	}
	id.Cluster, id.Formed = layout.NewClusterID(), true
	d.id = id
	for i, s := range d.open("a", "b") {
		if s.Disk == nil {
			t.Fatalf("new store in %s: %v", s.Dir, s.Err)
		}
		d.had[filepath.Base(s.Dir)] = s.ID
		if err := chunkstoretest.Write(t.Context(), s.Disk, chunkstoretest.ID(i), nil, content); err != nil {
			t.Fatal(err)
		}
		d.close(s)
	}
	d.id.Store, d.id.Registry = d.had[StoreDir], 1 // as the node does once it has its registry
	d.save()
	return d
}

func (d *driven) path(dir string) string { return filepath.Join(d.root, dir) }

func (d *driven) mkdir(dir string) {
	d.t.Helper()
	if err := os.Mkdir(d.path(dir), 0o700); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driven) rename(from, to string) {
	d.t.Helper()
	if err := os.Rename(d.path(from), d.path(to)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driven) save() {
	d.t.Helper()
	if err := Save(d.path("data"), d.id); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driven) close(s Store) {
	d.t.Helper()
	if s.Disk == nil {
		return
	}
	if err := s.Disk.Close(); err != nil {
		d.t.Error(err)
	}
}

// tryOpen opens the stores as the node does, by what is on disk.
func (d *driven) tryOpen(dirs ...string) ([]Store, error) {
	d.t.Helper()
	for i := range dirs {
		dirs[i] = d.path(dirs[i])
	}
	if _, err := os.Stat(d.path("data/" + identityFile)); err == nil && !d.id.Store.IsZero() {
		if d.id, err = Load(d.path("data"), "node1"); err != nil {
			d.t.Fatal(err)
		}
	}
	return OpenStores(StoresConfig{
		DataDir: d.path("data"), Dirs: dirs, Identity: d.id, Logger: slog.New(slog.DiscardHandler), OnFence: func(layout.StoreID, error) {},
		Change: func(change func(*Identity)) error {
			if err := d.change(); err != nil {
				return err
			}
			change(&d.id)
			return Save(d.path("data"), d.id)
		},
	})
}

func (d *driven) open(dirs ...string) []Store {
	d.t.Helper()
	stores, err := d.tryOpen(dirs...)
	if err != nil {
		d.t.Fatal(err)
	}
	return stores
}

// check opens the stores and compares: each as "directory: store", or
// "directory: store: why" with a part of the reason.
func (d *driven) check(dirs []string, want ...string) {
	d.t.Helper()
	var got []string
	stores := d.open(dirs...)
	for _, s := range stores {
		name := "none"
		for dir, id := range d.had {
			if id == s.ID {
				name = dir
			}
		}
		if s.Disk != nil && name == "none" {
			name = "new"
		}
		line := fmt.Sprintf("%s: %s", filepath.Base(s.Dir), name)
		if s.Disk == nil {
			line += ": " + s.Err.Error()
		} else if s.Disk.ID() != s.ID {
			line += ": it is another"
		}
		got = append(got, line)
		d.close(s)
	}
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		head, why, bad := cutLast(want[i])
		ok = got[i] == want[i] || bad && strings.HasPrefix(got[i], head+": ") && strings.Contains(got[i], why)
	}
	if !ok {
		d.t.Errorf("stores\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// cutLast parts "directory: store: why" into two.
func cutLast(s string) (head, why string, ok bool) {
	parts := strings.SplitN(s, ": ", 3)
	if len(parts) < 3 {
		return s, "", false
	}
	return parts[0] + ": " + parts[1], parts[2], true
}

func TestStoresAreOpenedWhereTheyAre(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(d *driven)
		dirs   []string
		want   []string
	}{
		"unchanged": {nil, []string{"a", "b"}, []string{"store: store", "a: a", "b: b"}},
		"drives that changed places": {func(d *driven) {
			d.rename("a", "x")
			d.rename("b", "a")
			d.rename("x", "b")
		}, []string{"a", "b"}, []string{"store: store", "a: b", "b: a"}},
		"a drive in another directory": {func(d *driven) { d.rename("a", "x") }, []string{"x", "b"}, []string{"store: store", "x: a", "b: b"}},
		"a new drive":                  {func(d *driven) { d.mkdir("c") }, []string{"a", "b", "c"}, []string{"store: store", "a: a", "b: b", "c: new"}},
		"a new drive with a file system of its own": {func(d *driven) { d.mkdir("c"); d.mkdir("c/lost+found") }, []string{"a", "b", "c"},
			[]string{"store: store", "a: a", "b: b", "c: new"}},
		"a drive that is not named": {nil, []string{"a"}, []string{"store: store", "a: a", "b: b: missing"}},
		"a directory that is gone":  {func(d *driven) { d.rename("b", "x") }, []string{"a", "b"}, []string{"store: store", "a: a", "b: b: missing (is its drive mounted?)"}},
		"a mount point without its drive": {func(d *driven) { d.rename("b", "x"); d.mkdir("b") }, []string{"a", "b"},
			[]string{"store: store", "a: a", "b: b: missing (is its drive mounted?)"}},
		"a mount point without its drive, and one with a new drive": {func(d *driven) { d.rename("b", "x"); d.mkdir("b"); d.mkdir("c") }, []string{"a", "b", "c"},
			[]string{"store: store", "a: a", "b: b: missing", "c: none: none is made while store"}},
		"a mount point without its drive, its neighbour in its place": {func(d *driven) { d.rename("a", "x"); d.rename("b", "a"); d.mkdir("b") }, []string{"a", "b"},
			[]string{"store: store", "a: b", "b: none: none is made while store", "a: a: missing"}},
		"a directory that never was": {nil, []string{"a", "b", "c"}, []string{"store: store", "a: a", "b: b", "c: none: no such file"}},
		"a directory of something else": {func(d *driven) { d.mkdir("c"); d.mkdir("c/music") }, []string{"a", "b", "c"},
			[]string{"store: store", "a: a", "b: b", `c: none: the directory holds "music"`}},
		"a directory named twice":      {nil, []string{"a", "b", "a/../a/"}, []string{"store: store", "a: a", "b: b", "a: none: another directory too"}},
		"a new directory named twice":  {func(d *driven) { d.mkdir("c") }, []string{"a", "b", "c", "c"}, []string{"store: store", "a: a", "b: b", "c: new", "c: none: another directory too"}},
		"two names of a new directory": {func(d *driven) { d.mkdir("c"); d.symlink("c", "d") }, []string{"a", "b", "c", "d"}, []string{"store: store", "a: a", "b: b", "c: new", "d: none: another directory too"}},
		"the data directory's store named": {nil, []string{"a", "b", "data/store"},
			[]string{"store: store", "a: a", "b: b", "store: none: another directory too"}},
		"the data directory named": {nil, []string{"a", "b", "data"}, []string{"store: store", "a: a", "b: b", "data: none: is a directory"}},
		"a drive of another node": {func(d *driven) { d.strange("c", d.id.Cluster) }, []string{"a", "b", "c"},
			[]string{"store: store", "a: a", "b: b", "c: none: this node has not made it"}},
		"a drive of another node in the place of one": {func(d *driven) { d.rename("b", "x"); d.strange("b", d.id.Cluster) }, []string{"a", "b"},
			[]string{"store: store", "a: a", "b: b: this node has not made it"}},
		"a drive of another cluster": {func(d *driven) { d.strange("c", layout.NewClusterID()) }, []string{"a", "b", "c"},
			[]string{"store: store", "a: a", "b: b", "c: none: this node has not made it"}},
		"a damaged identity": {func(d *driven) { d.write("b/store", "damaged") }, []string{"a", "b"}, []string{"store: store", "a: a", "b: b: identity unusable"}},
		"a store that does not open": {func(d *driven) { d.mkdir("b/segments/00000009.segment") }, []string{"a", "b"},
			[]string{"store: store", "a: a", "b: b: "}},
		"a lost store in the data directory": {func(d *driven) { d.rename("data/store", "x") }, []string{"a", "b"},
			[]string{"store: store: missing (is its drive mounted?)", "a: a", "b: b"}},
		"a drive that is gone for good, and another in its place": {func(d *driven) {
			d.rename("b", "x")
			d.mkdir("b")
			d.id.Forget(d.had["b"])
			d.save()
		}, []string{"a", "b"}, []string{"store: store", "a: a", "b: new"}},
		"a drive that is gone for good, and comes back": {func(d *driven) { d.id.Forget(d.had["b"]); d.save() }, []string{"a", "b"},
			[]string{"store: store", "a: a", "b: none: this node has not made it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDriven(t)
			if tc.change != nil {
				tc.change(d)
			}
			d.check(slices.Clone(tc.dirs), tc.want...)
			for i, line := range tc.want { // a new store is one of the node's from now on
				if dir, isNew := strings.CutSuffix(line, ": new"); isNew {
					d.had[dir], tc.want[i] = d.id.Stores[len(d.id.Stores)-1].Store, dir+": "+dir
				}
			}
			d.check(slices.Clone(tc.dirs), tc.want...)
		})
	}
}

func (d *driven) symlink(to, name string) {
	d.t.Helper()
	if err := os.Symlink(d.path(to), d.path(name)); err != nil {
		d.t.Fatal(err)
	}
}

// strange makes a store that the node has not made.
func (d *driven) strange(dir string, cluster layout.ClusterID) {
	d.t.Helper()
	disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: d.path(dir), Cluster: cluster})
	if err != nil {
		d.t.Fatal(err)
	}
	if err := disk.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// write writes a file.
func (d *driven) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func TestNoStoreLeftIsAnError(t *testing.T) {
	d := newDriven(t)
	for _, dir := range []string{"data/store", "a", "b"} {
		d.rename(dir, "x-"+filepath.Base(dir))
	}
	d.mkdir("a")
	d.mkdir("b")
	if stores, err := d.tryOpen("a", "b"); err == nil || strings.Count(err.Error(), "is its drive mounted?") != 3 {
		t.Errorf("OpenStores = %+v, %v; want an error that names all three", stores, err)
	}
	for _, dir := range []string{"a", "b"} {
		if entries, err := os.ReadDir(d.path(dir)); err != nil || len(entries) > 0 {
			t.Errorf("it left %v in the mount point %s (%v)", entries, dir, err)
		}
	}
}

// A crash, or a data directory that fails, between the two durable steps of
// making a store leaves one that the node knows as its own.
func TestMakingAStoreSurvivesACrashAtEachStep(t *testing.T) {
	errCrash := errors.New("crash")
	for crash := range 2 {
		d := newDriven(t)
		d.mkdir("c")
		steps := 0
		d.change = func() error {
			if steps++; steps > crash {
				return errCrash
			}
			return nil
		}
		if _, err := d.tryOpen("a", "b", "c"); !errors.Is(err, errCrash) {
			t.Fatalf("step %d: %v", crash, err)
		}
		_, _, err := chunkstore.Identify(vfs.OS{}, d.path("c"))
		if made := err == nil; made != (crash == 1) {
			t.Errorf("step %d: %v", crash, err)
		}
		d.change = func() error { return nil }
		d.check([]string{"a", "b", "c"}, "store: store", "a: a", "b: b", "c: new")
		if len(d.id.Stores) != 3 || !d.id.NewStore.IsZero() {
			t.Errorf("step %d: stores %v, one being made: %s", crash, d.id.Stores, d.id.NewStore)
		}
	}
}

// A drive that was away while the node went into a successor cluster follows.
func TestADriveFollowsIntoASuccessor(t *testing.T) {
	d := newDriven(t)
	before := d.id.Cluster
	d.rename("b", "away")
	for _, cluster := range []layout.ClusterID{layout.NewClusterID(), layout.NewClusterID()} {
		dir := open(t, d.path("data"), "")
		if _, err := dir.Adopt(dir.Identity().Cluster, cluster); err != nil {
			t.Fatal(err)
		}
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
		d.check([]string{"a", "b"}, "store: store", "a: a", "b: b: missing")
	}
	d.rename("away", "b")
	d.check([]string{"a", "b"}, "store: store", "a: a", "b: b")
	if _, cluster, err := chunkstore.Identify(vfs.OS{}, d.path("b")); err != nil || cluster != d.id.Cluster || cluster == before {
		t.Errorf("the drive is of cluster %s (%v), the node of %s, before of %s", cluster, err, d.id.Cluster, before)
	}
	for i, s := range d.open("a", "b") {
		if got, err := chunkstoretest.Read(t.Context(), s.Disk, chunkstoretest.ID(i), 0, -1); err != nil || string(got) != string(content) {
			t.Errorf("chunk in %s = %q, %v", s.Dir, got, err)
		}
		d.close(s)
	}
}

// A data directory of a node with one store is opened as it was, byte for byte.
func TestASingleStoreIsOpenedUnchanged(t *testing.T) {
	dir, id, _ := oneNode(t)
	before := tree(t, dir)
	stores, err := OpenStores(StoresConfig{
		DataDir: dir, Identity: id, Logger: slog.New(slog.DiscardHandler), OnFence: func(layout.StoreID, error) {},
		Change: func(func(*Identity)) error { return errors.New("no change is due") },
	})
	if err != nil || len(stores) != 1 || stores[0].ID != id.Store {
		t.Fatalf("OpenStores = %+v, %v", stores, err)
	}
	if got, err := chunkstoretest.Read(t.Context(), stores[0].Disk, chunk, 0, -1); err != nil || string(got) != string(content) {
		t.Errorf("chunk = %q, %v", got, err)
	}
	if err := stores[0].Disk.Close(); err != nil {
		t.Fatal(err)
	}
	if was, is := fileOf(before, identityFile), fileOf(tree(t, dir), identityFile); was != is {
		t.Errorf("node.json is\n%s\nwas\n%s", is, was)
	}
}

// fileOf is the line of a file in what tree returns.
func fileOf(tree, name string) string {
	lines := strings.Split(tree, "\n")
	i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, name) })
	return lines[i]
}

// Chunks leave room on the drive, for the registry and for what empties it.
func TestStoresKeepAReserve(t *testing.T) {
	d := newDriven(t)
	for _, s := range d.open("a", "b") {
		want, got := int64(-1), int64(0)
		for try := 0; try < 1000 && want != got; try++ { // others use the file system, too
			space, err := vfs.OS{}.Space(s.Dir)
			own, ownErr := s.Disk.Space()
			if err := errors.Join(err, ownErr); err != nil {
				t.Fatal(err)
			}
			want, got = max(0, space.Free-min(128<<20, space.Capacity/40)), own.FreeBytes
		}
		if want != got {
			t.Errorf("a store has room for %d bytes, want %d", got, want)
		}
		d.close(s)
	}
}
