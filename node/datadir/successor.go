package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/vfs"
	"partstore/metadata"
	"partstore/node/peer"
)

// A successor cluster goes on with nodes and stores of an earlier one, under
// another ID, after its registry was restored or recovered. A data directory is
// taken over into it in these steps, each of which is durable before the next:
//
//  1. registry-successor/ is made: a registry with this node as its one voter
//     (an adopted node gets none; it will be filled by the others)
//  2. node.json names the successor, and partd starts no more
//  3. the store is relabelled
//  4. registry/ becomes registry-quarantined-<generation>
//  5. registry-successor/ becomes registry/
//  6. node.json says that the node belongs to the successor
//
// A crash before 2 leaves a directory in which nothing was touched. After it,
// the same command goes on where the crash came: each step sees whether it was done.

// Successor is a cluster that a directory is half-way into.
type Successor struct {
	Cluster    layout.ClusterID    `json:"cluster"`
	Generation metadata.Generation `json:"generation"` // of the node's registry there
	By         Takeover            `json:"by"`

	// Predecessor, Index and Created tell of which registry the successor's was
	// made: of a backup those it says of itself. Of an adopted node Index is 0.
	Predecessor layout.ClusterID `json:"predecessor"`
	Index       uint64           `json:"log_index,omitempty"`
	Created     time.Time        `json:"created,omitzero"`
}

// Takeover is how a directory gets into a successor cluster.
type Takeover string

// The values of Takeover. They are part of node.json.
const (
	ByRestore Takeover = "restore" // its registry is that of a backup
	ByRecover Takeover = "recover" // its registry is the copy that was left
	ByAdopt   Takeover = "adopt"   // another node has the registry
)

func (s *Successor) halfWay() error {
	return fmt.Errorf("%w %s; the same \"partctl registry %s\" again ends what it began", ErrHalfWay, s.Cluster, s.By)
}

// Errors of taking a directory over.
var (
	ErrWrongCluster = errors.New("wrong cluster")
	// ErrHalfWay reports a takeover that was begun and not finished.
	ErrHalfWay = errors.New("is half-way into cluster")
	// ErrNoCopy reports a node without a registry that could be recovered.
	ErrNoCopy = errors.New("no copy of the registry")
	// ErrNotNode reports a directory that is no node's data directory.
	ErrNotNode = errors.New("no data directory of a node")

	errStore         = errors.New("store is not that of the node")
	errAnotherBackup = errors.New("the backup is another one now")
)

const successorDir = "registry-successor"

// Directory is the data directory of a node that does not run.
type Directory struct {
	path   string
	id     Identity // as on disk, but for a fresh directory
	peers  []Peer
	lock   *os.File
	client *peer.Client // nil until others are asked

	crash func() error // called before each step; tests replace it
}

// Open takes up the directory of a node, and keeps others out until Close. An
// empty or absent directory becomes one of a new node if it is given a name;
// it stays empty until that node is taken over.
func Open(path, name string) (_ *Directory, err error) {
	d := &Directory{path: path, crash: func() error { return nil }}
	if _, err := identify(path, name); err != nil {
		return nil, err // before anything is made there
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if d.lock, err = Lock(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.id, err = identify(path, name); err != nil { // nobody changes it any more
		return nil, err
	}
	d.peers, err = LoadPeers(path)
	return d, err
}

// identify finds out whose directory it is.
func identify(path, name string) (Identity, error) {
	id, err := read(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fresh(path, name)
	case err == nil && name != "" && name != id.Name:
		err = fmt.Errorf("%w: directory %s belongs to node %q, not to %q", ErrNotNode, path, id.Name, name)
	}
	return id, err
}

// fresh makes sure that a directory without node.json holds nothing of anybody.
func fresh(path, name string) (Identity, error) {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Identity{}, err
	}
	for _, e := range entries {
		if !slices.Contains([]string{lockFile, identityFile + ".tmp", successorDir, "lost+found"}, e.Name()) {
			return Identity{}, fmt.Errorf("%w: %s has no %s, and holds %q", ErrNotNode, path, identityFile, e.Name())
		}
	}
	if name == "" {
		return Identity{}, fmt.Errorf("%w: %s has no %s; a name makes it a new node's", ErrNotNode, path, identityFile)
	}
	return newIdentity(name), nil
}

// Close lets others in.
func (d *Directory) Close() error {
	err := d.lock.Close()
	if d.client != nil {
		err = errors.Join(err, d.client.Close())
	}
	return err
}

// Identity is whose directory it is.
func (d *Directory) Identity() Identity { return d.id }

// Peers are the nodes it knew.
func (d *Directory) Peers() []Peer { return d.peers }

// CheckBackup returns nil if a backup may be restored here: it is of the
// directory's cluster or of a predecessor, or the directory is fresh.
func (d *Directory) CheckBackup(b metadata.BackupInfo) error {
	switch {
	case d.id.Cluster.IsZero() || slices.Contains(d.id.Predecessors, b.Cluster):
		return nil
	case d.id.Cluster != b.Cluster:
		return fmt.Errorf("%w: the backup is of %s, the directory of %s", ErrWrongCluster, b.Cluster, d.id.Cluster)
	}
	return d.checkFormed()
}

func (d *Directory) checkFormed() error {
	if !d.id.Formed {
		return fmt.Errorf("%w: node %q belongs to none yet", ErrWrongCluster, d.id.Name)
	}
	return nil
}

// Survivor takes up the registry in the directory. The other nodes are asked
// with the cluster secret, at the addresses it knew.
func (d *Directory) Survivor(secret string) (*metadata.Survivor, error) {
	if err := d.checkFormed(); err != nil {
		return nil, err
	}
	if !d.id.Made() {
		return nil, fmt.Errorf("%w: that of node %q was given up (%s); recover that of another node", ErrNoCopy, d.id.Name, d.id.Damage)
	}
	client, err := d.connect(secret)
	if err != nil {
		return nil, err
	}
	return metadata.OpenSurvivor(metadata.Config{
		Dir: filepath.Join(d.path, RegistryDir), Node: d.id.Node, Generation: d.id.CurrentGeneration(), Cluster: d.id.Cluster,
		Peers: peer.Registry{Client: client},
	})
}

// AskOthers is metadata.Survivor.AskOthers, with names for the nodes. Before, it
// asks every node the directory knew to read the registry: the copy may be so old
// that it does not know who votes.
func (d *Directory) AskOthers(ctx context.Context, s *metadata.Survivor) (silent []Silence, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for i, err := range d.askAll(ctx, peer.ServiceMembers) {
		switch p := d.peers[i]; {
		case err == nil:
			return nil, fmt.Errorf("%w: node %s reads it", metadata.ErrQuorum, p.Name)
		case errors.Is(err, peer.ErrUnauthorized):
			return nil, p.asked(err)
		}
	}
	nodes, err := s.AskOthers(ctx)
	for _, m := range s.Report().Members {
		why, ok := nodes[m.Node]
		if !ok {
			continue
		}
		p := Peer{Node: m.Node}
		if i := slices.IndexFunc(d.peers, func(p Peer) bool { return p.Node == m.Node }); i >= 0 {
			p = d.peers[i]
		}
		silent = append(silent, Silence{p, why})
	}
	return silent, err
}

// Restore takes the directory over into a successor cluster whose registry is
// that of a backup. Info is what was found in it when it was verified.
func (d *Directory) Restore(info metadata.BackupInfo, backup io.Reader, progress func(rows int)) (*Successor, error) {
	if err := d.CheckBackup(info); err != nil {
		return nil, err
	}
	return d.succeed(successorOf(info), func(cfg metadata.Config) error {
		report, err := metadata.RestoreBackup(backup, cfg, progress)
		if err == nil && report.BackupInfo != info {
			err = errAnotherBackup
		}
		return err
	})
}

func successorOf(b metadata.BackupInfo) Successor {
	return Successor{By: ByRestore, Predecessor: b.Cluster, Index: b.Index, Created: b.Created}
}

// Recover takes the directory over into a successor cluster whose registry is
// made of the directory's own.
func (d *Directory) Recover(s *metadata.Survivor, progress func(rows int)) (*Successor, error) {
	to := Successor{By: ByRecover, Predecessor: d.id.Cluster, Index: s.Report().Last}
	return d.succeed(to, func(cfg metadata.Config) error {
		_, err := s.Recover(cfg, progress)
		return errors.Join(err, s.Close()) // its directory moves
	})
}

// succeed makes the registry of a successor beside the old one and takes the
// directory over.
func (d *Directory) succeed(to Successor, fill func(metadata.Config) error) (*Successor, error) {
	to.Cluster = layout.NewClusterID()
	if err := d.checkStore(to); err != nil {
		return nil, err
	}
	dir := d.successorPath()
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	cfg := metadata.Config{Dir: dir, Node: d.id.Node, Generation: d.id.CurrentGeneration() + 1, Cluster: to.Cluster}
	if err := fill(cfg); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &to, d.begin(to)
}

// Adopt takes the directory over from its cluster into a successor whose
// registry another node has.
func (d *Directory) Adopt(from, to layout.ClusterID) (*Successor, error) {
	s := &Successor{Cluster: to, By: ByAdopt, Predecessor: from}
	if from.IsZero() || to.IsZero() || from == to {
		return nil, fmt.Errorf("%w: from %s to %s", ErrWrongCluster, from, to)
	}
	if d.id.Cluster != from {
		return nil, fmt.Errorf("%w: the directory is of %s, not of %s", ErrWrongCluster, d.id.Cluster, from)
	}
	if err := errors.Join(d.checkFormed(), d.checkStore(*s)); err != nil {
		return nil, err
	}
	return s, d.begin(*s)
}

// Begun is the takeover that was begun and not finished, or nil.
func (d *Directory) Begun() *Successor { return d.id.Successor }

// FinishRestore ends the restore of a backup if one was begun, and returns it.
// What else was begun is ErrHalfWay.
func (d *Directory) FinishRestore(info metadata.BackupInfo) (*Successor, error) {
	want := successorOf(info)
	return d.finishIf(func(s Successor) bool {
		return s.By == want.By && s.Predecessor == want.Predecessor && s.Index == want.Index && s.Created.Equal(want.Created)
	})
}

// FinishRecover is FinishRestore for a recovery.
func (d *Directory) FinishRecover() (*Successor, error) {
	return d.finishIf(func(s Successor) bool { return s.By == ByRecover })
}

// FinishAdopt is FinishRestore for the way from one cluster into another. It
// counts as finished if the directory is there already.
func (d *Directory) FinishAdopt(from, to layout.ClusterID) (*Successor, error) {
	if d.id.Cluster == to && slices.Contains(d.id.Predecessors, from) {
		return &Successor{Cluster: to, By: ByAdopt, Predecessor: from}, nil
	}
	return d.finishIf(func(s Successor) bool { return s.By == ByAdopt && s.Predecessor == from && s.Cluster == to })
}

func (d *Directory) finishIf(same func(Successor) bool) (*Successor, error) {
	s := d.id.Successor
	switch {
	case s == nil:
		return nil, nil
	case !same(*s):
		return nil, fmt.Errorf("directory %s %w", d.path, s.halfWay())
	}
	return s, d.finish()
}

func (d *Directory) begin(s Successor) error {
	s.Generation = d.id.CurrentGeneration() + 1
	if err := d.crash(); err != nil {
		return err
	}
	if err := d.set(func(id *Identity) { id.Successor = &s }); err != nil {
		return err
	}
	return d.finish()
}

func (d *Directory) finish() error {
	for _, step := range []func() error{d.takeStore, d.moveAside, d.moveIn, d.takeIdentity} {
		if err := d.step(step); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) set(change func(*Identity)) error {
	next := d.id
	change(&next)
	if err := Save(d.path, next); err != nil {
		return err
	}
	d.id = next
	return nil
}

func (d *Directory) storePath() string     { return filepath.Join(d.path, StoreDir) }
func (d *Directory) successorPath() string { return filepath.Join(d.path, successorDir) }

// checkStore looks whether takeStore can do its work.
func (d *Directory) checkStore(to Successor) error {
	store, cluster, err := chunkstore.Identify(vfs.OS{}, d.storePath())
	switch {
	case errors.Is(err, fs.ErrNotExist) && d.id.Store.IsZero():
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s, of node %q, is not in %s (is the drive mounted?)", errStore, d.id.Store, d.id.Name, d.storePath())
	case err != nil:
		return fmt.Errorf("store in %s: %w", d.storePath(), err)
	case !d.id.Store.IsZero() && store != d.id.Store:
		return fmt.Errorf("%w: %s is in %s, not %s", errStore, store, d.storePath(), d.id.Store)
	case cluster != d.id.Cluster && cluster != to.Cluster:
		return fmt.Errorf("%w: store %s is of %s, the node of %s", ErrWrongCluster, store, cluster, d.id.Cluster)
	}
	return nil
}

// takeStore relabels the store. A node that had none gets one, so that from now
// on it must not be missing.
func (d *Directory) takeStore() error {
	to := d.id.Successor.Cluster
	if err := d.checkStore(*d.id.Successor); err != nil {
		return err
	}
	store, _, err := chunkstore.Identify(vfs.OS{}, d.storePath())
	if errors.Is(err, fs.ErrNotExist) {
		disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: d.storePath(), Cluster: to})
		if err != nil {
			return err
		}
		store, err = disk.ID(), disk.Close()
		if err != nil {
			return err
		}
	} else if err := errors.Join(err, chunkstore.Relabel(vfs.OS{}, d.storePath(), d.id.Cluster, to)); err != nil {
		return err
	}
	return d.set(func(id *Identity) { id.Store = store })
}

// moveAside makes room for the new registry, unless that is in its place
// already.
func (d *Directory) moveAside() error {
	s := d.id.Successor
	if _, err := os.Stat(d.successorPath()); s.By != ByAdopt && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := MoveRegistryAside(d.path, s.Generation); err != nil {
		return fmt.Errorf("move registry aside: %w", err)
	}
	return nil
}

// moveIn puts the new registry into its place.
func (d *Directory) moveIn() error {
	if d.id.Successor.By == ByAdopt {
		return os.RemoveAll(d.successorPath()) // what a crash may have left of another takeover
	}
	err := os.Rename(d.successorPath(), filepath.Join(d.path, RegistryDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncDir(d.path)
}

func (d *Directory) takeIdentity() error {
	return d.set(func(id *Identity) {
		s := id.Successor
		id.Predecessors = slices.Clone(id.Predecessors)
		for _, c := range []layout.ClusterID{s.Predecessor, id.Cluster} {
			if !c.IsZero() && !slices.Contains(id.Predecessors, c) {
				id.Predecessors = append(id.Predecessors, c)
			}
		}
		id.Cluster, id.Formed, id.Bootstrapped = s.Cluster, true, false
		id.Proposer, id.Promised, id.Released = layout.NodeID{}, nil, nil
		id.Generation, id.Damage, id.Successor = s.Generation, "", nil
		if s.By != ByAdopt {
			id.Registry = s.Generation
		}
	})
}

func (d *Directory) step(do func() error) error {
	if err := d.crash(); err != nil {
		return err
	}
	return do()
}
