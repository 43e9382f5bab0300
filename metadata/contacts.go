package metadata

import (
	"context"
	"slices"
	"sync"
	"time"
)

// contacts are the questions for terms to other nodes: at most one to each at
// a time, however many rounds want to know, so that a frozen node holds up one
// call and not thousands. The answers are kept for status pages.
type contacts struct {
	mu   sync.Mutex
	peer map[server]*contact
}

type contact struct {
	*rounds[answer]
	at      time.Time // of the last answer; guarded by contacts.mu
	applied uint64    // in the last answer; guarded by contacts.mu
}

// asker returns the rounds of questions to a server. Only workers call it, for
// it may start one.
func (r *Raft) asker(to server) *contact {
	r.contacts.mu.Lock()
	defer r.contacts.mu.Unlock()
	if r.contacts.peer == nil {
		r.contacts.peer = map[server]*contact{}
	}
	p := r.contacts.peer[to]
	if p == nil {
		p = &contact{}
		p.rounds = newRounds(r.ctx, &r.workers, func(ctx context.Context) (answer, error) {
			return r.askTerm(ctx, to, p)
		})
		r.contacts.peer[to] = p
	}
	return p
}

func (r *Raft) askTerm(ctx context.Context, to server, p *contact) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.HeartbeatTimeout)
	defer cancel()
	a, err := r.call(ctx, to, request{kind: messageTerm}, r.cfg.Peers.Term)
	if err == nil {
		r.contacts.mu.Lock()
		p.at, p.applied = time.Now(), a.index
		r.contacts.mu.Unlock()
	}
	return a, err
}

// latestFirst returns servers in the order of their last answers, so that one
// that stopped answering is found once.
func (c *contacts) latestFirst(servers []server) []server {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := func(of server) (at time.Time) {
		if p := c.peer[of]; p != nil {
			at = p.at
		}
		return at
	}
	return slices.SortedStableFunc(slices.Values(servers), func(a, b server) int { return at(b).Compare(at(a)) })
}

// last returns when a server last answered and what it had applied then.
func (c *contacts) last(of server) (at time.Time, applied uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peer[of]; p != nil {
		return p.at, p.applied
	}
	return time.Time{}, 0
}
