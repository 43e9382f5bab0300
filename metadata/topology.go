package metadata

import (
	"bytes"
	"maps"
	"slices"
	"sync"

	"partstore/internal/layout"
)

// topologyWatch holds the topology of the applied state and tells when it
// changes. The slices of a published Topology are never written again.
type topologyWatch struct {
	mu      sync.Mutex
	current Topology
	version uint64
	changed chan struct{}
}

func (w *topologyWatch) set(cluster layout.ClusterID, m *machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil && w.version == m.meta.topologyVersion {
		return
	}
	w.current, w.version = m.topology(cluster), m.meta.topologyVersion
	if w.changed != nil {
		close(w.changed)
	}
	w.changed = make(chan struct{})
}

func (w *topologyWatch) get() (Topology, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current, w.version
}

func (w *topologyWatch) changedSince(version uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.version == version {
		return w.changed
	}
	already := make(chan struct{})
	close(already)
	return already
}

func (m *machine) topology(cluster layout.ClusterID) Topology {
	return Topology{
		Cluster: cluster,
		Scheme:  m.meta.scheme,
		Members: slices.SortedFunc(maps.Values(m.members), func(a, b Member) int { return bytes.Compare(a.ID[:], b.ID[:]) }),
		Stores:  slices.SortedFunc(maps.Values(m.stores), func(a, b Store) int { return bytes.Compare(a.ID[:], b.ID[:]) }),
		Groups:  slices.Clone(m.groups),
		Duties:  slices.SortedFunc(maps.Values(m.duties), func(a, b Duty) int { return bytes.Compare(a.Store[:], b.Store[:]) }),
	}
}

// LocalTopology returns what this node's copy of the registry knows of nodes,
// stores and groups, and a version that grows with every change. It is a hint:
// it may lag. The slices must not be changed.
func (r *Raft) LocalTopology() (Topology, uint64) { return r.fsm.topology.get() }

// TopologyChanged returns a channel that is closed once the local topology has
// another version than the given one.
func (r *Raft) TopologyChanged(version uint64) <-chan struct{} {
	return r.fsm.topology.changedSince(version)
}
