package node

import (
	"context"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/node/cluster"
)

// minFreeBytes is the room below which a store announces itself full.
const minFreeBytes = 256 << 20

// storeInterval is how often the node looks at its own store.
const storeInterval = time.Second

// watchStore announces the state of this node's store until ctx ends.
func (n *Node) watchStore(ctx context.Context) error {
	tick := time.NewTicker(storeInterval)
	defer tick.Stop()
	fenced := n.fenced
	for last := cluster.StoreState(0); ; {
		if state := n.storeState(); state != last {
			last = state
			n.log.Info("store", "store", n.store.ID(), "state", state)
			err := n.gossip.Update(func(self *cluster.Member) {
				self.Stores = []cluster.StoreInfo{{ID: n.store.ID(), State: state}}
			})
			if err != nil {
				n.log.Warn("announce store", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-fenced:
			fenced = nil
		case <-tick.C:
		}
	}
}

func (n *Node) storeState() cluster.StoreState {
	if n.store.Fenced() != nil {
		return cluster.StoreFenced
	}
	if space, err := n.store.Space(); err != nil || space.FreeBytes < minFreeBytes {
		return cluster.StoreFull
	}
	return cluster.StoreWritable
}

// localStore finds the stores that this node serves to its peers.
func (n *Node) localStore(id layout.StoreID) (chunkstore.Store, bool) {
	if !n.isOpen() || n.store.ID() != id {
		return nil, false
	}
	return n.store, true
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
