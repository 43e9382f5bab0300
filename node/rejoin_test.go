package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/datadir"
	"partstore/node/peer"
)

// rejoiner is the part of a node that replaces its registry, in a directory.
func rejoiner(t *testing.T, dir string) *Node {
	t.Helper()
	id, err := datadir.Load(dir, "n")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{cfg: Config{DataDir: dir}, id: id.Node, log: slog.New(slog.DiscardHandler)}
	n.formation = &formation{self: id.Node, id: id, save: func(id datadir.Identity) error { return datadir.Save(dir, id) }}
	return n
}

func (n *Node) testRegistry() metadata.Config {
	id := n.formation.identity()
	return metadata.Config{
		Dir: filepath.Join(n.cfg.DataDir, datadir.RegistryDir), Node: n.id, Generation: id.CurrentGeneration(),
		Cluster: layout.ClusterID{1}, Existing: true,
	}
}

// Property: a crash after any step of the way from a damaged registry to an
// empty one of the next generation leaves a directory from which the next start
// finds the end of it: the old files aside, whole, and an empty registry that
// belongs to the next generation.
func TestGivingUpARegistrySurvivesACrashAtEachStep(t *testing.T) {
	store := layout.NewStoreID()
	mark := func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, datadir.RegistryDir, "mark"), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	steps := []func(t *testing.T, n *Node){
		func(t *testing.T, n *Node) {
			if err := n.giveUpRegistry(errors.New("a bit flipped")); err != nil {
				t.Fatal(err)
			}
		},
		func(t *testing.T, n *Node) {
			if err := datadir.MoveRegistryAside(n.cfg.DataDir, 2); err != nil {
				t.Fatal(err)
			}
		},
		func(t *testing.T, n *Node) { // the first file of the new one
			if err := os.Mkdir(filepath.Join(n.cfg.DataDir, datadir.RegistryDir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(n.cfg.DataDir, datadir.RegistryDir, "raft.db.new"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		func(t *testing.T, n *Node) {
			if err := os.RemoveAll(filepath.Join(n.cfg.DataDir, datadir.RegistryDir)); err != nil {
				t.Fatal(err)
			}
			if err := metadata.Format(n.testRegistry()); err != nil {
				t.Fatal(err)
			}
		},
	}
	for crash := range len(steps) + 1 {
		dir := t.TempDir()
		n := rejoiner(t, dir)
		if err := n.makeRegistry(n.testRegistry(), store); err != nil {
			t.Fatal(err)
		}
		mark(t, dir)
		for _, step := range steps[:crash] {
			step(t, n)
		}
		n = rejoiner(t, dir) // after the crash
		if crash == 0 {
			if id := n.formation.identity(); id.CurrentGeneration() != 1 || !id.Made() {
				t.Errorf("before the first step: %+v", id)
			}
			continue
		}
		if err := n.makeRegistry(n.testRegistry(), store); err != nil {
			t.Fatalf("crash after step %d: %v", crash, err)
		}
		id := n.formation.identity()
		if id.CurrentGeneration() != 2 || !id.Made() || id.Damage != "a bit flipped" || id.Store != store {
			t.Errorf("crash after step %d: %+v", crash, id)
		}
		if b, err := os.ReadFile(filepath.Join(dir, datadir.QuarantinedPrefix+"1", "mark")); err != nil || string(b) != "old" {
			t.Errorf("crash after step %d: the old registry: %q, %v", crash, b, err)
		}
		if _, err := os.Stat(filepath.Join(dir, datadir.RegistryDir, "mark")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("crash after step %d: the new registry has files of the old one", crash)
		}
		if err := metadata.Format(n.testRegistry()); err != nil {
			t.Errorf("crash after step %d: the new registry: %v", crash, err)
		}
		// A second time around, and the sweep after it.
		if err := n.giveUpRegistry(errors.New("again")); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.makeRegistry(n.testRegistry(), store), datadir.SweepQuarantined(dir)); err != nil {
			t.Fatal(err)
		}
		left, err := filepath.Glob(filepath.Join(dir, datadir.QuarantinedPrefix+"*"))
		if err != nil || len(left) != 1 || filepath.Base(left[0]) != datadir.QuarantinedPrefix+"2" {
			t.Errorf("left of the old registries: %v, %v", left, err)
		}
	}
}

// Property: a registry that an operator emptied or removed is not replaced.
func TestALostRegistryIsRefused(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed": os.RemoveAll,
		"emptied": func(path string) error { return errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700)) },
	} {
		dir := t.TempDir()
		n := rejoiner(t, dir)
		if err := n.makeRegistry(n.testRegistry(), layout.NewStoreID()); err != nil {
			t.Fatal(err)
		}
		if err := lose(filepath.Join(dir, datadir.RegistryDir)); err != nil {
			t.Fatal(err)
		}
		n = rejoiner(t, dir)
		cfg := n.testRegistry()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Peers, cfg.Raft = peer.Registry{}, raftStreams{Listener: l} // Open closes it
		r, err := metadata.Open(cfg)
		if !errors.Is(err, metadata.ErrLost) {
			t.Errorf("%s: Open = %v, want ErrLost", name, err)
		}
		if err == nil {
			_ = r.Close()
		}
	}
}

// Property: a node that ran outlasts damage and whatever a disk does, also while
// it is opened again; other errors end it.
func TestServeOutlastsFaultsOfDisks(t *testing.T) {
	fault := func(errno syscall.Errno) error {
		return fmt.Errorf("save identity: %w", &os.PathError{Op: "write", Path: "node.json.tmp", Err: errno})
	}
	for _, tc := range []struct {
		name   string
		runs   []error // of each run
		opens  []error // of each reopening
		want   error
		opened int
	}{
		{"told to end", []error{nil}, nil, nil, 0},
		{"a fault that no disk has", []error{net.ErrClosed}, nil, net.ErrClosed, 0},
		{"damage", []error{fmt.Errorf("registry: %w", metadata.ErrDamaged), nil}, []error{nil}, nil, 1},
		{"damage that cannot be noted at once", []error{errors.Join(metadata.ErrDamaged, fault(syscall.EIO)), nil}, []error{fault(syscall.EIO), fault(syscall.EROFS), nil}, nil, 3},
		{"the identity cannot be written", []error{fault(syscall.ENOSPC), fault(syscall.EMFILE), nil}, []error{nil, nil}, nil, 2},
		{"somebody else took the directory", []error{metadata.ErrDiskFault}, []error{fault(syscall.EIO), net.ErrClosed}, net.ErrClosed, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ran, opened := 0, 0
				run := func(context.Context) error { ran++; return tc.runs[ran-1] }
				err := serve(t.Context(), slog.New(slog.DiscardHandler), run, func(context.Context) (func(context.Context) error, error) {
					opened++
					return run, tc.opens[opened-1]
				})
				if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) || ran != len(tc.runs) || opened != tc.opened {
					t.Errorf("ended with %v after %d runs and %d openings, want %v, %d, %d", err, ran, opened, tc.want, len(tc.runs), tc.opened)
				}
			})
		})
	}
}
