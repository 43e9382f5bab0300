package metadata

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// memberChange is one step of Raft's configuration, or on the way to one.
type memberChange uint8

const (
	changeNone     memberChange = 0
	changePromote  memberChange = 1
	changeDemote   memberChange = 2
	changeRemove   memberChange = 3
	changeHandOver memberChange = 4 // of leadership, to the seat of the step
)

func (m memberChange) String() string {
	return [...]string{"none", "promote", "demote", "remove", "hand over"}[min(m, changeHandOver)]
}

// tendMembers moves Raft's configuration towards the wanted one, on whichever
// node leads.
func (r *Raft) tendMembers() {
	ticker := time.NewTicker(r.cfg.MembersInterval)
	defer ticker.Stop()
	last := uint64(0) // what was applied at the last tick
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.fsm.membersChanged:
		case <-ticker.C:
			r.lead.recent.Store(last)
			last = r.fsm.applied.load()
		}
		if _, ok := r.leads(); ok {
			r.moveMembers()
		}
	}
}

// moveMembers takes steps until there is none left, or one fails; the next
// round looks again.
func (r *Raft) moveMembers() {
	for r.moveOneMember() {
	}
}

// moveOneMember takes a step, if there is one, and reports whether another may
// follow.
func (r *Raft) moveOneMember() bool {
	done, err := r.changeServers(r.ctx)
	if err != nil {
		return false
	}
	defer done()
	seats, err := r.seats(r.ctx)
	if err != nil {
		r.log.Warn("look at members", "err", err)
		return false
	}
	r.noteRoom(seats)
	change, i := nextStep(seats, r.cfg.Node)
	if change == changeNone {
		r.handOverIfBetter(seats)
		return false
	}
	if err := r.takeStep(change, seats[i]); err != nil {
		r.log.Warn("change membership", "peer", seats[i].node, "change", change.String(), "err", err)
		return false
	}
	r.log.Info("changed membership", "peer", seats[i].node, "change", change.String())
	return change != changeHandOver
}

// changeServers waits for its turn to change Raft's configuration: it is one change
// after the other, each decided on what the last one left. Raft does not tell
// the index of a configuration, by which it could refuse what was decided on an older
// one. Whoever has the turn ends it with done.
func (r *Raft) changeServers(ctx context.Context) (done func(), err error) {
	select {
	case r.lead.changing <- struct{}{}:
		return func() { <-r.lead.changing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// takeStep makes one change.
func (r *Raft) takeStep(change memberChange, s seat) error {
	if r.cfg.onStep != nil {
		r.cfg.onStep(change, s.node)
	}
	id, address := s.server.ID, s.server.Address
	var future raft.Future
	switch change {
	case changePromote:
		future = r.raft.AddVoter(id, address, 0, callTimeout)
	case changeDemote:
		future = r.raft.DemoteVoter(id, 0, callTimeout)
	case changeRemove:
		future = r.raft.RemoveServer(id, 0, callTimeout)
	case changeHandOver:
		return r.transfer(r.ctx, s)
	}
	return r.await(r.ctx, future)
}

// seats are the servers with what the leader knows of them now. Everybody is
// asked, at the same time.
func (r *Raft) seats(ctx context.Context) ([]seat, error) {
	var wishes wishList
	err := r.view(func(rows pebble.Reader) (err error) {
		wishes, err = readWishes(rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.HeartbeatTimeout)
	defer cancel()
	servers := r.servers()
	topology, _ := r.LocalTopology()
	leaving := leavingNodes(topology)
	seats := make([]seat, len(servers))
	recent := min(r.lead.recent.Load(), r.fsm.applied.load())
	var asking sync.WaitGroup
	for i, server := range servers {
		s := &seats[i]
		*s = seat{server: server, node: nodeOf(server.ID), votes: server.Suffrage == raft.Voter}
		s.wish, s.leaving = wishes.of[s.node], leaving[s.node]
		if s.node == r.cfg.Node {
			s.answers, s.caughtUp, s.applied, s.room, s.pace = true, true, r.fsm.applied.load(), r.space.now(), r.pace.now()
			continue
		}
		asker := r.asker(serverOf(server.ID))
		asking.Go(func() {
			a, err := asker.join(ctx)
			s.answers, s.applied, s.room, s.pace = err == nil, a.index, a.room, a.pace
			s.caughtUp = s.answers && a.index >= recent
			s.hangs = r.hangs(server.ID, a.index)
		})
	}
	asking.Wait()
	return seats, nil
}
