package metadata

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files Raft relies on, in the registry's directory:
//
//	raft.db   the log's entries (boltlog.go)
//	witness   what log and vote must at least have (witness.go)
//	vote      term and vote, and whose directory it is (vote.go)
//
// They are made in this order, so a directory without "vote" was never used,
// unless it lost it.
const (
	logName     = "raft.db"
	witnessName = "witness"
	voteName    = "vote"
)

// Format makes an empty registry in cfg.Dir, which is durable on return. If
// there is one it does nothing.
func Format(cfg Config) error {
	cfg.Existing = false
	if err := prepareDir(cfg.withDefaults()); err != nil {
		return fmt.Errorf("format registry: %w", openFault(err))
	}
	return nil
}

// prepareDir makes sure that cfg.Dir has a registry.
func prepareDir(cfg Config) error {
	fs, dir := cfg.disk.fs, cfg.Dir
	_, err := fs.Stat(filepath.Join(dir, voteName))
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := fs.Stat(filepath.Join(dir, logName)); cfg.Existing && errors.Is(err, os.ErrNotExist) {
		// Of all files, and so no drive's doing.
		return fmt.Errorf("%w: from %s", ErrLost, dir)
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := checkUnused(cfg); err != nil {
		return err
	}
	if err := createSector(fs, filepath.Join(dir, witnessName), sighting{}.encode()); err != nil {
		return err
	}
	if err := createSector(fs, filepath.Join(dir, voteName), vote{owner: cfg.owner()}.encode()); err != nil {
		return err
	}
	return syncDir(fs, filepath.Dir(dir))
}

// checkUnused makes an empty log if there is none, and makes sure that one
// that is there was never used.
func checkUnused(cfg Config) error {
	l, err := cfg.disk.openLog(filepath.Join(cfg.Dir, logName), true)
	if err != nil {
		return err
	}
	if b, ok := l.(*boltLog); ok {
		// Earlier programs kept the vote in the log's file.
		if term, _ := b.store.GetUint64([]byte(keyTerm)); term > 0 {
			return errors.Join(fmt.Errorf("directory %s holds a registry of an earlier format", cfg.Dir), l.Close())
		}
	}
	last, err := l.LastIndex()
	if err == nil && last > 0 || cfg.Existing {
		err = damagef("vote", "file %s is gone", filepath.Join(cfg.Dir, voteName))
	}
	return errors.Join(err, l.Close())
}

// files are those of one directory.
type files struct {
	log           logFile
	witness, vote *sectorFile
}

// openFiles opens what Format made.
func openFiles(d *disk, dir string) (_ *files, err error) {
	f := &files{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.log, err = d.openLog(filepath.Join(dir, logName), false); err != nil {
		return nil, err
	}
	if f.witness, err = openSector(d.fs, filepath.Join(dir, witnessName), "witness"); err != nil {
		return nil, err
	}
	f.vote, err = openSector(d.fs, filepath.Join(dir, voteName), "vote")
	return f, err
}

func (f *files) close() error {
	var errs []error
	if f.log != nil {
		errs = append(errs, f.log.Close())
	}
	for _, s := range []*sectorFile{f.witness, f.vote} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// check opens log and vote and compares them with each other. Whether log and
// snapshots fit is for settle to see.
func (f *files) check(who owner, fail func(error)) (*checkedLog, *voteStore, error) {
	w, err := openWitness(f.witness)
	if err != nil {
		return nil, nil, err
	}
	v, err := openVote(f.vote, w, fail)
	if err != nil {
		return nil, nil, err
	}
	if v.vote.owner != who {
		return nil, nil, fmt.Errorf("directory holds the registry of server %s of cluster %s, not of %s of %s",
			v.vote.owner.server, v.vote.owner.cluster, who.server, who.cluster)
	}
	l, err := openCheckedLog(f.log, w, fail)
	if err != nil {
		return nil, nil, err
	}
	if v.vote.term < l.term {
		return nil, nil, damagef("vote", "of term %d; the log is of term %d", v.vote.term, l.term)
	}
	return l, v, nil
}
