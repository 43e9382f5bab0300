package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/control"
)

// controlInterval is how often the leader looks for something to decide.
const controlInterval = 250 * time.Millisecond

// Bounds of the controller.
const (
	controlPace  = 20 * time.Millisecond // between two decisions
	controlMoves = 16                    // slots under way from stores that still serve
)

// newController decides which stores count, and who holds the slots of the others.
func (n *Node) newController() *control.Controller {
	return control.New(control.Config{
		Registry: n.registry, Leads: n.Leading,
		Ask: func(ctx context.Context, node layout.NodeID) (control.Report, error) {
			s, err := n.statusOf(ctx, node)
			return control.Report{Fenced: s.Fenced, Missing: s.Missing}, err
		},
		Gossips: func(node layout.NodeID) bool { _, there := n.gossip.Member(node); return there },
		Grace:   n.cfg.OutGrace, Pace: controlPace, Moves: controlMoves, Rebalance: n.cfg.Rebalance == "on",
		Logger: n.log.With("component", "controller"),
	})
}

// control makes the groups of a new cluster while this node leads it.
func (n *Node) control(ctx context.Context) error {
	tick := time.NewTicker(controlInterval)
	defer tick.Stop()
	for {
		topology, version := n.registry.LocalTopology()
		if len(topology.Groups) == 0 && n.registry.Status().Leader == n.id {
			if err := n.createGroups(ctx, topology); err != nil && !errors.Is(err, metadata.ErrGroupsExist) {
				n.log.Warn("create groups", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.registry.TopologyChanged(version):
		case <-tick.C:
		}
	}
}

// createGroups makes the groups once all nodes that form the cluster have
// registered their stores, and there are enough for the scheme.
func (n *Node) createGroups(ctx context.Context, t metadata.Topology) error {
	zones, nodes := make(map[layout.NodeID]string), make(map[layout.NodeID]bool)
	for _, m := range t.Members {
		zones[m.ID] = m.Zone
	}
	candidates := make([]layout.Candidate, 0, len(t.Stores))
	for _, s := range t.Stores {
		nodes[s.Node] = true
		candidates = append(candidates, layout.Candidate{Store: s.ID, Node: s.Node, Zone: zones[s.Node], CapacityBytes: s.CapacityBytes})
	}
	if len(t.Members) < n.cfg.BootstrapExpect || len(nodes) < n.cfg.Scheme.Total() {
		return nil
	}
	groups, err := layout.NewGroups(n.cfg.Scheme, candidates, layout.GroupCount(len(candidates), n.cfg.Scheme.Total()))
	if err != nil {
		return fmt.Errorf("place groups: %w", err)
	}
	groups = layout.Balanced(groups, candidates) // now it costs nothing
	n.log.Info("create groups", "groups", len(groups), "scheme", n.cfg.Scheme, "stores", len(candidates))
	return n.registry.CreateGroups(ctx, n.cfg.Scheme, groups)
}
