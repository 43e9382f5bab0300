package metadata

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// networkTransport is what a transport must be for Raft to use it in full:
// without WithPreVote it would silently hold elections the old way.
type networkTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// transport is a network transport with patience. Raft pauses after each failed
// attempt to bring a member up to date, twice as long every time, up to ten
// seconds, and nothing ends such a pause: a member that was away for half a
// minute would be left without entries for as long as that after its return.
// So a failed attempt ends only once a heartbeat has reached the member again.
// Raft sends those from elsewhere, and never pauses them for long.
//
// It keeps silent while this node's disk is stuck: a leader that cannot append
// would otherwise be followed for ever, for its heartbeats need no disk, and
// its main loop, which might hand over, waits in the append.
//
// It also keeps from a voter that it loses its vote until that is certain (see
// hold), keeps heartbeats from changing the term and entries from coming in
// another than theirs (see heartbeat.go), and lets voters elect whom they do not
// know (see ballot.go).
type transport struct {
	networkTransport
	votes *voteStore
	ctx   context.Context // ends all patience

	// worthWhile reports whether this node still leads term, and the member is
	// one.
	worthWhile func(term uint64, member raft.ServerID) bool

	// stuck reports whether this node's disk is, so that its log goes nowhere.
	stuck func() bool

	// committed is the index up to which this node knows entries to be.
	committed func() uint64

	// servers are those of the latest configuration here.
	servers func() []raft.Server

	consumer   func() <-chan raft.RPC
	toRaft     chan raft.RPC
	done       chan struct{} // closed by Close
	close      func() error
	forwarding sync.WaitGroup

	mu      sync.Mutex
	reached map[raft.ServerID]chan struct{} // closed by the next heartbeat that arrives
}

func newTransport(ctx context.Context, inner networkTransport, votes *voteStore, worthWhile func(uint64, raft.ServerID) bool, stuck func() bool, committed func() uint64, servers func() []raft.Server) *transport {
	t := &transport{
		networkTransport: inner, votes: votes, ctx: ctx, worthWhile: worthWhile, stuck: stuck, committed: committed, servers: servers,
		toRaft: make(chan raft.RPC), done: make(chan struct{}), reached: map[raft.ServerID]chan struct{}{},
	}
	t.consumer, t.close = sync.OnceValue(t.consume), sync.OnceValue(t.end)
	return t
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.silence(); err != nil {
		return err
	}
	if isHeartbeat(args) {
		err := t.networkTransport.AppendEntries(id, target, args, resp)
		if err == nil {
			t.reach(id)
		}
		return err
	}
	if err := t.hold(id, args); err != nil {
		return err
	}
	reached := t.nextReach(id) // one that arrives while we fail counts
	err := t.networkTransport.AppendEntries(id, target, args, resp)
	if err != nil {
		t.await(reached, args.Term, id)
	}
	return err
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if args.LastLogTerm > args.Term {
		return errLaterTerm
	}
	reached := t.nextReach(id)
	err := t.networkTransport.InstallSnapshot(id, target, args, resp, data)
	if err != nil {
		t.await(reached, args.Term, id)
	}
	return err
}

// isHeartbeat tells heartbeats as Raft's own transport does.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return a.Term != 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

func (t *transport) nextReach(id raft.ServerID) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reached[id] == nil {
		t.reached[id] = make(chan struct{})
	}
	return t.reached[id]
}

func (t *transport) reach(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reached[id] != nil {
		close(t.reached[id])
		delete(t.reached, id)
	}
}

// patienceLook is how often a failed attempt looks whether it is still worth
// while to be patient.
const patienceLook = 50 * time.Millisecond

func (t *transport) await(reached <-chan struct{}, term uint64, id raft.ServerID) {
	look := time.NewTicker(patienceLook)
	defer look.Stop()
	for t.worthWhile(term, id) {
		select {
		case <-reached:
			return
		case <-look.C:
		case <-t.ctx.Done():
			return
		}
	}
}

// silence waits for as long as the disk is stuck.
func (t *transport) silence() error {
	for t.stuck() {
		select {
		case <-time.After(patienceLook):
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
	return nil
}

var errHeld = errors.New("a vote is taken only once that is committed")

// hold waits until a configuration in which the member has no vote is
// committed. The member's vote is not needed for that, but it may be needed
// to elect the next leader, should this one be lost before: a member that had
// the configuration would neither vote for a voter whose log lacks it, nor, not
// being a voter in it, stand itself.
func (t *transport) hold(id raft.ServerID, args *raft.AppendEntriesRequest) error {
	index := unseats(id, args.Entries)
	if index == 0 {
		return nil
	}
	look := time.NewTicker(holdLook)
	defer look.Stop()
	for t.committed() < index {
		select {
		case <-look.C:
		case <-t.ctx.Done():
			return errHeld
		}
		if !t.worthWhile(args.Term, id) {
			return errHeld
		}
	}
	return nil
}

// holdLook is how often hold looks: a commit takes a few milliseconds.
const holdLook = time.Millisecond

// unseats is the index of the last configuration among the entries that has the
// member without a vote, or 0.
func unseats(id raft.ServerID, entries []*raft.Log) (index uint64) {
	for _, e := range entries {
		if e.Type != raft.LogConfiguration {
			continue
		}
		if slices.ContainsFunc(raft.DecodeConfiguration(e.Data).Servers, func(s raft.Server) bool {
			return s.ID == id && s.Suffrage != raft.Voter
		}) {
			index = e.Index
		}
	}
	return index
}

// bringsUp reports whether this node leads term and has to bring the member up
// to date.
func (r *Raft) bringsUp(term uint64, id raft.ServerID) bool {
	return r.hasStarted() && r.raft.State() == raft.Leader && r.raft.CurrentTerm() == term &&
		slices.ContainsFunc(r.servers(), func(s raft.Server) bool { return s.ID == id })
}

// commitIndex is Raft's, 0 before there is one.
func (r *Raft) commitIndex() uint64 {
	if !r.hasStarted() {
		return 0
	}
	return r.raft.CommitIndex()
}

// latestServers are those of servers, none before there are any.
func (r *Raft) latestServers() []raft.Server {
	if !r.hasStarted() {
		return nil
	}
	return r.servers()
}

// hasStarted reports whether raft is set: it begins to call its transport before.
func (r *Raft) hasStarted() bool {
	select {
	case <-r.started:
		return true
	default:
		return false
	}
}
