package metadata

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

var (
	errNotLeader = errors.New("not the leader")
	errNoLeader  = errors.New("no leader known")
)

// leadership is what a node knows about leading: whether it may, and who does.
type leadership struct {
	// readyTerm is the term in which this node applied a fence of its own. Only
	// then does it know the true commit index and the registry time of its
	// predecessors; before, it takes neither commands nor read indexes.
	readyTerm atomic.Uint64

	// recent is what this node had applied one or two MembersIntervals ago.
	// Whoever has that has caught up: under load everybody is a few entries
	// behind.
	recent atomic.Uint64

	full       atomic.Bool // nothing that grows the registry is taken; see noteRoom
	handedOver time.Time   // when this node last tried; of tendMembers alone
	better     betterLeader

	changing chan struct{} // has room for one: who changes Raft's configuration

	mu    sync.Mutex
	base  layout.RegistryTime // registry time when the fence was applied
	since time.Duration       // reading of the monotonic clock then
	known knownLeader
	hung  map[raft.ServerID]uint64 // see transfer
}

// knownLeader is who this node believes leads. Its context ends when the
// belief does, and with it every call to that leader: a frozen leader costs one
// election, not the time-out of a call.
type knownLeader struct {
	server server // zero: none
	ctx    context.Context
	cancel context.CancelFunc
}

// leads reports whether this node may act as leader of term.
func (r *Raft) leads() (term uint64, ok bool) {
	term = r.raft.CurrentTerm()
	return term, r.raft.State() == raft.Leader && r.lead.readyTerm.Load() == term
}

// clock is registry time as this leader measures it.
func (r *Raft) clock() layout.RegistryTime {
	r.lead.mu.Lock()
	defer r.lead.mu.Unlock()
	// A clock that goes back must not wrap around: nothing would ever be in time
	// again.
	return r.lead.base + layout.RegistryTime(max(0, r.cfg.elapsed()-r.lead.since).Milliseconds())
}

// leadWhileElected makes this node ready whenever it is elected, and while it
// leads, keeps registry time moving.
func (r *Raft) leadWhileElected() {
	tick := time.NewTicker(r.cfg.TickInterval)
	defer tick.Stop()
	retry := time.NewTicker(r.cfg.HeartbeatTimeout)
	defer retry.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.raft.LeaderCh(): // keeps only the latest edge; we look at the state
			r.becomeReady()
		case <-retry.C:
			r.becomeReady()
		case <-tick.C:
			if _, ok := r.leads(); ok {
				_ = r.proposePack(pack{time: r.clock()}) // the next tick will do as well
			}
		}
	}
}

func (r *Raft) becomeReady() {
	term, ready := r.leads()
	if ready || r.raft.State() != raft.Leader {
		return
	}
	if err := r.proposePack(pack{}); err != nil || r.raft.CurrentTerm() != term {
		return
	}
	r.lead.mu.Lock()
	r.lead.base, r.lead.since = r.Now(), r.cfg.elapsed()
	r.lead.mu.Unlock()
	r.lead.readyTerm.Store(term)
	r.log.Info("leading the registry", "term", term, "index", r.fsm.applied.load())
}

func (r *Raft) proposePack(p pack) error {
	return r.await(r.ctx, r.raft.Apply(encodePack(p), callTimeout))
}

// watchLeader keeps the belief about the leader up to date.
func (r *Raft) watchLeader() {
	changes := make(chan raft.Observation, 16) // level, not edges: a full one loses nothing
	observer := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r.raft.RegisterObserver(observer)
	defer r.raft.DeregisterObserver(observer)
	for {
		r.learnLeader()
		select {
		case <-changes:
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *Raft) learnLeader() {
	_, id := r.raft.LeaderWithID()
	leader := serverOf(id)
	r.lead.mu.Lock()
	defer r.lead.mu.Unlock()
	if r.lead.known.ctx != nil && r.lead.known.server == leader {
		return
	}
	if r.lead.known.cancel != nil {
		r.lead.known.cancel()
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.lead.known = knownLeader{server: leader, ctx: ctx, cancel: cancel}
}

// otherLeader returns the leader if it is known and another node, and a context
// that ends with that belief, or after callTimeout.
func (r *Raft) otherLeader() (server, context.Context, context.CancelFunc, error) {
	r.learnLeader()
	r.lead.mu.Lock()
	known := r.lead.known
	r.lead.mu.Unlock()
	switch known.server {
	case server{}:
		return server{}, nil, nil, errNoLeader
	case r.self:
		return server{}, nil, nil, errNotLeader // we lead; the caller looks again
	}
	ctx, cancel := context.WithTimeout(known.ctx, callTimeout)
	return known.server, ctx, cancel, nil
}
