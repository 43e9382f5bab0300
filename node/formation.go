package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/cluster"
	"partstore/node/datadir"
)

// Formation brings a node into exactly one cluster, whatever the order of
// starts, restarts and messages.
//
// A node without a cluster joins one that exists if gossip shows any. If none
// does and enough nodes are there, the one with the lowest ID proposes a fresh
// cluster ID and asks the others to promise. A promise is on disk before it is
// given, and a node promises to one proposal only. The proposer alone decides
// that the cluster exists (Formed), once bootstrap-expect nodes, itself
// included, have promised; only then does it bootstrap Raft, with the first
// voters among them. Two clusters would need two sets of bootstrap-expect
// nodes without a common member.
//
// Two proposers may meet when nodes saw different members. Then the one with
// the higher ID gives up its proposal, on disk, before it promises to the
// lower; and nodes that promised to the one given up are free again. Nobody
// else may free a node: a proposer that is merely silent may have formed its
// cluster.
type formation struct {
	self   layout.NodeID
	expect int
	gossip gossip
	save   func(datadir.Identity) error
	call   func(ctx context.Context, addr string, req formRequest) (formReply, error)
	log    *slog.Logger

	mu sync.Mutex
	id datadir.Identity
}

// gossip is what formation needs of node/cluster.
type gossip interface {
	Members() []cluster.Member
	Changed() <-chan struct{}
}

// formRequest is a question of one node to another about their cluster.
type formRequest struct {
	Kind     formKind           `json:"kind"`
	Node     layout.NodeID      `json:"node"`               // the asking node
	Cluster  layout.ClusterID   `json:"cluster"`            // its proposal, if it asks for a promise
	Released []layout.ClusterID `json:"released,omitempty"` // proposals given up for good

	// Generation is that of the registry that asks to be let in.
	Generation metadata.Generation `json:"generation,omitempty"`
}

type formKind string

const (
	formPromise formKind = "promise" // be part of the cluster I propose
	formRelease formKind = "release" // which of your proposals have you given up?
	formJoin    formKind = "join"    // let me into your cluster
)

// formReply answers a formRequest. When Accepted is false, the other fields
// say what the node belongs to instead.
type formReply struct {
	Accepted bool               `json:"accepted"`
	Cluster  layout.ClusterID   `json:"cluster"`
	Proposer layout.NodeID      `json:"proposer"`
	Formed   bool               `json:"formed"`
	Released []layout.ClusterID `json:"released,omitempty"` // own proposals given up for good
	Removed  bool               `json:"removed,omitempty"`  // the asking node may not join: an operator removed it
}

// formationRound is how often a node without a cluster looks around.
const formationRound = 200 * time.Millisecond

// foreignGrace is how long a starting node that sees only members of another
// cluster waits for one of its own before it refuses to start.
const foreignGrace = 5 * time.Second

// run returns when the node's cluster exists and the node belongs to it.
func (f *formation) run(ctx context.Context) error {
	tick := time.NewTicker(formationRound)
	defer tick.Stop()
	for {
		if err := f.step(ctx, f.gossip.Members()); err != nil {
			return err
		}
		if f.identity().Formed {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.gossip.Changed():
		case <-tick.C:
		}
	}
}

func (f *formation) identity() datadir.Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id
}

// cluster is the cluster the node belongs to, zero until it is formed.
func (f *formation) cluster() layout.ClusterID {
	if id := f.identity(); id.Formed {
		return id.Cluster
	}
	return layout.ClusterID{}
}

// set changes the identity, on disk first.
func (f *formation) set(change func(*datadir.Identity)) error {
	next := f.id
	change(&next)
	if err := f.save(next); err != nil {
		return err
	}
	f.id = next
	return nil
}

func (f *formation) step(ctx context.Context, members []cluster.Member) error {
	id := f.identity()
	switch {
	case id.Formed:
		return nil
	case id.Cluster.IsZero():
		return f.findCluster(ctx, members)
	case id.Proposer == f.self:
		return f.collectPromises(ctx, id.Cluster, members)
	default:
		return f.awaitFormed(ctx, id, members)
	}
}

// findCluster joins a cluster that exists, or proposes one.
func (f *formation) findCluster(ctx context.Context, members []cluster.Member) error {
	for _, m := range members {
		if m.Formed {
			return f.join(ctx, m)
		}
	}
	promised := slices.ContainsFunc(members, func(m cluster.Member) bool { return !m.Cluster.IsZero() })
	if promised || len(members) < f.expect || members[0].ID != f.self {
		return nil
	}
	f.log.Info("propose new cluster", "nodes", len(members))
	return f.change(layout.ClusterID{}, func(id *datadir.Identity) { id.Cluster, id.Proposer = layout.NewClusterID(), f.self })
}

func (f *formation) join(ctx context.Context, m cluster.Member) error {
	reply, err := f.call(ctx, m.PeerAddr(), formRequest{Kind: formJoin, Node: f.self, Generation: f.identity().CurrentGeneration()})
	if err != nil || !reply.Accepted {
		f.log.Debug("join cluster", "peer", m.ID, "err", err)
		return nil // try again next round
	}
	f.log.Info("join cluster", "cluster", reply.Cluster)
	return f.change(layout.ClusterID{}, func(id *datadir.Identity) { id.Cluster, id.Formed = reply.Cluster, true })
}

// collectPromises asks every visible node that is in no cluster, and forms the
// cluster when enough have promised.
func (f *formation) collectPromises(ctx context.Context, proposal layout.ClusterID, members []cluster.Member) error {
	req := formRequest{Kind: formPromise, Node: f.self, Cluster: proposal}
	promised := []layout.NodeID{f.self}
	for _, m := range members {
		switch {
		case m.ID == f.self:
			continue
		case m.Formed:
			f.log.Info("give up proposal for a cluster that exists", "cluster", m.Cluster)
			return f.change(proposal, func(id *datadir.Identity) {
				id.Release()
				id.Cluster, id.Proposer = layout.ClusterID{}, layout.NodeID{}
			})
		}
		if f.ask(ctx, m, &req, members) {
			promised = append(promised, m.ID)
		}
	}
	if len(promised) < f.expect {
		return nil
	}
	slices.SortFunc(promised, compareNodes)
	f.log.Info("enough nodes promised", "cluster", proposal, "nodes", len(promised))
	return f.change(proposal, func(id *datadir.Identity) { id.Formed, id.Promised = true, promised })
}

// ask returns whether m promised. A node bound to another proposal points to
// its proposer, which is asked to give it up; then m is asked again.
func (f *formation) ask(ctx context.Context, m cluster.Member, req *formRequest, members []cluster.Member) bool {
	for range 2 {
		reply, err := f.call(ctx, m.PeerAddr(), *req)
		if err != nil {
			f.log.Debug("ask for promise", "peer", m.ID, "err", err)
			return false
		}
		if reply.Accepted {
			req.release(reply.Released...)
			return true
		}
		i := slices.IndexFunc(members, func(o cluster.Member) bool { return o.ID == reply.Proposer })
		if reply.Formed || i < 0 || reply.Proposer == m.ID {
			f.log.Info("node is bound to another cluster", "peer", m.ID, "cluster", reply.Cluster, "proposer", reply.Proposer)
			return false
		}
		rival, err := f.call(ctx, members[i].PeerAddr(), *req)
		if err != nil || !rival.Accepted {
			return false
		}
		req.release(rival.Released...)
	}
	return false
}

func (r *formRequest) release(proposals ...layout.ClusterID) {
	for _, c := range proposals {
		if !slices.Contains(r.Released, c) {
			r.Released = append(r.Released, c)
		}
	}
}

// awaitFormed waits for the cluster the node promised to be part of. If its
// proposer has moved on, it asks to be released.
func (f *formation) awaitFormed(ctx context.Context, promised datadir.Identity, members []cluster.Member) error {
	for _, m := range members {
		switch {
		case m.Formed && m.Cluster == promised.Cluster:
			f.log.Info("cluster formed", "cluster", promised.Cluster)
			return f.change(promised.Cluster, func(id *datadir.Identity) { id.Formed = true })
		case m.ID == promised.Proposer && m.Cluster != promised.Cluster:
			reply, err := f.call(ctx, m.PeerAddr(), formRequest{Kind: formRelease, Node: f.self})
			if err == nil && slices.Contains(reply.Released, promised.Cluster) {
				return f.change(promised.Cluster, func(id *datadir.Identity) {
					id.Cluster, id.Proposer = layout.ClusterID{}, layout.NodeID{}
				})
			}
		}
	}
	return nil
}

// change changes the identity unless the node is bound elsewhere by now.
func (f *formation) change(from layout.ClusterID, change func(*datadir.Identity)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.id.Cluster != from || f.id.Formed {
		return nil
	}
	return f.set(change)
}

// released answers which proposals of this node are given up.
func (f *formation) released() formReply {
	f.mu.Lock()
	defer f.mu.Unlock()
	return formReply{Released: f.id.Released}
}

// promise answers another node's proposal.
func (f *formation) promise(req formRequest) (formReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mine := f.id.Proposer == f.self && !f.id.Formed
	switch {
	case f.id.Cluster == req.Cluster:
	case f.id.Formed:
		return f.refusal(), nil
	case f.id.Cluster.IsZero(),
		slices.Contains(req.Released, f.id.Cluster),
		mine && compareNodes(req.Node, f.self) < 0:
		err := f.set(func(id *datadir.Identity) {
			if mine {
				id.Release()
			}
			id.Cluster, id.Proposer = req.Cluster, req.Node
		})
		if err != nil {
			return formReply{}, err
		}
	default:
		return f.refusal(), nil
	}
	return formReply{Accepted: true, Cluster: req.Cluster, Released: f.id.Released}, nil
}

func (f *formation) refusal() formReply {
	return formReply{Cluster: f.id.Cluster, Proposer: f.id.Proposer, Formed: f.id.Formed}
}

// watchForeign returns an error if a node that has just started sees members of
// a successor of its cluster, or members of another cluster and, for
// foreignGrace, none of its own: its directory is of another time, or has been
// put in the wrong place. It returns nil once that is ruled out; what a running
// node sees later is somebody else's mistake.
func (f *formation) watchForeign(ctx context.Context) error {
	tick := time.NewTicker(formationRound)
	defer tick.Stop()
	started, foreignSince := time.Now(), time.Time{}
	for {
		own, foreign := f.countMembers()
		switch {
		case foreign != nil && foreign.Predecessor == f.cluster():
			return fmt.Errorf("%w: cluster %s, which the registry of this directory is of, was succeeded by %s, of which node %s is; %s",
				errSucceeded, f.cluster(), foreign.Cluster, foreign.Name, adoptHint(f.cluster(), foreign.Cluster))
		case foreign == nil && time.Since(started) > 3*foreignGrace, own > 0 && time.Since(started) > foreignGrace:
			return nil
		case foreign == nil || own > 0:
			foreignSince = time.Time{}
		case foreignSince.IsZero():
			foreignSince = time.Now()
		case time.Since(foreignSince) > foreignGrace:
			return fmt.Errorf("%w: this directory's is %s, the one of node %s and the other members seen is %s",
				errForeignCluster, f.cluster(), foreign.Name, foreign.Cluster)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// countMembers counts the other visible members of the node's own cluster and
// returns one of another cluster, of a successor if there is one.
func (f *formation) countMembers() (own int, foreign *cluster.Member) {
	mine := f.cluster()
	for _, m := range f.gossip.Members() {
		switch {
		case m.ID == f.self || !m.Formed:
		case m.Cluster == mine:
			own++
		case foreign == nil || m.Predecessor == mine:
			foreign = &m
		}
	}
	return own, foreign
}

func adoptHint(from, to layout.ClusterID) string {
	return fmt.Sprintf("\"partctl registry adopt\" with %s and %s has the node follow", from, to)
}

var (
	errForeignCluster = errors.New("directory belongs to another cluster")
	errSucceeded      = errors.New("cluster is no more")
)

// firstVoters are the nodes that vote when the cluster is born: 5, or 3 of up
// to 4 nodes, 1 of up to 2.
func firstVoters(nodes []layout.NodeID) []layout.NodeID {
	switch n := len(nodes); {
	case n >= 5:
		return nodes[:5]
	case n >= 3:
		return nodes[:3]
	default:
		return nodes[:1]
	}
}

func compareNodes(a, b layout.NodeID) int { return strings.Compare(string(a[:]), string(b[:])) }

// callJSON makes a typed call of a bytes call.
func callJSON[Req, Rep any](ctx context.Context, req Req, call func(context.Context, []byte) ([]byte, error)) (rep Rep, err error) {
	b, err := json.Marshal(req)
	if err != nil {
		return rep, err
	}
	if b, err = call(ctx, b); err != nil {
		return rep, err
	}
	return rep, json.Unmarshal(b, &rep)
}
