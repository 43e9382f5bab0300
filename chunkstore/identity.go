package chunkstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// The identity file says whose directory this is. Part of the on-disk format.
const (
	identityMagic   = "PSST"
	identityVersion = 2
	identitySize    = 64
)

// identity is the content of the identity file.
type identity struct {
	store   layout.StoreID
	cluster layout.ClusterID
}

func (i identity) encode() []byte {
	b := make([]byte, identitySize)
	copy(b[0:], identityMagic)
	b[4] = identityVersion
	copy(b[8:], i.store[:])
	copy(b[24:], i.cluster[:])
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func parseIdentity(b []byte) (identity, error) {
	switch {
	case len(b) != identitySize || string(b[:4]) != identityMagic:
		return identity{}, fmt.Errorf("%w: no identity file", ErrBadStore)
	case crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]):
		return identity{}, fmt.Errorf("%w: checksum", ErrBadStore)
	case b[4] != identityVersion:
		return identity{}, fmt.Errorf("%w: format %d, this program reads %d", ErrBadStore, b[4], identityVersion)
	}
	i := identity{store: layout.StoreID(b[8:24]), cluster: layout.ClusterID(b[24:40])}
	if [identitySize]byte(i.encode()) != [identitySize]byte(b) || i.store.IsZero() || i.cluster.IsZero() {
		return identity{}, fmt.Errorf("%w: no known form", ErrBadStore)
	}
	return i, nil
}

// check refuses a store other than the configured one.
func (i identity) check(cfg DiskConfig) error {
	if i.cluster != cfg.Cluster {
		return fmt.Errorf("%w: it is of cluster %s, this is cluster %s", ErrWrongStore, i.cluster, cfg.Cluster)
	}
	if !cfg.ID.IsZero() && i.store != cfg.ID {
		return fmt.Errorf("%w: it holds store %s, not %s", ErrWrongStore, i.store, cfg.ID)
	}
	return nil
}

// loadIdentity reads the identity file, or makes a new store in an empty directory.
func loadIdentity(cfg DiskConfig) (identity, error) {
	b, err := readSmall(cfg.FS, path.Join(cfg.Dir, identityName), identitySize)
	if errors.Is(err, fs.ErrNotExist) {
		return newStore(cfg)
	}
	if err != nil {
		return identity{}, err
	}
	id, err := parseIdentity(b)
	if err != nil {
		return identity{}, err
	}
	return id, id.check(cfg)
}

// Identify tells which store of which cluster is in dir. No store there is
// fs.ErrNotExist.
func Identify(fsys vfs.FS, dir string) (layout.StoreID, layout.ClusterID, error) {
	b, err := readSmall(fsys, path.Join(dir, identityName), identitySize)
	if err != nil {
		return layout.StoreID{}, layout.ClusterID{}, err
	}
	id, err := parseIdentity(b)
	return id.store, id.cluster, err
}

// Relabel makes the store in dir, which nobody has open, one of cluster to, if
// it is of cluster from; a store that is of cluster to already stays as it is,
// any other is ErrWrongStore. Its ID and its chunks stay. On return it is
// durable, and a crash on the way leaves it in one of the two clusters.
func Relabel(fsys vfs.FS, dir string, from, to layout.ClusterID) (err error) {
	lock, err := fsys.Lock(path.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	store, cluster, err := Identify(fsys, dir)
	switch {
	case err != nil:
		return fmt.Errorf("store in %s: %w", dir, err)
	case cluster == to:
		return fsys.SyncDir(dir) // the crash may have come before
	case cluster != from:
		return fmt.Errorf("%w: store %s in %s is of cluster %s, not of %s", ErrWrongStore, store, dir, cluster, from)
	}
	return writeSmall(fsys, dir, identityName, identity{store, to}.encode())
}

// newStore makes the directory of segments and, last, the identity file: where that is,
// the rest is. A crash on the way leaves a directory that still counts as empty.
func newStore(cfg DiskConfig) (identity, error) {
	if !cfg.ID.IsZero() && !cfg.Make {
		return identity{}, fmt.Errorf("%w: store %s is not here (is the drive mounted?)", ErrWrongStore, cfg.ID)
	}
	if err := checkEmpty(cfg.FS, cfg.Dir); err != nil {
		return identity{}, err
	}
	if err := cfg.FS.Mkdir(path.Join(cfg.Dir, segmentsName)); err != nil && !errors.Is(err, fs.ErrExist) {
		return identity{}, err
	}
	if err := cfg.FS.SyncDir(cfg.Dir); err != nil {
		return identity{}, err
	}
	id := identity{store: cfg.ID, cluster: cfg.Cluster}
	if !cfg.Make {
		id.store = layout.NewStoreID()
	}
	return id, writeSmall(cfg.FS, cfg.Dir, identityName, id.encode())
}

// checkEmpty refuses a directory with anything in it that a new store would
// not have left there before its identity file.
func checkEmpty(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name {
		case lockName, identityName + tempSuffix, "lost+found":
		case segmentsName:
			segments, err := fsys.ReadDir(path.Join(dir, segmentsName))
			if err != nil {
				return err
			}
			if len(segments) > 0 {
				return fmt.Errorf("%w: segments without an identity file", ErrBadStore)
			}
		default:
			return fmt.Errorf("%w: no identity file, and the directory holds %q", ErrBadStore, e.Name)
		}
	}
	return nil
}
