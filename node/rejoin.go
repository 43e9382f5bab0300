package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/datadir"
)

// A registry that is found damaged is given up, and the node goes on with an
// empty one of its next generation, which the others fill. No operator is asked:
//
//  1. node.json names the next generation, and why
//  2. registry/ becomes registry-quarantined-<generation>, for a look
//  3. an empty registry/ is formatted
//  4. node.json says that it is there
//  5. it is opened, and the node asks to be let in, as a new one would
//  6. once it has caught up, node.json forgets the reason, and of the
//     directories that were moved aside only the newest stays
//
// A crash may come after any of them: before 1 the damage is found again, and
// from there on each step shows whether it was done. The first step alone
// decides, so a generation that was given up is never opened again.
//
// A fault of the disk is no damage, and does not give a copy up: what fails on
// one disk may fail on all at once, and a majority that gave up its copies would
// be the end of the registry. See awaitDisk.

// giveUpRegistry decides that the registry of this generation is not opened
// again. The registry is out of service, and the node ends.
func (n *Node) giveUpRegistry(reason error) error {
	f := n.formation
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.id.Made() {
		return nil // there is none yet
	}
	err := f.set(func(id *datadir.Identity) { id.Generation, id.Damage = id.CurrentGeneration()+1, reason.Error() })
	if err != nil {
		return fmt.Errorf("give up registry: %w", err)
	}
	n.log.Error("registry given up; the node goes on with an empty one, which the others fill",
		"err", reason, "generation", f.id.Generation)
	return nil
}

// makeRegistry makes sure that a node that was started before still has its
// registry, and makes an empty one, durably, for a new node or a new generation.
// First is the store in the data directory if the node is new.
func (n *Node) makeRegistry(cfg metadata.Config, first layout.StoreID) error {
	f := n.formation
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.id.Made() {
		return nil
	}
	if err := datadir.MoveRegistryAside(n.cfg.DataDir, f.id.CurrentGeneration()); err != nil {
		return fmt.Errorf("move registry aside: %w", err)
	}
	if err := metadata.Format(cfg); err != nil {
		return err
	}
	return f.set(func(id *datadir.Identity) {
		if id.Registry = id.CurrentGeneration(); id.Store.IsZero() {
			id.Store = first
		}
	})
}

// finishRejoin waits until a registry that took the place of a damaged one has
// all there is, and then lets go of what is left of earlier ones.
func (n *Node) finishRejoin(ctx context.Context) error {
	if n.formation.identity().Damage == "" {
		return nil
	}
	for {
		_, err := n.registry.Topology(ctx) // it is there once the node has caught up
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(startRetry):
		}
	}
	n.formation.mu.Lock()
	err := n.formation.set(func(id *datadir.Identity) { id.Damage = "" })
	n.formation.mu.Unlock()
	if err != nil {
		return err
	}
	n.log.Info("registry is whole again", "generation", n.formation.identity().CurrentGeneration())
	return datadir.SweepQuarantined(n.cfg.DataDir)
}

// The pause before a node that gave up its registry starts again: short, as it
// happens once in the life of a drive, and longer if it happens again at once.
const (
	rejoinPause    = 100 * time.Millisecond
	maxRejoinPause = time.Minute
)

// runRegistry runs the registry. After a fault of its disk, the node stays as
// it is, without a registry but with its store, until the disk is well.
func (n *Node) runRegistry(ctx context.Context) error {
	err := n.registry.Run(ctx)
	if !errors.Is(err, metadata.ErrDiskFault) {
		return err
	}
	if err := n.registry.Close(); err != nil {
		n.log.Warn("close registry after a disk fault", "err", err)
	}
	return n.awaitDisk(ctx, err)
}

// awaitDisk returns fault once the disk takes writes again; then the copy can be
// opened anew. If something of it cannot be read, it returns ErrDamaged.
func (n *Node) awaitDisk(ctx context.Context, fault error) error {
	unreadable := 0
	for pause := rejoinPause; ; pause = min(2*pause, maxRejoinPause) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		err := metadata.Renew(filepath.Join(n.cfg.DataDir, datadir.RegistryDir))
		if err == nil {
			n.log.Info("the registry's disk takes writes again")
			return fault
		}
		n.log.Error("the registry's disk still fails", "err", err)
		if !errors.Is(err, metadata.ErrDamaged) {
			unreadable = 0
		} else if unreadable++; unreadable == maxUnreadable {
			return err
		}
	}
}

// maxUnreadable is how many times in succession a file must be unreadable on a
// disk that takes writes.
const maxUnreadable = 3

// Serve runs n until ctx ends or it fails. A node that gave up a damaged
// registry, or whose disk had a fault, is opened again by reopen, until that
// succeeds, and goes on.
func Serve(ctx context.Context, n *Node, reopen func(context.Context) (*Node, error)) error {
	return serve(ctx, n.log, n.runAndClose, func(ctx context.Context) (func(context.Context) error, error) {
		n, err := reopen(ctx)
		if err != nil {
			return nil, err
		}
		return n.runAndClose, nil
	})
}

func (n *Node) runAndClose(ctx context.Context) error { return errors.Join(n.Run(ctx), n.Close()) }

func serve(ctx context.Context, log *slog.Logger, run func(context.Context) error, reopen func(context.Context) (func(context.Context) error, error)) error {
	err := run(ctx)
	for pause := rejoinPause; passes(err); pause = min(2*pause, maxRejoinPause) {
		log.Error("the node is opened again", "in", pause, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if run, err = reopen(ctx); err == nil {
			err = run(ctx)
		}
	}
	return err
}

// passes reports whether what ended a node that ran may pass by itself: damage
// that it gave up, or a fault of the disk under any of its files.
func passes(err error) bool {
	if errors.Is(err, metadata.ErrDamaged) || errors.Is(err, metadata.ErrDiskFault) {
		return true
	}
	for _, fault := range []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}
