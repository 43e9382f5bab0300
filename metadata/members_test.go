package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// change makes a decision on the newest version, through the given node, again
// if the leader was faster.
func (c *cluster) change(through *testNode, change MembersChange) error {
	c.t.Helper()
	for {
		m, err := through.Members(c.t.Context())
		if err != nil {
			c.t.Fatalf("Members: %v", err)
		}
		change.Version = m.Version
		if err := through.ChangeMembers(c.t.Context(), change); !errors.Is(err, ErrMembersChanged) {
			return err
		}
	}
}

// settled waits until every wish has been followed and returns the members.
func (c *cluster) settled() (m Members) {
	c.t.Helper()
	c.eventually("settled membership", func() (ok bool) {
		lead := c.leader()
		var err error
		m, err = lead.Members(c.t.Context())
		return err == nil && m.Settled
	})
	return m
}

func (m Members) voters() (voters []layout.NodeID) {
	for _, member := range m.Members {
		if member.Voter {
			voters = append(voters, member.Node)
		}
	}
	return voters
}

func (m Members) has(n layout.NodeID) bool {
	return slices.ContainsFunc(m.Members, func(o RaftMember) bool { return o.Node == n })
}

// join adds a node and waits until it could vote.
func (c *cluster) join() *testNode {
	c.t.Helper()
	n := c.add()
	if err := c.leader().AddMember(c.t.Context(), n.id, 1); err != nil {
		c.t.Fatalf("AddMember: %v", err)
	}
	has := c.leader().fsm.applied.load() // so that it stays caught up
	c.eventually("a member that has caught up", func() bool {
		seats, err := c.leader().seats(c.t.Context())
		return err == nil && slices.ContainsFunc(seats, func(s seat) bool { return s.node == n.id && s.caughtUp && s.applied >= has })
	})
	return n
}

func TestOfOperatorsAtOnceOneWins(t *testing.T) {
	c := newCluster(t, 5, nil)
	stock(t, c.nodes[0])
	for round := range 5 {
		m := c.settled()
		var work sync.WaitGroup
		var won atomic.Int32
		for i, n := range c.nodes {
			work.Go(func() {
				switch err := n.ChangeMembers(t.Context(), MembersChange{Verb: MembersPromote, Node: c.nodes[(i+round)%5].id, Version: m.Version}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ErrMembersChanged):
					t.Errorf("round %d, operator %d: %v, want ErrMembersChanged", round, i, err)
				}
			})
		}
		work.Wait()
		if won.Load() != 1 {
			t.Errorf("round %d: %d operators won, want 1", round, won.Load())
		}
	}
}

func TestDemotedMemberStaysDemoted(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	spare := c.join()
	for _, victim := range []*testNode{c.leader(), c.follower()} {
		if err := c.change(spare, MembersChange{Verb: MembersDemote, Node: victim.id}); err != nil {
			t.Fatalf("demote: %v", err)
		}
		for range 3 { // of the leader's own looks
			m := c.settled()
			if v := m.voters(); len(v) != 3 || slices.Contains(v, victim.id) || !m.has(victim.id) {
				t.Fatalf("after demote of %s: %+v", victim.id, m)
			}
			c.leader().fsm.membersChanged <- struct{}{} // look again
		}
		if err := c.change(victim, MembersChange{Verb: MembersPromote, Node: victim.id}); err != nil {
			t.Fatalf("promote: %v", err)
		}
		if v := c.settled().voters(); len(v) != 3 || !slices.Contains(v, victim.id) {
			t.Fatalf("voters after promote of %s: %v", victim.id, v)
		}
	}
	if err := c.change(spare, MembersChange{Verb: MembersRemove, Node: c.follower().id}); err != nil {
		t.Errorf("remove one of four: %v", err)
	}
	m := c.settled()
	if err := c.change(c.leader(), MembersChange{Verb: MembersDemote, Node: m.voters()[0]}); !errors.Is(err, ErrMembersUnsafe) {
		t.Errorf("demote one of three = %v, want ErrMembersUnsafe", err)
	}
	if err := c.change(c.leader(), MembersChange{Verb: MembersRemove, Node: m.voters()[0], Force: true}); err != nil {
		t.Errorf("remove one of three, forced = %v", err)
	}
	if m := c.settled(); len(m.voters()) != 1 || len(m.Members) != 2 {
		t.Errorf("members after the forced removal: %+v", m)
	}
}

// A node whose stores are all out loses its vote to another, also if it is not
// there any more: the registry survives as many losses then as before.
func TestVoteOfALostNodeIsGivenToAnother(t *testing.T) {
	c := newCluster(t, 3, nil)
	spare, lost := c.join(), c.follower()
	store := layout.NewStoreID()
	_, err := spare.StartNode(t.Context(), StartNode{
		Request: layout.NewRequestID(), Node: lost.id, Name: "lost", Stores: []Store{{ID: store, CapacityBytes: 1}},
	})
	if err != nil {
		t.Fatalf("StartNode: %v", err)
	}
	c.stop(lost)
	if err := spare.SetDuty(t.Context(), Duty{Store: store, State: DutyOut}); err != nil {
		t.Fatalf("SetDuty: %v", err)
	}
	c.eventually("the vote is another's", func() bool {
		m, err := spare.Members(t.Context())
		voters := m.voters()
		return err == nil && len(voters) == 3 && slices.Contains(voters, spare.id) && !slices.Contains(voters, lost.id) && m.has(lost.id)
	})
	c.stop(c.follower()) // with the lost node it would be the majority's end
	if err := c.leader().CreateBucket(t.Context(), Bucket{Name: "b", Owner: "me"}); err != nil {
		t.Errorf("a write after one more is lost: %v", err)
	}
}

func TestRemovedNodeStaysAway(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	gone := c.join()
	if err := c.change(gone, MembersChange{Verb: MembersRemove, Node: gone.id}); err != nil {
		t.Fatalf("remove: %v", err)
	}
	if m := c.settled(); m.has(gone.id) {
		t.Errorf("members after removal: %+v", m)
	}
	for i, n := range c.nodes[:3] {
		if err := n.AddMember(t.Context(), gone.id, 1); !errors.Is(err, ErrRemoved) {
			t.Errorf("node %d: AddMember of a removed node = %v, want ErrRemoved", i, err)
		}
	}
	// What was written since has not reached it, and it must not call that absent.
	if err := c.leader().CreateBucket(t.Context(), Bucket{Name: "since"}); err != nil {
		t.Fatalf("CreateBucket: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := gone.Bucket(ctx, "since"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("look-up on a removed node = %v, want ErrUnavailable", err)
	}
}

// A wish that is taken back leaves no trace: a demoted member votes when a voter
// is needed, and a removed one may become a member again, with the copy it has.
func TestAWishIsTakenBack(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	n := c.join()
	for _, verb := range []MembersVerb{MembersDemote, MembersRemove} {
		if err := c.change(n, MembersChange{Verb: verb, Node: n.id}); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
		m := c.settled()
		if removed := verb == MembersRemove; slices.Contains(m.Removed, n.id) != removed || m.has(n.id) == removed {
			t.Errorf("after %s: %+v", verb, m)
		}
		unwish := MembersChange{Verb: MembersUnwish, Node: n.id, Version: m.Version - 1}
		if err := c.leader().ChangeMembers(t.Context(), unwish); !errors.Is(err, ErrMembersChanged) {
			t.Errorf("unwish on an older version = %v, want ErrMembersChanged", err)
		}
		if err := c.change(c.follower(), unwish); err != nil {
			t.Fatalf("unwish after %s: %v", verb, err)
		}
		if err := c.change(c.leader(), unwish); !errors.Is(err, ErrInvalid) {
			t.Errorf("unwish where nothing is wished = %v, want ErrInvalid", err)
		}
		if verb == MembersRemove {
			if err := c.leader().AddMember(t.Context(), n.id, 1); err != nil {
				t.Fatalf("AddMember after unwish: %v", err)
			}
		}
		m = c.settled()
		at := slices.IndexFunc(m.Members, func(o RaftMember) bool { return o.Node == n.id })
		if at < 0 || m.Members[at].Wish != WishNone || len(m.Removed) != 0 || len(m.voters()) != 3 {
			t.Errorf("after %s and unwish: %+v", verb, m)
		}
	}
	if err := c.leader().CreateBucket(t.Context(), Bucket{Name: "since"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Bucket(t.Context(), "since"); err != nil {
		t.Errorf("look-up on the member that is back: %v", err)
	}
	c.sameState()
}

// Every voter of five is replaced in turn, the leader too, while clients write
// and read through the nodes that stay. None of them sees an error.
func TestReplaceOfEveryVoterUnderLoad(t *testing.T) {
	c := newCluster(t, 5, nil)
	inc := stock(t, c.nodes[0])
	ref := newUpload(t, c.nodes[0], "b", "k")
	var mu sync.Mutex // guards serving
	serving := slices.Clone(c.nodes)
	var sequence, done atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for ctx.Err() == nil {
				s := sequence.Add(1)
				mu.Lock()
				n := serving[s%uint64(len(serving))]
				p := testPart(layout.PartNumber(s%1000), 1, layout.NewAttemptID(inc, n.Now(), s))
				mu.Unlock()
				if err := n.CommitPart(t.Context(), ref, p); err != nil {
					t.Errorf("worker %d: CommitPart: %v", w, err)
					return
				}
				if _, err := n.Upload(t.Context(), UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}); !errors.Is(err, ErrUploadNotFound) {
					t.Errorf("worker %d: Upload of unknown ID = %v", w, err)
					return
				}
				done.Add(1)
			}
		})
	}
	for _, old := range slices.Clone(c.nodes) {
		next := c.join()
		mu.Lock()
		serving = slices.DeleteFunc(serving, func(n *testNode) bool { return n == old })
		mu.Unlock()
		if err := c.change(next, MembersChange{Verb: MembersReplace, Node: old.id, By: next.id}); err != nil {
			t.Errorf("replace: %v", err)
			break
		}
		if m := c.settled(); m.has(old.id) || len(m.voters()) != 5 || !slices.Contains(m.voters(), next.id) {
			t.Errorf("members after replace of %s by %s: %+v", old.id, next.id, m)
		}
		before := done.Load()
		poll(t, "work after a replacement", func() bool { return done.Load() > before+20 || t.Failed() })
		mu.Lock()
		serving = append(serving, next)
		mu.Unlock()
	}
	stop()
	work.Wait()
	for _, n := range c.nodes[:5] {
		c.stop(n)
	}
	c.sameState()
}

// A change of membership is finished by the next leader, whichever step the
// last one was lost at: cut off and back again, or crashed and started again.
func TestMembershipIsFinishedByTheNextLeader(t *testing.T) {
	type verb struct {
		name   string
		change func(c *cluster, spare *testNode) MembersChange
		steps  int
	}
	verbs := []verb{
		{"promote", func(_ *cluster, spare *testNode) MembersChange {
			return MembersChange{Verb: MembersPromote, Node: spare.id}
		}, 2},
		{"demote", func(c *cluster, spare *testNode) MembersChange {
			return MembersChange{Verb: MembersDemote, Node: c.voterExcept(c.leader(), spare).id}
		}, 2},
		{"remove the leader", func(c *cluster, _ *testNode) MembersChange {
			return MembersChange{Verb: MembersRemove, Node: c.leader().id}
		}, 4},
		{"replace", func(c *cluster, spare *testNode) MembersChange {
			return MembersChange{Verb: MembersReplace, Node: c.voterExcept(c.leader(), spare).id, By: spare.id}
		}, 3},
	}
	for i, v := range verbs {
		for at := range v.steps {
			crash := (i+at)%2 == 0
			t.Run(fmt.Sprintf("%s, step %d, crash %t", v.name, at, crash), func(t *testing.T) {
				t.Parallel()
				loseLeaderAtStep(t, v.change, at, crash)
			})
		}
	}
}

// voterExcept is a voter that is none of the given nodes.
func (c *cluster) voterExcept(except ...*testNode) *testNode {
	c.t.Helper()
	for _, s := range c.leader().servers() {
		for _, n := range c.nodes {
			if n.id == nodeOf(s.ID) && s.Suffrage == raft.Voter && !slices.Contains(except, n) {
				return n
			}
		}
	}
	c.t.Fatal("no other voter")
	return nil
}

// Three voters of four are a majority also while one of the three is about to
// lose its vote, and wherever that got to before the leader was lost.
func TestAVoteThatIsBeingTakenElectsTheNextLeader(t *testing.T) {
	demoting := make(chan layout.NodeID, 1)
	held := make(chan struct{})
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.onStep = func(change memberChange, node layout.NodeID) {
			if change == changeDemote {
				demoting <- node
				<-held
			}
		}
	})
	stock(t, c.nodes[0])
	spare := c.join()
	lead := c.leader()
	if err := c.change(lead, MembersChange{Verb: MembersPromote, Node: spare.id}); err != nil {
		t.Fatalf("change: %v", err)
	}
	demoted := <-demoting
	for _, n := range c.nodes { // from now on only the demoted voter hears the leader
		if n != lead && n.id != demoted {
			c.net.separate(lead.id, n.id, cutAll)
		}
	}
	close(held)
	c.eventually("the end of a leader without a majority", func() bool { _, leads := lead.leads(); return !leads })
	c.net.isolate(lead.id, cutAll)
	if _, err := c.leader(lead).Bucket(t.Context(), "b"); err != nil {
		t.Errorf("look-up at the next leader = %v", err)
	}
}

// A voter that was away while others were given and lost votes elects the next
// leader, though by what it knows that one has no vote, or is no member.
func TestAVoterThatWasAwayElectsWhomItDoesNotKnow(t *testing.T) {
	for _, knows := range []string{"a member without a vote", "no member"} {
		t.Run(knows, func(t *testing.T) {
			c := newCluster(t, 3, nil)
			stock(t, c.nodes[0])
			lead := c.leader()
			away := c.voterExcept(lead)
			replaced := c.voterExcept(lead, away)
			leave := func() { c.net.separate(lead.id, away.id, cutAll) }
			if knows == "no member" {
				leave()
			}
			next := c.join()
			leave()
			if err := c.change(lead, MembersChange{Verb: MembersReplace, Node: replaced.id, By: next.id}); err != nil {
				t.Fatalf("change: %v", err)
			}
			c.eventually("two changes, on the node that leads next", func() bool {
				voters := next.voterIDs()
				return slices.Contains(voters, next.id) && !slices.Contains(voters, replaced.id)
			})
			if voters := away.voterIDs(); !slices.Contains(voters, replaced.id) || slices.Contains(voters, next.id) {
				t.Fatalf("the voter that was away knows of %v; the test shows nothing", voters)
			}
			c.net.isolate(replaced.id, cutAll)
			c.net.isolate(lead.id, cutAll)
			if _, err := c.leader(lead, replaced).Bucket(t.Context(), "b"); err != nil {
				t.Errorf("look-up at the next leader = %v", err)
			}
		})
	}
}

func loseLeaderAtStep(t *testing.T, decide func(*cluster, *testNode) MembersChange, at int, crash bool) {
	var armed, step atomic.Int32
	lost := make(chan layout.NodeID, 1)
	held := make(chan struct{})
	c := newCluster(t, 3, func(cfg *Config) {
		node := cfg.Node
		// Three voters of four are left at times, and must all agree, on a
		// machine that runs other tests too.
		cfg.HeartbeatTimeout = time.Second
		cfg.onStep = func(memberChange, layout.NodeID) {
			if armed.Load() == 1 && int(step.Add(1)) == at+1 {
				lost <- node
				<-held
			}
		}
	})
	stock(t, c.nodes[0])
	spare := c.join()
	change := decide(c, spare)
	armed.Store(1)
	if err := c.change(c.leader(), change); err != nil {
		t.Fatalf("change: %v", err)
	}
	id := <-lost
	armed.Store(0)
	old := c.nodes[slices.IndexFunc(c.nodes, func(n *testNode) bool { return n.id == id })]
	c.net.isolate(id, cutAll)
	close(held)
	if crash {
		c.stop(old)
	}
	c.leader(old)
	if crash {
		c.start(old)
	}
	c.net.isolate(id, cutNothing)
	m := c.settled()
	voters := m.voters()
	if len(voters) != 3 {
		t.Errorf("%d voters at rest, want 3: %+v", len(voters), m)
	}
	switch change.Verb {
	case MembersPromote:
		if !slices.Contains(voters, change.Node) {
			t.Errorf("promoted node does not vote: %+v", m)
		}
	case MembersDemote:
		if slices.Contains(voters, change.Node) || !m.has(change.Node) {
			t.Errorf("demoted node: %+v", m)
		}
	default:
		if m.has(change.Node) || !change.By.IsZero() && !slices.Contains(voters, change.By) {
			t.Errorf("removed or replaced node: %+v", m)
		}
	}
	if m.has(id) {
		if _, err := old.Bucket(t.Context(), "b"); err != nil {
			t.Errorf("look-up on the former leader = %v", err)
		}
	}
}
