package metadata

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Leadership moves off a node that has less room than another voter, or whose
// disk is much slower: every write waits for the leader's disk, but only for
// the faster half of the others.

const (
	// handOverPause is how long a leader keeps from trying again to hand over.
	handOverPause = 10 * time.Second

	// A leader is slow if its appends take at least slowAppend, and slowFactor
	// times as long as another voter's, each time it looked slowLooks times in
	// succession. To give leadership back, the paces of the two would have to
	// change by the square of slowFactor.
	slowAppend = 50 * time.Millisecond
	slowFactor = 4
	slowLooks  = 3

	// stuckTimeouts is how many HeartbeatTimeouts an append may take before
	// its leader falls silent; see transport.
	stuckTimeouts = 5
)

// handOverIfBetter moves leadership to a voter that serves better, if there is
// one that has caught up.
func (r *Raft) handOverIfBetter(seats []seat) {
	self := slices.IndexFunc(seats, func(s seat) bool { return s.node == r.cfg.Node })
	if self < 0 {
		return
	}
	to, why := r.lead.better.look(seats, self)
	if to < 0 || time.Since(r.lead.handedOver) < handOverPause {
		return
	}
	r.lead.handedOver = time.Now()
	err := r.takeStep(changeHandOver, seats[to])
	r.log.Warn("hand over leadership", "peer", seats[to].node, "because", why, "err", err)
}

// betterLeader looks for a voter to lead instead of this node.
type betterLeader struct {
	slow int // how many times in succession this node was slow
}

// look returns the voter to lead instead of the seat self, and why; or -1.
func (b *betterLeader) look(seats []seat, self int) (to int, why string) {
	own := seats[self]
	to = heirWithRoom(seats, self)
	if own.room != roomEnough {
		return to, "room is " + own.room.String()
	}
	if to < 0 || seats[to].pace == 0 || own.pace < slowAppend || own.pace/slowFactor < seats[to].pace {
		b.slow = 0
		return -1, ""
	}
	if b.slow++; b.slow < slowLooks {
		return -1, ""
	}
	return to, fmt.Sprintf("appends take %s, there %s", own.pace, seats[to].pace)
}

// heirWithRoom is the voter that would serve best of those that have room and
// have caught up: the fastest whose pace is known, or the one that is furthest; or -1.
func heirWithRoom(seats []seat, self int) (to int) {
	to = -1
	for i, s := range seats {
		if i == self || !s.votes || !s.caughtUp || s.hangs || s.room != roomEnough {
			continue
		}
		if to < 0 || s.servesBetterThan(seats[to]) {
			to = i
		}
	}
	return to
}

func (s seat) servesBetterThan(other seat) bool {
	switch {
	case s.pace == other.pace:
		return s.applied > other.applied
	case s.pace == 0, other.pace == 0:
		return other.pace == 0
	}
	return s.pace < other.pace
}

// transfer gives leadership to a voter, which takes at most an election timeout.
//
// Raft brings the voter's log up first, and waits for that without a limit when
// it is asked a second time while the entries of the first are still on their
// way; until they have arrived it takes no command. So a voter that did not get
// leadership is not offered it again before it has all that the log held then.
func (r *Raft) transfer(ctx context.Context, s seat) error {
	err := r.await(ctx, r.raft.LeadershipTransferToServer(s.server.ID, s.server.Address))
	if err == nil {
		return nil
	}
	r.lead.mu.Lock()
	defer r.lead.mu.Unlock()
	if r.lead.hung == nil {
		r.lead.hung = make(map[raft.ServerID]uint64)
	}
	r.lead.hung[s.server.ID] = r.raft.LastIndex()
	return err
}

// hangs reports whether a server that has applied the log up to an index may
// not be offered leadership.
func (r *Raft) hangs(id raft.ServerID, applied uint64) bool {
	r.lead.mu.Lock()
	defer r.lead.mu.Unlock()
	if applied < r.lead.hung[id] {
		return true
	}
	delete(r.lead.hung, id)
	return false
}

// stuck reports whether this node's log has gone nowhere for too long.
func (r *Raft) stuck() bool { return r.pace.stuck(stuckTimeouts * r.cfg.HeartbeatTimeout) }
