package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Identity is who a data directory belongs to. It is kept in node.json and
// changes only while a node finds its cluster, or is taken over by another.
type Identity struct {
	Version int           `json:"version"`
	Node    layout.NodeID `json:"node"`
	Name    string        `json:"name"`

	// Cluster is the cluster the node belongs to, or has promised to be part
	// of while Formed is false. Zero: none yet.
	Cluster layout.ClusterID `json:"cluster"`
	// Formed is true once the cluster exists. From then on nothing changes.
	Formed bool `json:"formed"`
	// Proposer is the node that proposed Cluster and alone decides whether it
	// comes to exist. Zero for a node that joined a formed cluster.
	Proposer layout.NodeID `json:"proposer"`
	// Promised are the nodes that had promised when the proposer, this node,
	// formed the cluster; the first voters are among them.
	Promised []layout.NodeID `json:"promised,omitempty"`
	// Bootstrapped is true once this node, the proposer, told Raft the first
	// voters.
	Bootstrapped bool `json:"bootstrapped,omitempty"`
	// Store is the store in the data directory, from the node's first start on.
	Store layout.StoreID `json:"store"`
	// Stores are those in directories of their own; see OpenStores.
	Stores []KnownStore `json:"stores,omitempty"`
	// NewStore is the next one while it is being made.
	NewStore layout.StoreID `json:"new_store,omitzero"`
	// Generation is that of the registry the node has, or is to have; 0 is the
	// first, as 1 is. It is taken, durably, before an empty registry is opened
	// in place of one that was given up.
	Generation metadata.Generation `json:"generation,omitempty"`
	// Registry is the generation whose registry was made in the directory. From
	// then on it must not be missing.
	Registry metadata.Generation `json:"registry,omitempty"`
	// Damage is why the generation before was given up, until the node has
	// caught up with the others again.
	Damage string `json:"damage,omitempty"`
	// Released are proposals of this node that it gave up and never formed.
	Released []layout.ClusterID `json:"released,omitempty"`
	// Predecessors are the clusters that Cluster succeeded, oldest first.
	Predecessors []layout.ClusterID `json:"predecessors,omitempty"`
	// Successor is the cluster that the directory is being taken over into, step
	// by step. Until it is, the node does not start.
	Successor *Successor `json:"successor,omitempty"`
}

// CurrentGeneration is the generation of the node's registry.
func (id Identity) CurrentGeneration() metadata.Generation { return max(1, id.Generation) }

// Made reports whether the registry of the current generation was formatted.
func (id Identity) Made() bool {
	if id.Registry == 0 && id.CurrentGeneration() == 1 {
		return !id.Store.IsZero() // as older programs marked it
	}
	return id.Registry == id.CurrentGeneration()
}

// Predecessor is the cluster that Cluster succeeded; zero if it is the first.
func (id Identity) Predecessor() (p layout.ClusterID) {
	if n := len(id.Predecessors); n > 0 {
		p = id.Predecessors[n-1]
	}
	return p
}

// Release gives up this node's proposal.
func (id *Identity) Release() { id.Released = append(slices.Clone(id.Released), id.Cluster) }

// ErrInUse reports a directory that a running process has locked.
var ErrInUse = errors.New("is in use by another process")

const (
	identityVersion = 1
	identityFile    = "node.json"
	lockFile        = "LOCK"
)

// Load reads the identity in dir, or makes one in an empty directory. It refuses
// a directory of another node: names are how an operator tells directories
// apart, and two swapped ones must not start. It refuses one that is half-way
// into a successor cluster, too.
func Load(dir, name string) (Identity, error) {
	id, err := read(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		id := newIdentity(name)
		return id, Save(dir, id)
	case err != nil:
		return Identity{}, err
	case id.Name != name:
		return Identity{}, fmt.Errorf("directory %s belongs to node %q (ID %s), not to %q; were two directories swapped?", dir, id.Name, id.Node, name)
	case id.Successor != nil:
		return Identity{}, fmt.Errorf("directory %s %w", dir, id.Successor.halfWay())
	}
	return id, nil
}

func newIdentity(name string) Identity {
	return Identity{Version: identityVersion, Node: layout.NewNodeID(), Name: name}
}

// read reads node.json; none is os.ErrNotExist.
func read(dir string) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil {
		return Identity{}, fmt.Errorf("%s is damaged: %w", path, err)
	}
	switch {
	case id.Version != identityVersion:
		return Identity{}, fmt.Errorf("%s has format %d; this binary reads %d", path, id.Version, identityVersion)
	case id.Node.IsZero():
		return Identity{}, fmt.Errorf("%s is damaged: no node ID", path)
	}
	return id, nil
}

// Save returns when the identity would survive power loss: write
// temporary, sync file, rename, sync directory.
func Save(dir string, id Identity) error {
	if err := writeJSON(dir, identityFile, id); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return nil
}

func writeJSON(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(dir, name, append(b, '\n'))
}

func writeFile(dir, name string, b []byte) error {
	path := filepath.Join(dir, name)
	if err := writeSynced(path+".tmp", b); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeSynced(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

// Lock makes sure no other process uses dir until the file is closed.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("directory %s %w: %w", dir, ErrInUse, err), f.Close())
	}
	return f, nil
}
