package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/cluster"
	"partstore/node/datadir"
	"partstore/node/repair"
)

// minFreeBytes is the room below which a store announces itself full.
const minFreeBytes = 256 << 20

// storeInterval is how often the node looks at its own stores.
const storeInterval = time.Second

// localStore is a store of this node that is open, and the work on it.
type localStore struct {
	*chunkstore.Disk
	dir     string
	orphans *repair.Orphans
	healer  *repair.Healer
	scrub   *repair.Scrub
	freed   freedCounts
}

// openStores opens the stores of this node. One that cannot be opened is lost to
// it until the next start, and the node goes on with the others.
func (n *Node) openStores(id datadir.Identity) error {
	stores, err := datadir.OpenStores(datadir.StoresConfig{
		DataDir: n.cfg.DataDir, Dirs: n.cfg.StoreDirs, Identity: id, Change: n.formation.update,
		OnFence: func(store layout.StoreID, reason error) {
			n.tell(metadata.EventStoreFenced, store, reason.Error())
			select {
			case n.fenced <- struct{}{}:
			default:
			}
		},
		Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	for _, s := range stores {
		if s.Disk == nil {
			n.lost = append(n.lost, s)
			n.log.Error("store is not open", "store", s.ID, "dir", s.Dir, "err", s.Err)
			n.tell(metadata.EventStoreMissing, s.ID, fmt.Sprintf("%s: %v", s.Dir, s.Err))
			continue
		}
		n.stores = append(n.stores, &localStore{Disk: s.Disk, dir: s.Dir})
		n.onClose(closeData, s.Disk.Close)
	}
	return nil
}

// watchStores announces the states of this node's stores until ctx ends.
func (n *Node) watchStores(ctx context.Context) error {
	tick := time.NewTicker(storeInterval)
	defer tick.Stop()
	var last []cluster.StoreInfo
	for {
		infos := make([]cluster.StoreInfo, len(n.stores))
		for i, s := range n.stores {
			infos[i] = cluster.StoreInfo{ID: s.ID(), State: s.state()}
			if len(last) == 0 || last[i] != infos[i] {
				n.log.Info("store", "store", s.ID(), "dir", s.dir, "state", infos[i].State)
			}
		}
		if !slices.Equal(infos, last) {
			last = infos
			if err := n.gossip.Update(func(self *cluster.Member) { self.Stores = infos }); err != nil {
				n.log.Warn("announce stores", "err", err)
			}
		}
		n.forgetDead()
		select {
		case <-ctx.Done():
			return nil
		case <-n.fenced:
		case <-tick.C:
		}
	}
}

func (s *localStore) state() cluster.StoreState {
	if s.Fenced() != nil {
		return cluster.StoreFenced
	}
	if space, err := s.Space(); err != nil || space.FreeBytes < minFreeBytes {
		return cluster.StoreFull
	}
	return cluster.StoreWritable
}

// forgetDead forgets the stores that were declared lost for good, so that the
// next start may make others in their directories.
func (n *Node) forgetDead() {
	topology, _ := n.registry.LocalTopology()
	for _, k := range n.formation.identity().Stores {
		if topology.Duty(k.Store).State != metadata.DutyDead {
			continue
		}
		if err := n.formation.update(func(id *datadir.Identity) { id.Forget(k.Store) }); err != nil {
			n.log.Warn("forget store", "store", k.Store, "err", err)
			return
		}
		n.log.Info("store forgotten: it is lost for good", "store", k.Store, "dir", k.Dir)
	}
}

// ownStores are the stores of this node that are open; none before the node is.
func (n *Node) ownStores() []*localStore {
	if !n.isOpen() {
		return nil
	}
	return n.stores
}

// localStore finds a store of this node that is open.
func (n *Node) localStore(id layout.StoreID) (*localStore, bool) {
	for _, s := range n.ownStores() {
		if s.ID() == id {
			return s, true
		}
	}
	return nil, false
}

// servedStore is localStore for peers.
func (n *Node) servedStore(id layout.StoreID) (chunkstore.Store, bool) {
	s, ours := n.localStore(id)
	return s, ours
}

// tryStores returns nil if a store of this node makes things durable.
func (n *Node) tryStores(ctx context.Context) error {
	var errs []error
	for _, s := range n.stores {
		err := s.Fenced()
		if err == nil {
			var id layout.AttemptID
			if id, err = n.attempts.next(); err == nil {
				err = trialWrite(ctx, s, id)
			}
		}
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("store in %s: %w", s.dir, err))
	}
	return errors.Join(errs...)
}

// tryStore returns a trial of stores that are being avoided.
func (n *Node) tryStore(trial func(context.Context, chunkstore.Store, layout.AttemptID) error) func(context.Context, layout.StoreID) error {
	return func(ctx context.Context, id layout.StoreID) error {
		store, err := n.storeByID(id)
		if err != nil {
			return err
		}
		attempt, err := n.attempts.next()
		if err != nil {
			return err
		}
		return trial(ctx, store, attempt)
	}
}

// recheckStores tries avoided stores now and brings the View up to date.
func (n *Node) recheckStores(ctx context.Context) {
	n.avoid.recheck(ctx)
	n.refreshView()
}

// resolvePeer finds the address of a node. One that gossip takes for dead may be
// needed and alive: it is asked where it was last.
func (n *Node) resolvePeer(id layout.NodeID) (string, bool) {
	m, ok := n.gossip.LastSeen(id)
	return m.PeerAddr(), ok
}
