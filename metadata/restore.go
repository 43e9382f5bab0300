package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// incarnationGap is how far a restore moves the incarnations on. Those given
// after the backup was made are not in it, and the chunks of their attempts are
// still on the drives: an attempt of the restored registry must not have the ID
// of one of them.
const incarnationGap = 1 << 20

// RestoreBackup makes a registry of a backup in cfg.Dir, which must be absent or
// empty, with cfg.Node as its only voter. It is the begin of another history
// under the same index: cfg.Cluster must not be the cluster of the backup, so
// that no node of the old history can speak in the new one, nor use its
// directory there. Uploads, parts and objects are those of the backup; what was
// acknowledged after it was made is lost.
//
// Nothing counts before the whole backup was verified; a backup that is damaged
// or contradicts itself leaves no registry. The registry is durable on return.
func RestoreBackup(r io.Reader, cfg Config, progress func(rows int)) (BackupReport, error) {
	return restore(r, cfg, progress, func(*state) error { return nil })
}

// restore is RestoreBackup with something done to the rows once they are there.
func restore(r io.Reader, cfg Config, progress func(rows int), then func(*state) error) (report BackupReport, err error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" || cfg.Node.IsZero() || cfg.Cluster.IsZero() {
		return report, fmt.Errorf("%w: a restore needs directory, node and cluster", ErrInvalid)
	}
	fs := cfg.disk.fs
	if names, err := fs.List(cfg.Dir); err == nil && len(names) > 0 {
		return report, fmt.Errorf("%w: directory %s is not empty", ErrInvalid, cfg.Dir)
	}
	if report.BackupInfo, err = readBackupHeader(r); err != nil {
		return report, err
	}
	if report.Cluster == cfg.Cluster {
		return report, fmt.Errorf("%w: a restored registry needs a cluster ID of its own", ErrInvalid)
	}
	if err := makeDir(fs, cfg.Dir); err != nil {
		return report, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fs.RemoveAll(cfg.Dir))
		}
	}()
	if err := restoreRows(r, cfg, &report, progress, then); err != nil {
		return report, err
	}
	// The vote comes last: a directory without one was never used.
	return report, prepareDir(cfg)
}

// restoreRows makes rows and a snapshot of them for Raft to start from.
func restoreRows(r io.Reader, cfg Config, report *BackupReport, progress func(rows int), then func(*state) error) (err error) {
	fs := cfg.disk.fs
	s, err := openState(fs, filepath.Join(cfg.Dir, "state"), func(error) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	db := s.current.db
	check, rows := newRowCheck(&report.Rows), 0
	err = loadRows(r, db, func(key, value []byte) error {
		rows++
		progress(rows)
		return check.row(key, value)
	})
	if err != nil {
		return err
	}
	check.finish(report.Index)
	report.Time, report.Problems = check.meta.time, check.problems
	if len(report.Problems) > 0 {
		return damagef("backup", "rows contradict each other: %s", strings.Join(report.Problems, "; "))
	}
	if err := then(s); err != nil {
		return err
	}
	self := cfg.owner().server
	servers := raft.Configuration{Servers: []raft.Server{{ID: self.id(), Address: self.address()}}}
	began, err := beginHistory(db, servers)
	if err != nil {
		return err
	}
	report.Index, report.Time = began.index, began.time
	snapshots, err := openSnapshots(fs, filepath.Join(cfg.Dir, "snapshots"), cfg.Logger)
	if err != nil {
		return err
	}
	sink, err := snapshots.create(newManifest(report.Index, firstTerm, servers, report.Index))
	if err != nil {
		return err
	}
	if err := sink.checkpoint(context.Background(), s.current); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// firstTerm is the term of the rows a history begins with. Its first leader has
// no earlier one.
const firstTerm = 1

// beginHistory changes the rows that are of the old history alone: who the
// servers are, what was wished of them, and how far incarnations went.
func beginHistory(db *pebble.DB, servers raft.Configuration) (meta, error) {
	m, err := openMachine(db)
	if err != nil {
		return meta{}, err
	}
	m.begin()
	m.meta.incarnation += layout.Incarnation(incarnationGap)
	err = errors.Join(
		m.batch.DeleteRange([]byte{rowWish}, []byte{rowWish + 1}, nil),
		m.setServers(raft.EncodeConfiguration(servers)),
	)
	if err != nil {
		return meta{}, errors.Join(err, m.abandon())
	}
	err = m.commit(m.meta.index, firstTerm)
	return m.meta, err
}
