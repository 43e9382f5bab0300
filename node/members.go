package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/peer"
)

// keepMembership makes sure that Raft's configuration has this node: a node
// that joins a cluster, or was not among its first voters, asks to be added. A
// node that an operator removed stays as it is, and serves its chunks.
func (n *Node) keepMembership(ctx context.Context) error {
	removed := false
	for member := n.isMember(); !member; {
		err := n.askToJoin(ctx)
		member = err == nil && n.isMember() // not only in the log of a leader that is lost by now
		if errors.Is(err, metadata.ErrRemoved) && !removed {
			removed = true
			n.log.Warn("an operator removed this node from the registry; emptying its directory makes it a new node")
		} else if err != nil {
			n.log.Debug("ask to be added", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(startRetry):
		}
	}
	return n.finishRejoin(ctx)
}

func (n *Node) isMember() bool {
	generation := n.formation.identity().CurrentGeneration()
	return slices.ContainsFunc(n.registry.Status().Servers, func(s metadata.Server) bool {
		return s.Node == n.id && s.Generation == generation
	})
}

// askToJoin asks members of the cluster, until one has seen to it, to add this
// node.
func (n *Node) askToJoin(ctx context.Context) error {
	var errs []error
	for _, m := range n.gossip.Members() {
		if m.ID == n.id || !m.Formed || m.Cluster != n.formation.cluster() {
			continue
		}
		reply, err := n.callFormation(ctx, m.PeerAddr(), formRequest{Kind: formJoin, Node: n.id, Generation: n.formation.identity().CurrentGeneration()})
		switch {
		case err != nil:
			errs = append(errs, err)
		case reply.Removed:
			return metadata.ErrRemoved
		case reply.Accepted:
			return nil
		}
	}
	return errors.Join(errs...)
}

// addMember answers another node's formJoin.
func (n *Node) addMember(ctx context.Context, node layout.NodeID, generation metadata.Generation) (formReply, error) {
	err := n.registry.AddMember(ctx, node, generation)
	if errors.Is(err, metadata.ErrRemoved) {
		return formReply{Removed: true}, nil
	}
	return formReply{Accepted: err == nil, Cluster: n.formation.cluster()}, err
}

// Members implements admin.Service.
func (o operator) Members(ctx context.Context) (admin.MemberList, error) {
	n := o.n
	if !n.isOpen() {
		return admin.MemberList{}, errStarting
	}
	m, err := n.members(ctx)
	if err != nil {
		return admin.MemberList{}, err
	}
	nodes, err := o.Nodes(ctx)
	if err != nil {
		return admin.MemberList{}, err
	}
	return n.memberList(m, nodes), nil
}

// memberList says of members what is known of them as nodes.
func (n *Node) memberList(m metadata.Members, nodes []admin.Node) admin.MemberList {
	list := admin.MemberList{Version: m.Version, Settled: m.Settled, Removed: []admin.NodeRef{}}
	for _, node := range m.Removed {
		list.Removed = append(list.Removed, n.ref(node))
	}
	leader := n.registry.Status().Leader
	for _, member := range m.Members {
		entry := admin.Member{NodeRef: n.ref(member.Node), Role: admin.RoleNonvoter, Wish: member.Wish.String()}
		switch {
		case member.Node == leader:
			entry.Role = admin.RoleLeader
		case member.Voter:
			entry.Role = admin.RoleVoter
		}
		if i := slices.IndexFunc(nodes, func(o admin.Node) bool { return o.ID == member.Node }); i >= 0 {
			entry.Alive, entry.AppliedIndex = nodes[i].Alive, nodes[i].AppliedIndex
		}
		list.Members = append(list.Members, entry)
	}
	return list
}

// members asks the own registry, and where that cannot tell, because the node
// has left it, another node's.
func (n *Node) members(ctx context.Context) (m metadata.Members, err error) {
	if n.isMember() { // as far as it knows
		own, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		m, err = n.registry.Members(own)
		if !errors.Is(err, metadata.ErrUnavailable) {
			return m, err
		}
	}
	for _, other := range n.gossip.Members() {
		if other.ID == n.id || other.Cluster != n.formation.cluster() {
			continue
		}
		m, asked := callJSON[struct{}, metadata.Members](ctx, struct{}{}, func(ctx context.Context, b []byte) ([]byte, error) {
			return n.peers.Call(ctx, other.ID, peer.ServiceMembers, b)
		})
		if asked == nil {
			return m, nil
		}
		err = errors.Join(err, asked)
	}
	return m, fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
}

func (n *Node) handleMembers(ctx context.Context, _ layout.NodeID, _ []byte) ([]byte, error) {
	if !n.isOpen() {
		return nil, errStarting
	}
	m, err := n.registry.Members(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// ChangeMembers implements admin.Service. A node that is to go itself stops
// being ready first.
func (o operator) ChangeMembers(ctx context.Context, c metadata.MembersChange) error {
	n := o.n
	if !n.isOpen() {
		return errStarting
	}
	err := n.registry.ChangeMembers(ctx, c)
	if err == nil {
		n.tell(metadata.EventMember, layout.StoreID{}, n.memberReason(c))
	}
	if err == nil && c.Node == n.id && (c.Verb == metadata.MembersRemove || c.Verb == metadata.MembersReplace) {
		n.leaving.Store(true)
	}
	return err
}
