package datadir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
	"partstore/metadata"
	"partstore/node/peer"
)

// alone is a registry's way to other nodes where there are none.
type alone struct{ net.Listener }

var errAlone = errors.New("no other node")

func (alone) Propose(context.Context, layout.NodeID, []byte) ([]byte, error)   { return nil, errAlone }
func (alone) ReadIndex(context.Context, layout.NodeID, []byte) ([]byte, error) { return nil, errAlone }
func (alone) Term(context.Context, layout.NodeID, []byte) ([]byte, error)      { return nil, errAlone }
func (alone) Dial(layout.NodeID, time.Duration) (net.Conn, error)              { return nil, errAlone }

// openRegistry opens the registry of a directory as its node would.
func openRegistry(t *testing.T, dir string, id Identity) *metadata.Raft {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, err := metadata.Open(metadata.Config{
		Dir: filepath.Join(dir, RegistryDir), Node: id.Node, Generation: id.CurrentGeneration(), Cluster: id.Cluster,
		Peers: alone{}, Raft: alone{l}, Timeout: time.Minute, HeartbeatTimeout: 50 * time.Millisecond, LowSpace: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var chunk, content = chunkstoretest.ID(1), []byte("content of a chunk")

// oneNode makes the data directory of a node that is a cluster of its own, with
// a bucket in the registry and a chunk in the store, and a backup of it.
func oneNode(t *testing.T) (dir string, id Identity, backup []byte) {
	t.Helper()
	dir = t.TempDir()
	id, err := Load(dir, "node1")
	if err != nil {
		t.Fatal(err)
	}
	id.Cluster, id.Formed, id.Proposer, id.Promised, id.Bootstrapped = layout.NewClusterID(), true, id.Node, []layout.NodeID{id.Node}, true
	disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: filepath.Join(dir, StoreDir), Cluster: id.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	id.Store, id.Registry = disk.ID(), 1
	if err := errors.Join(chunkstoretest.Write(t.Context(), disk, chunk, nil, content), disk.Close(), Save(dir, id)); err != nil {
		t.Fatal(err)
	}
	r := openRegistry(t, dir, id)
	var b bytes.Buffer
	err = errors.Join(r.Bootstrap([]layout.NodeID{id.Node}),
		r.CreateBucket(t.Context(), metadata.Bucket{Name: "kept", Owner: "me"}),
		r.Backup(t.Context(), &b), r.Close())
	if err != nil {
		t.Fatal(err)
	}
	return dir, id, b.Bytes()
}

func open(t *testing.T, dir, name string) *Directory {
	t.Helper()
	d, err := Open(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func verified(t *testing.T, backup []byte) metadata.BackupInfo {
	t.Helper()
	report, err := metadata.VerifyBackup(bytes.NewReader(backup), func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return report.BackupInfo
}

func quiet(int) {}

const secret = "secret of the test cluster"

var adopted = layout.ClusterID{7}

// ways are the ways into a successor cluster.
var ways = []struct {
	by     Takeover
	begin  func(t *testing.T, d *Directory, backup []byte) (*Successor, error)
	finish func(t *testing.T, d *Directory, backup []byte) (*Successor, error)
}{
	{ByRestore, func(t *testing.T, d *Directory, backup []byte) (*Successor, error) {
		return d.Restore(verified(t, backup), bytes.NewReader(backup), quiet)
	}, func(t *testing.T, d *Directory, backup []byte) (*Successor, error) {
		return d.FinishRestore(verified(t, backup))
	}},
	{ByRecover, func(t *testing.T, d *Directory, _ []byte) (*Successor, error) {
		s, err := d.Survivor(secret)
		if err != nil {
			return nil, err
		}
		return d.Recover(s, quiet)
	}, func(_ *testing.T, d *Directory, _ []byte) (*Successor, error) { return d.FinishRecover() }},
	{ByAdopt, func(_ *testing.T, d *Directory, _ []byte) (*Successor, error) {
		return d.Adopt(d.Identity().Cluster, adopted)
	}, func(_ *testing.T, d *Directory, _ []byte) (*Successor, error) {
		return d.FinishAdopt(d.Identity().Cluster, adopted)
	}},
}

// Property: a crash after any step of a takeover leaves a directory that does
// not start, that no other command touches, and in which the same command goes
// on to the end: the node in the successor cluster, with its store and its
// chunks, the old registry aside, and a new one unless it was adopted.
func TestTakeoverSurvivesACrashAtEachStep(t *testing.T) {
	errCrash := errors.New("crash")
	template, old, backup := oneNode(t)
	for _, way := range ways {
		for crash := range 6 {
			t.Run(fmt.Sprintf("%s, step %d", way.by, crash), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
					t.Fatal(err)
				}
				d := open(t, dir, "")
				steps := 0
				d.crash = func() error {
					if steps++; steps > crash {
						return errCrash
					}
					return nil
				}
				_, err := way.begin(t, d, backup)
				if finished := crash >= steps; finished != (err == nil) || err != nil && !errors.Is(err, errCrash) {
					t.Fatalf("%d steps of %d: %v", crash, steps, err)
				}
				begun := d.Begun() != nil
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := Load(dir, "node1"); begun != errors.Is(err, ErrHalfWay) {
					t.Errorf("begun: %v; the node starts: %v", begun, err)
				}
				d = open(t, dir, "")
				if begun {
					checkOthersRefuse(t, d, way.by, backup)
				}
				s, err := way.finish(t, d, backup)
				if err == nil && s == nil && d.Identity().Cluster == old.Cluster {
					_, err = way.begin(t, d, backup) // it had not begun
				}
				if err != nil {
					t.Fatalf("again: %v", err)
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				checkTaken(t, dir, old, way.by)
			})
		}
	}
}

func checkOthersRefuse(t *testing.T, d *Directory, by Takeover, backup []byte) {
	t.Helper()
	before := tree(t, d.path)
	for _, other := range ways {
		if other.by == by {
			continue
		}
		if _, err := other.finish(t, d, backup); !errors.Is(err, ErrHalfWay) {
			t.Errorf("%s after a begun %s = %v, want ErrHalfWay", other.by, by, err)
		}
	}
	if _, err := d.FinishAdopt(d.Identity().Cluster, layout.NewClusterID()); !errors.Is(err, ErrHalfWay) {
		t.Errorf("adopt of another cluster after a begun %s = %v, want ErrHalfWay", by, err)
	}
	another := verified(t, backup)
	another.Created = another.Created.Add(time.Hour)
	if _, err := d.FinishRestore(another); !errors.Is(err, ErrHalfWay) {
		t.Errorf("restore of another backup after a begun %s = %v, want ErrHalfWay", by, err)
	}
	if after := tree(t, d.path); after != before {
		t.Errorf("refused, and left\n%s\nof\n%s", after, before)
	}
}

// checkTaken looks at a directory after the way into a successor.
func checkTaken(t *testing.T, dir string, old Identity, by Takeover) {
	t.Helper()
	id, err := Load(dir, "node1")
	if err != nil {
		t.Fatal(err)
	}
	if id.Node != old.Node || id.Store != old.Store || !id.Formed || id.CurrentGeneration() != 2 || id.Predecessor() != old.Cluster ||
		id.Cluster == old.Cluster || id.Successor != nil || id.Bootstrapped || id.Made() != (by != ByAdopt) {
		t.Errorf("identity %+v after %+v", id, old)
	}
	if _, err := os.Stat(filepath.Join(dir, QuarantinedPrefix+"1", "vote")); err != nil {
		t.Errorf("the old registry: %v", err)
	}
	disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: filepath.Join(dir, StoreDir), ID: old.Store, Cluster: id.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := chunkstoretest.Read(t.Context(), disk, chunk, 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("chunk = %q, %v", got, err)
	}
	if err := disk.Close(); err != nil {
		t.Error(err)
	}
	if by == ByAdopt {
		if _, err := os.Stat(filepath.Join(dir, RegistryDir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an adopted node has a registry: %v", err)
		}
		return
	}
	r := openRegistry(t, dir, id)
	if _, err := r.Bucket(t.Context(), "kept"); err != nil {
		t.Errorf("Bucket: %v", err)
	}
	if _, err := r.Bucket(t.Context(), "never"); !errors.Is(err, metadata.ErrBucketNotFound) {
		t.Errorf("a bucket that never was = %v, want ErrBucketNotFound", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// tree lists all files of a directory but locks, with the content of small ones.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.EqualFold(e.Name(), lockFile) || strings.Contains(path, RegistryDir) {
			return err
		}
		b, err := os.ReadFile(path)
		list = append(list, fmt.Sprintf("%s %x", path, b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if e.Name() != lockFile {
			list = append(list, e.Name())
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// Property: what is refused leaves the directory as it was.
func TestTakeoverRefuses(t *testing.T) {
	dir, id, backup := oneNode(t)
	info := verified(t, backup)
	restore := func(d *Directory) error {
		_, err := d.Restore(info, bytes.NewReader(backup), quiet)
		return err
	}
	change := func(change func(*Identity)) func(t *testing.T) {
		return func(t *testing.T) {
			next := id
			change(&next)
			if err := Save(dir, next); err != nil {
				t.Fatal(err)
			}
		}
	}
	relabel := func(from, to layout.ClusterID) {
		t.Helper()
		if err := chunkstore.Relabel(vfs.OS{}, filepath.Join(dir, StoreDir), from, to); err != nil {
			t.Fatal(err)
		}
	}
	other := layout.NewClusterID()
	for _, tc := range []struct {
		name   string
		before func(t *testing.T)
		run    func(d *Directory) error
		want   error
	}{
		{"backup of another cluster", change(func(id *Identity) { id.Cluster = other }), restore, ErrWrongCluster},
		{"cluster that was not formed", change(func(id *Identity) { id.Formed = false }), restore, ErrWrongCluster},
		{"damaged backup", nil, func(d *Directory) error {
			bad := bytes.Clone(backup)
			bad[len(bad)-20] ^= 1
			_, err := d.Restore(info, bytes.NewReader(bad), quiet)
			return err
		}, metadata.ErrDamaged},
		{"backup that is another now", nil, func(d *Directory) error {
			before := info
			before.Index--
			_, err := d.Restore(before, bytes.NewReader(backup), quiet)
			return err
		}, errAnotherBackup},
		{"store of another node", change(func(id *Identity) { id.Store = layout.NewStoreID() }), restore, errStore},
		{"store of another cluster", func(*testing.T) { relabel(id.Cluster, other) }, func(d *Directory) error {
			err := restore(d)
			relabel(other, id.Cluster)
			return err
		}, ErrWrongCluster},
		{"adopted from another cluster", nil, func(d *Directory) error {
			_, err := d.Adopt(other, adopted)
			return err
		}, ErrWrongCluster},
		{"adopted into the same cluster", nil, func(d *Directory) error {
			_, err := d.Adopt(id.Cluster, id.Cluster)
			return err
		}, ErrWrongCluster},
		{"registry that was given up", change(func(id *Identity) { id.Generation, id.Damage = 2, "a bit flipped" }), func(d *Directory) error {
			_, err := d.Survivor(secret)
			return err
		}, ErrNoCopy},
	} {
		t.Run(tc.name, func(t *testing.T) {
			change(func(*Identity) {})(t)
			if tc.before != nil {
				tc.before(t)
			}
			before := tree(t, dir)
			d := open(t, dir, "")
			if err := tc.run(d); !errors.Is(err, tc.want) {
				t.Errorf("= %v, want %v", err, tc.want)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if tc.name == "store of another cluster" {
				return // it was put right meanwhile
			}
			if after := tree(t, dir); after != before {
				t.Errorf("refused, and left\n%s\nof\n%s", after, before)
			}
		})
	}
}

// A directory is opened while no other process uses it, and if it is a node's,
// or empty and to be a new one's.
func TestOpenRefuses(t *testing.T) {
	dir, _, _ := oneNode(t)
	d := open(t, dir, "node1")
	if _, err := Open(dir, ""); !errors.Is(err, ErrInUse) {
		t.Errorf("Open of a directory in use = %v, want ErrInUse", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "node2"); !errors.Is(err, ErrNotNode) {
		t.Errorf("Open under another name = %v, want ErrNotNode", err)
	}
	empty := filepath.Join(t.TempDir(), "new")
	if _, err := Open(empty, ""); !errors.Is(err, ErrNotNode) {
		t.Errorf("Open of nothing without a name = %v, want ErrNotNode", err)
	}
	if _, err := os.Stat(empty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left a directory: %v", err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "vmlinuz"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(foreign, "node1"); !errors.Is(err, ErrNotNode) {
		t.Errorf("Open of somebody's directory = %v, want ErrNotNode", err)
	}
}

// A backup becomes a cluster in an empty directory, as it does in a node's.
func TestRestoreIntoAnEmptyDirectory(t *testing.T) {
	_, old, backup := oneNode(t)
	dir := filepath.Join(t.TempDir(), "new")
	d := open(t, dir, "node1")
	if _, err := d.Restore(verified(t, backup), bytes.NewReader(backup), quiet); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	id, err := Load(dir, "node1")
	if err != nil || id.Node == old.Node || id.Store.IsZero() || id.Predecessor() != old.Cluster || !id.Made() {
		t.Fatalf("identity %+v, %v", id, err)
	}
	store, cluster, err := chunkstore.Identify(vfs.OS{}, filepath.Join(dir, StoreDir))
	if err != nil || store != id.Store || cluster != id.Cluster {
		t.Errorf("store %s of cluster %s, %v; want %s of %s", store, cluster, err, id.Store, id.Cluster)
	}
	r := openRegistry(t, dir, id)
	if _, err := r.Bucket(t.Context(), "kept"); err != nil {
		t.Errorf("Bucket: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Restoring twice goes back to the same cluster's backup.
func TestABackupOfAPredecessorIsRestored(t *testing.T) {
	dir, old, backup := oneNode(t)
	for range 2 {
		d := open(t, dir, "")
		if _, err := d.Restore(verified(t, backup), bytes.NewReader(backup), quiet); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	id, err := Load(dir, "node1")
	if err != nil || len(id.Predecessors) != 2 || id.Predecessors[0] != old.Cluster || id.CurrentGeneration() != 3 {
		t.Errorf("identity %+v, %v", id, err)
	}
}

// running is a node of a cluster that serves calls, at an address.
func running(t *testing.T, cluster func() layout.ClusterID, calls map[string]peer.Handler) Peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := Peer{Node: layout.NewNodeID(), Name: "node3", Addr: l.Addr().String(), TLS: true}
	server, err := peer.NewServer(peer.ServerConfig{
		Self: p.Node, Cluster: cluster, Secret: secret, TLS: p.TLS, Calls: calls,
		Stores: func(layout.StoreID) (chunkstore.Store, bool) { return nil, false },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A node of the cluster that answers, whatever it says, forbids a restore.
func TestRefuseRunning(t *testing.T) {
	dir, id, _ := oneNode(t)
	cluster := id.Cluster
	known := []Peer{
		{Node: layout.NewNodeID(), Name: "node2", Addr: "127.0.0.1:1", TLS: true},
		running(t, func() layout.ClusterID { return cluster }, nil),
	}
	if err := SavePeers(dir, known); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir, "")
	defer d.Close()
	if !slices.Equal(d.Peers(), known) {
		t.Errorf("peers %v, want %v", d.Peers(), known)
	}
	if _, err := d.RefuseRunning(t.Context(), secret); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "node3") {
		t.Errorf("RefuseRunning = %v, want ErrRunning and the node's name", err)
	}
	stranger := open(t, other, "")
	defer stranger.Close()
	if silent, err := stranger.RefuseRunning(t.Context(), "another secret of a cluster"); !errors.Is(err, peer.ErrUnauthorized) {
		t.Errorf("RefuseRunning with another secret = %v, %v, want ErrUnauthorized", silent, err)
	}
	cluster = layout.NewClusterID()
	if silent, err := d.RefuseRunning(t.Context(), secret); err != nil || len(silent) != 2 {
		t.Errorf("RefuseRunning beside another cluster = %v, %v; want two that were not asked", silent, err)
	}
}

// A node that reads the registry forbids a recovery, also if the copy has never
// heard of it.
func TestNoRecoveryBesideAReader(t *testing.T) {
	dir, id, _ := oneNode(t)
	answer := func(context.Context, layout.NodeID, []byte) ([]byte, error) { return nil, nil }
	reader := running(t, func() layout.ClusterID { return id.Cluster }, map[string]peer.Handler{peer.ServiceMembers: answer})
	if err := SavePeers(dir, []Peer{reader}); err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]error{secret: metadata.ErrQuorum, "another secret of a cluster": peer.ErrUnauthorized} {
		d := open(t, dir, "")
		s, err := d.Survivor(secret)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.AskOthers(t.Context(), s); !errors.Is(err, want) || !strings.Contains(err.Error(), "node3") {
			t.Errorf("AskOthers = %v, want %v and the node's name", err, want)
		}
		if err := errors.Join(s.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	}
}
