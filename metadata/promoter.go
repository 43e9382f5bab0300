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
	for {
		seats, version, err := r.seats(r.ctx)
		if err != nil {
			r.log.Warn("look at members", "err", err)
			return
		}
		r.noteRoom(seats)
		change, i := nextStep(seats, r.cfg.Node)
		if change == changeNone {
			r.handOverIfBetter(seats)
			return
		}
		if err := r.takeStep(change, seats[i], version); err != nil {
			r.log.Warn("change membership", "peer", seats[i].node, "change", change.String(), "err", err)
			return
		}
		r.log.Info("changed membership", "peer", seats[i].node, "change", change.String())
		if change == changeHandOver {
			return
		}
	}
}

// takeStep makes one change, unless the configuration is no longer the one the
// step was decided on.
func (r *Raft) takeStep(change memberChange, s seat, version uint64) error {
	if r.cfg.onStep != nil {
		r.cfg.onStep(change, s.node)
	}
	id, address := s.server.ID, s.server.Address
	var future raft.Future
	switch change {
	case changePromote:
		future = r.raft.AddVoter(id, address, version, callTimeout)
	case changeDemote:
		future = r.raft.DemoteVoter(id, version, callTimeout)
	case changeRemove:
		future = r.raft.RemoveServer(id, version, callTimeout)
	case changeHandOver:
		return r.transfer(r.ctx, s)
	}
	return r.await(r.ctx, future)
}

// seats are the servers with what the leader knows of them now, and the index
// of the configuration they are from. Everybody is asked, at the same time.
func (r *Raft) seats(ctx context.Context) ([]seat, uint64, error) {
	var wishes wishList
	err := r.view(func(rows pebble.Reader) (err error) {
		wishes, err = readWishes(rows)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.HeartbeatTimeout)
	defer cancel()
	servers, version := r.configuration()
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
	return seats, version, nil
}
