package metadata

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// remoteMember is a transport to members that are away or not.
type remoteMember struct {
	networkTransport // not used
	away             atomic.Bool
	calls            atomic.Int64 // that are no heartbeats
}

var errAway = errors.New("member is away")

func (m *remoteMember) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) error {
	if !isHeartbeat(args) {
		m.calls.Add(1)
	}
	if m.away.Load() {
		return errAway
	}
	return nil
}

// A member that was away for long is brought up to date as soon as a heartbeat
// reaches it: Raft hears of one failure however long it was away, so that its
// pauses between attempts do not grow.
func TestAMemberThatReturnsIsBroughtUpToDateAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const member, away = raft.ServerID("member"), 10 * time.Minute
		inner := &remoteMember{}
		inner.away.Store(true)
		tr := newTransport(t.Context(), inner, nil, func(uint64, raft.ServerID) bool { return true }, neverStuck, nil, nil)
		beat := func() error {
			return tr.AppendEntries(member, "", &raft.AppendEntriesRequest{Term: 1}, nil)
		}
		begin := time.Now()
		attempt := make(chan error)
		go func() { // ends with the attempt
			attempt <- tr.AppendEntries(member, "", &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 7}, nil)
		}()
		for time.Since(begin) < away {
			if err := beat(); !errors.Is(err, errAway) {
				t.Fatalf("a heartbeat to a member that is away: %v", err)
			}
			time.Sleep(300 * time.Millisecond)
		}
		select {
		case err := <-attempt:
			t.Fatalf("Raft hears of a failure while the member is away: %v", err)
		default:
		}
		inner.away.Store(false)
		back := time.Now()
		if err := beat(); err != nil {
			t.Fatal(err)
		}
		if err := <-attempt; !errors.Is(err, errAway) {
			t.Errorf("the attempt ended with %v", err)
		}
		if waited := time.Since(back); waited != 0 {
			t.Errorf("the attempt ended %s after the member was reached", waited)
		}
		if n := inner.calls.Load(); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

// Patience ends with the leadership, or the membership, it was for.
func TestPatienceEndsWithTheLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leads atomic.Bool
		leads.Store(true)
		inner := &remoteMember{}
		inner.away.Store(true)
		tr := newTransport(t.Context(), inner, nil, func(uint64, raft.ServerID) bool { return leads.Load() }, neverStuck, nil, nil)
		time.AfterFunc(time.Minute, func() { leads.Store(false) })
		err := tr.AppendEntries("member", "", &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 7}, nil)
		if !errors.Is(err, errAway) {
			t.Errorf("the attempt ended with %v", err)
		}
	})
}

// A transport that does not say that it can hold pre-votes makes Raft hold
// none, without a word.
var (
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

func neverStuck() bool { return false }
