package node

import (
	"context"
	"slices"
	"time"

	"partstore/metadata"
	"partstore/node/datadir"
)

// peersInterval is how often the node looks where the others are.
const peersInterval = time.Second

// keepPeers writes down where the other members of the cluster are, for
// operators who need them while this node does not run. A failure is no reason
// to stop: it is tried again with the next change.
func (n *Node) keepPeers(ctx context.Context) error {
	known, err := datadir.LoadPeers(n.cfg.DataDir)
	if err != nil {
		n.log.Warn("peers are written down anew", "err", err)
	}
	tick := time.NewTicker(peersInterval)
	defer tick.Stop()
	for {
		if now := n.lookAtPeers(known); !slices.Equal(now, known) {
			if err := datadir.SavePeers(n.cfg.DataDir, now); err != nil {
				n.log.Warn("write down peers", "err", err)
			}
			known = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// lookAtPeers returns the known peers that are still in the registry, with the
// addresses of those that gossip sees.
func (n *Node) lookAtPeers(known []datadir.Peer) (peers []datadir.Peer) {
	topology, _ := n.registry.LocalTopology()
	for _, p := range known {
		gone := !slices.ContainsFunc(topology.Members, func(m metadata.Member) bool { return m.ID == p.Node })
		if _, seen := n.gossip.Member(p.Node); !seen && !gone {
			peers = append(peers, p)
		}
	}
	for _, m := range n.gossip.Members() {
		if m.ID != n.id && m.Formed && m.Cluster == n.formation.cluster() {
			peers = append(peers, datadir.Peer{Node: m.ID, Name: m.Name, Addr: m.PeerAddr(), TLS: m.TLS})
		}
	}
	slices.SortFunc(peers, func(a, b datadir.Peer) int { return compareNodes(a.Node, b.Node) })
	return slices.CompactFunc(peers, func(a, b datadir.Peer) bool { return a.Node == b.Node })
}
