package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// A node has a store in its data directory, and others in directories of their
// own, one for each further drive. Which store a directory holds is written in
// it, so drives may change places. Which stores the node has made is written in
// node.json: one that is not found is missing, and one that the node did not
// make is not touched.
//
// An empty directory may be where a missing store would be mounted. So it
// becomes a new store only while none is missing; one that is gone for good is
// forgotten first (Identity.Forget).

// KnownStore is a store that the node made.
type KnownStore struct {
	Store layout.StoreID `json:"store"`
	Dir   string         `json:"dir"` // where it was seen last, for people
}

// Forget takes a store off the list of those the node has made. The store in the
// data directory stays.
func (id *Identity) Forget(store layout.StoreID) {
	id.Stores = slices.DeleteFunc(slices.Clone(id.Stores), func(k KnownStore) bool { return k.Store == store })
}

// Why a directory has no store that could be opened.
var (
	errForeign = errors.New("this node has not made it")
	errTwice   = errors.New("the store is in another directory too")
	errMissing = errors.New("is missing (is its drive mounted?)")
)

// Store is a directory for a store of the node, or a store of the node that is
// in none of them.
type Store struct {
	ID   layout.StoreID   // zero if no store of the node is known to belong here
	Dir  string           // where it is, or was seen last
	Disk *chunkstore.Disk // nil if it is not open
	Err  error            // why it is not
}

// StoresConfig says which stores to open. All fields but Dirs are required.
type StoresConfig struct {
	DataDir  string
	Dirs     []string // of the stores besides the one in the data directory
	Identity Identity // of a node that has a cluster
	// Change makes a change of the identity durable.
	Change func(func(*Identity)) error
	// OnFence hears of stores that fence themselves; it must not block.
	OnFence func(layout.StoreID, error)
	Logger  *slog.Logger
}

// OpenStores opens the stores of a node, and makes those that are new. A store
// that cannot be opened leaves the others alone: it comes back without a Disk. It
// is an error if no store is left, or if the data directory fails.
func OpenStores(cfg StoresConfig) (stores []Store, err error) {
	o := opener{StoresConfig: cfg, own: filepath.Join(cfg.DataDir, StoreDir), found: map[layout.StoreID]string{}}
	defer func() {
		for _, s := range stores {
			if err != nil && s.Disk != nil {
				err = errors.Join(err, s.Disk.Close())
			}
		}
	}()
	stores = append(stores, Store{Dir: o.own})
	for _, dir := range cfg.Dirs {
		stores = append(stores, Store{Dir: filepath.Clean(dir)})
	}
	for i := range stores {
		o.identify(&stores[i])
	}
	if cfg.Identity.Store.IsZero() {
		if err := o.openFirst(&stores[0]); err != nil {
			return stores, err
		}
	}
	o.openFound(stores)
	missing := o.missing()
	for i := range stores {
		if errors.Is(stores[i].Err, fs.ErrNotExist) {
			if err := o.openEmpty(&stores[i], missing); err != nil {
				return stores, err
			}
		}
	}
	if err := o.remember(); err != nil {
		return stores, err
	}
	for _, k := range missing {
		stores = addMissing(stores, k)
	}
	var errs []error
	for _, s := range stores {
		if s.Disk != nil {
			return stores, nil
		}
		errs = append(errs, fmt.Errorf("store in %s: %w", s.Dir, s.Err))
	}
	return stores, errors.Join(errs...)
}

// opener opens the stores of a node once.
type opener struct {
	StoresConfig
	own   string                    // directory of the store in the data directory
	found map[layout.StoreID]string // where each store of the node is
}

// identify finds out which store of the node is in a directory; none at all is
// fs.ErrNotExist.
func (o *opener) identify(s *Store) {
	id, cluster, err := chunkstore.Identify(vfs.OS{}, s.Dir)
	there, twice := o.found[id]
	switch {
	case err != nil:
		s.Err = err
		return
	case twice:
		s.Err = fmt.Errorf("store %s is here and in %s: %w", id, there, errTwice)
		return
	case !o.knows(id) && !(s.Dir == o.own && o.Identity.Store.IsZero()):
		s.Err = fmt.Errorf("store %s is here: %w", id, errForeign)
		return
	}
	o.found[id], s.ID, s.Err = s.Dir, id, nil
	if slices.Contains(o.Identity.Predecessors, cluster) { // it was away when the node went into the successor
		s.Err = chunkstore.Relabel(vfs.OS{}, s.Dir, cluster, o.Identity.Cluster)
	}
}

func (o *opener) knows(id layout.StoreID) bool {
	return id == o.Identity.Store || id == o.Identity.NewStore ||
		slices.ContainsFunc(o.Identity.Stores, func(k KnownStore) bool { return k.Store == id })
}

// missing are the stores of the node that were not found.
func (o *opener) missing() (missing []KnownStore) {
	for _, k := range append([]KnownStore{{o.Identity.Store, o.own}}, o.Identity.Stores...) {
		if _, found := o.found[k.Store]; !found && !k.Store.IsZero() {
			missing = append(missing, k)
		}
	}
	return missing
}

// openFirst opens the store in the data directory of a new node. If there is one
// already, a first start was cut short.
func (o *opener) openFirst(s *Store) error {
	if s.ID.IsZero() {
		s.ID = layout.NewStoreID()
	}
	s.Disk, s.Err = o.disk(s.Dir, s.ID, true)
	return s.Err
}

// openFound opens the stores that were identified. All at once: one that was not
// closed is read through.
func (o *opener) openFound(stores []Store) {
	var wg sync.WaitGroup
	for i := range stores {
		if s := &stores[i]; s.Err == nil && s.Disk == nil {
			wg.Go(func() { s.Disk, s.Err = o.disk(s.Dir, s.ID, false) })
		}
	}
	wg.Wait()
}

// openEmpty makes a store in a directory that has none, unless one is missing.
// The error is one of the data directory.
func (o *opener) openEmpty(s *Store, missing []KnownStore) error {
	if len(missing) > 0 {
		s.Err = fmt.Errorf("no store is here, and none is made while store %s %w", missing[0].Store, errMissing)
		return nil
	}
	if _, err := os.Stat(s.Dir); err != nil {
		s.Err = fmt.Errorf("%w (is its drive mounted?)", err)
		return nil
	}
	if o.identify(s); !errors.Is(s.Err, fs.ErrNotExist) {
		return nil // the directory was named before, and has got its store
	}
	id := layout.NewStoreID()
	if err := o.change(func(i *Identity) { i.NewStore = id }); err != nil {
		return err
	}
	if s.Disk, s.Err = o.disk(s.Dir, id, true); s.Err == nil {
		s.ID, o.found[id] = id, s.Dir
		return o.remember()
	}
	return nil
}

// remember keeps which stores the node has and where they are.
func (o *opener) remember() error {
	known, adopt := slices.Clone(o.Identity.Stores), o.Identity.NewStore
	for i, k := range known {
		if dir, found := o.found[k.Store]; found {
			known[i].Dir = dir
		}
	}
	if dir, found := o.found[adopt]; found {
		known, adopt = append(known, KnownStore{adopt, dir}), layout.StoreID{}
	}
	if slices.Equal(known, o.Identity.Stores) {
		return nil
	}
	return o.change(func(i *Identity) { i.Stores, i.NewStore = known, adopt })
}

func (o *opener) change(change func(*Identity)) error {
	change(&o.Identity)
	return o.Change(change)
}

func (o *opener) disk(dir string, id layout.StoreID, makeIt bool) (*chunkstore.Disk, error) {
	d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{
		Dir: dir, ID: id, Make: makeIt, Cluster: o.Identity.Cluster, Logger: o.Logger,
		ReserveBytes: reserve(dir),
		OnFence:      func(err error) { o.OnFence(id, err) },
	})
	if err != nil {
		return nil, err // without the half-open Disk
	}
	return d, nil
}

// reserve is the room on the drive of dir that chunks never take, in bytes. It is twice
// what the registry, which may be on the same drive, needs to go on.
func reserve(dir string) int64 {
	space, err := vfs.OS{}.Space(dir)
	for up := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && up != dir; up = filepath.Dir(dir) {
		dir = up
		space, err = vfs.OS{}.Space(dir)
	}
	return min(128<<20, space.Capacity/40) // zero if nobody says; then opening the store will
}

// addMissing adds a store that was not found, to the directory it was in if that
// is still named.
func addMissing(stores []Store, k KnownStore) []Store {
	i := slices.IndexFunc(stores, func(s Store) bool { return s.Disk == nil && s.ID.IsZero() && s.Dir == k.Dir })
	if i < 0 {
		return append(stores, Store{ID: k.Store, Dir: k.Dir, Err: fmt.Errorf("store %s %w", k.Store, errMissing)})
	}
	stores[i].ID = k.Store
	return stores
}
