package node

import (
	"context"
	"fmt"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/node/cluster"
)

// viewInterval bounds how old a View can be if a signal is missed.
const viewInterval = time.Second

// watchView keeps the node's View fresh until ctx ends.
func (n *Node) watchView(ctx context.Context) error {
	tick := time.NewTicker(viewInterval)
	defer tick.Stop()
	for {
		version := n.refreshView()
		select {
		case <-ctx.Done():
			return nil
		case <-n.gossip.Changed():
		case <-n.registry.TopologyChanged(version):
		case <-n.viewStale:
		case <-tick.C:
		}
	}
}

// staleView asks for a new View soon.
func (n *Node) staleView() {
	select {
	case n.viewStale <- struct{}{}:
	default:
	}
}

// refreshView makes a View of what the registry's local copy, gossip and this
// node's own experience say, and returns the version of the topology in it.
func (n *Node) refreshView() uint64 {
	topology, version := n.registry.LocalTopology()
	v := &layout.View{
		Self:   n.id,
		Scheme: topology.Scheme,
		Nodes:  make(map[layout.NodeID]layout.NodeState, len(topology.Members)),
		Stores: make(map[layout.StoreID]layout.StoreState, len(topology.Stores)),
		Groups: topology.Groups, Topology: version,
	}
	live := make(map[layout.NodeID]cluster.Member)
	for _, m := range n.gossip.Members() {
		if m.Cluster == topology.Cluster {
			live[m.ID] = m
		}
	}
	for _, m := range topology.Members {
		_, alive := live[m.ID]
		v.Nodes[m.ID] = layout.NodeState{ID: m.ID, Name: m.Name, Zone: m.Zone, Alive: alive}
	}
	for _, s := range topology.Stores {
		state := announced(live[s.Node], s.ID)
		alive := state != 0 && !n.avoid.has(s.ID)
		v.Stores[s.ID] = layout.StoreState{ID: s.ID, Node: s.Node, Alive: alive, Up: alive && state == cluster.StoreWritable}
	}
	n.view.Store(v)
	return version
}

// announced is the state a member gives of one of its stores, 0 if none.
func announced(m cluster.Member, id layout.StoreID) cluster.StoreState {
	for _, s := range m.Stores {
		if s.ID == id {
			return s.State
		}
	}
	return 0
}

// currentView returns the newest View; before the first it is empty. Its groups
// are those of the registry's copy at this moment, so that whoever takes an
// attempt ID and then places by the View cannot use a slot that had changed hands.
func (n *Node) currentView() *layout.View {
	v := n.view.Load()
	if !n.isOpen() {
		return v
	}
	topology, version := n.registry.LocalTopology()
	if version == v.Topology {
		return v
	}
	fresh := *v
	fresh.Groups, fresh.Topology = topology.Groups, version
	return &fresh
}

// storeByID returns a store of this node or of another.
func (n *Node) storeByID(id layout.StoreID) (chunkstore.Store, error) {
	if s, ours := n.localStore(id); ours {
		return s, nil
	}
	s, ok := n.currentView().Stores[id]
	if !ok {
		return nil, fmt.Errorf("store %s is not known here yet: %w", id, chunkstore.ErrUnavailable)
	}
	return n.peers.Store(s.Node, id), nil
}
