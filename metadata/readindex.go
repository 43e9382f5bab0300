package metadata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

var errNoQuorum = errors.New("no majority of voters confirmed the term")

// sync waits until this node's rows include everything that was acknowledged
// anywhere before the call. Only after it may a row's absence be believed.
func (r *Raft) sync(ctx context.Context) error {
	began := r.cfg.elapsed()
	index, err := r.readIndex(ctx)
	if err != nil {
		return err
	}
	if err := r.fsm.applied.wait(ctx, index); err != nil {
		return fmt.Errorf("%w: wait for index %d: %w", ErrUnavailable, index, err)
	}
	r.noteSync(began)
	return r.inService()
}

func (r *Raft) readIndex(ctx context.Context) (uint64, error) {
	for {
		from := r.fetches
		if r.raft.State() == raft.Leader {
			from = r.confirms
		}
		index, err := from.join(ctx)
		if err == nil {
			return index, nil
		}
		if err := r.pause(ctx, err); err != nil {
			return 0, err
		}
	}
}

// confirmReadIndex is one round of the leader. The order is what makes it
// right: note the commit index, then learn from a majority of voters that no
// later term had begun. A voter stores a new term before it votes in it, so
// everything acknowledged before the round began lies at or below the index. A
// pause anywhere only makes the index older than it could be, never too old.
func (r *Raft) confirmReadIndex(ctx context.Context) (uint64, error) {
	term, ok := r.leads()
	if !ok {
		return 0, errNotLeader
	}
	index := r.raft.CommitIndex()
	// The rows reach this index: above the no-op that begins a term lies the
	// term's fence, and nobody writes barriers.
	voters, self := r.otherVoters()
	if !self {
		return 0, errNotLeader
	}
	need := (len(voters) + 1) / 2 // with ourselves, a majority
	return index, r.confirmTerm(ctx, term, voters, need)
}

// spareDelay is how long the voters that answered last may take before the
// others are asked, too.
const spareDelay = 10 * time.Millisecond

// confirmTerm returns nil once need of the voters said that term is theirs. It
// asks just as many at first, and the others only if that does not do.
func (r *Raft) confirmTerm(ctx context.Context, term uint64, voters []server, need int) error {
	if need == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.HeartbeatTimeout)
	defer cancel()
	answers := make(chan bool, len(voters))
	asked, left := 0, len(voters)
	ask := func(count int) {
		for ; asked < count; asked++ {
			asker := r.asker(voters[asked])
			r.workers.Go(func() {
				a, err := asker.join(ctx)
				answers <- err == nil && a.term == term
			})
		}
	}
	voters = r.contacts.latestFirst(voters)
	ask(min(need, len(voters)))
	late := time.NewTimer(spareDelay)
	defer late.Stop()
	for left >= need {
		select {
		case yes := <-answers:
			left--
			if !yes {
				ask(len(voters))
			} else if need--; need == 0 {
				return nil
			}
		case <-late.C:
			ask(len(voters))
		}
	}
	return errNoQuorum
}

// fetchReadIndex is one round of a follower.
func (r *Raft) fetchReadIndex(context.Context) (uint64, error) {
	leader, ctx, cancel, err := r.otherLeader()
	if err != nil {
		return 0, err
	}
	defer cancel()
	a, err := r.call(ctx, leader, request{kind: messageReadIndex}, r.cfg.Peers.ReadIndex)
	return a.index, err
}

// otherVoters returns the voters besides this server, and whether it is one.
func (r *Raft) otherVoters() (others []server, self bool) {
	for _, s := range r.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		if voter := serverOf(s.ID); voter == r.self {
			self = true
		} else {
			others = append(others, voter)
		}
	}
	return others, self
}

// servers are those of the latest configuration in this node's log.
func (r *Raft) servers() []raft.Server {
	f := r.raft.GetConfiguration() // answered at once from a copy
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}
