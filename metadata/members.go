package metadata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// Wish is what operators want of a member. It is recorded in the registry, and
// whoever leads moves Raft's configuration towards it (promoter.go).
type Wish uint8

// The values of Wish. They are part of the state format and must not change.
const (
	WishNone   Wish = 0 // it votes if a voter is needed
	WishVote   Wish = 1 // it votes before those without a wish do
	WishNoVote Wish = 2 // it keeps a copy and does not vote
	WishGone   Wish = 3 // it is no member, and does not become one again
)

func (w Wish) String() string {
	return [...]string{"none", "vote", "no-vote", "gone"}[min(w, WishGone)]
}

// MembersVerb is what an operator has done to the membership.
type MembersVerb uint8

// The values of MembersVerb. They are part of the peer protocol.
const (
	MembersPromote MembersVerb = 1 // Node gets a vote
	MembersDemote  MembersVerb = 2 // Node loses its vote for good
	MembersRemove  MembersVerb = 3 // Node loses vote and membership for good
	MembersReplace MembersVerb = 4 // By, or whoever has caught up, gets a vote; Node is removed
	MembersUnwish  MembersVerb = 5 // what was wished of Node is taken back; if it was removed, it may come back
)

func (v MembersVerb) String() string {
	return [...]string{"none", "promote", "demote", "remove", "replace", "unwish"}[min(v, MembersUnwish)]
}

// MembersChange is one decision of an operator.
type MembersChange struct {
	Verb MembersVerb
	Node layout.NodeID
	By   layout.NodeID // of MembersReplace; zero: any

	// Version is that of the Members the decision was made on.
	Version uint64

	// Force accepts an outcome that leaves fewer voters than survive a loss.
	Force bool
}

// takesOver is the member that must have a vote afterwards, or zero.
func (c MembersChange) takesOver() layout.NodeID {
	switch c.Verb {
	case MembersPromote:
		return c.Node
	case MembersReplace:
		return c.By
	}
	return layout.NodeID{}
}

func (c MembersChange) wishes() []memberWish {
	switch c.Verb {
	case MembersPromote:
		return []memberWish{{c.Node, WishVote}}
	case MembersDemote:
		return []memberWish{{c.Node, WishNoVote}}
	case MembersUnwish:
		return []memberWish{{c.Node, WishNone}}
	case MembersReplace:
		if !c.By.IsZero() {
			return []memberWish{{c.By, WishVote}, {c.Node, WishGone}}
		}
	}
	return []memberWish{{c.Node, WishGone}}
}

// Members is the membership of the registry at one instant.
type Members struct {
	// Version grows with every wish and every change of Raft's configuration.
	Version uint64
	// Settled is false while the leader still has steps to take, or waits for
	// members to answer before it takes them.
	Settled bool
	Members []RaftMember // in the order they joined
	// Removed are the nodes that are no members any more and may not become
	// members again, by ID.
	Removed []layout.NodeID
}

// RaftMember is one member of the registry.
type RaftMember struct {
	Node  layout.NodeID
	Voter bool
	Wish  Wish
}

// Members is linearizable like every read.
func (r *Raft) Members(ctx context.Context) (m Members, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		m, err = readMembers(rows)
		return err
	})
	return m, err
}

func readMembers(rows pebble.Reader) (m Members, err error) {
	c, err := readServers(rows)
	if err != nil {
		return m, err
	}
	wishes, err := readWishes(rows)
	if err != nil {
		return m, err
	}
	m.Version = wishes.version
	for _, s := range c.Servers {
		member := RaftMember{Node: nodeOf(s.ID), Voter: s.Suffrage == raft.Voter, Wish: wishes.of[nodeOf(s.ID)]}
		m.Members = append(m.Members, member)
		delete(wishes.of, member.Node)
	}
	m.Settled = atRest(m.Members)
	for node, wish := range wishes.of {
		if wish == WishGone {
			m.Removed = append(m.Removed, node)
		}
	}
	slices.SortFunc(m.Removed, func(a, b layout.NodeID) int { return bytes.Compare(a[:], b[:]) })
	return m, nil
}

// atRest reports whether all wishes are followed, as far as they can be: more
// members may be wished to vote than there should be voters, once others have
// lost their votes.
func atRest(members []RaftMember) bool {
	mayVote, voters, wished, waits := 0, 0, 0, false
	for _, m := range members {
		if m.Voter {
			voters++
		}
		switch {
		case m.Wish == WishGone, m.Wish == WishNoVote && m.Voter:
			return false
		case m.Wish == WishNoVote:
			continue
		case m.Wish == WishVote && m.Voter:
			wished++
		case m.Wish == WishVote:
			waits = true
		}
		mayVote++
	}
	return voters%2 == 1 && (!waits || wished >= wantVoters(mayVote))
}

// Bootstrap makes the first generations of the given nodes the voters of a new
// registry. One of them
// calls it, on an empty directory; the others wait for it with empty ones. A
// repeated call with the same voters has no effect.
func (r *Raft) Bootstrap(voters []layout.NodeID) error {
	var c raft.Configuration
	for _, v := range voters {
		first := server{v, 1}
		c.Servers = append(c.Servers, raft.Server{ID: first.id(), Address: first.address(), Suffrage: raft.Voter})
	}
	err := r.await(r.ctx, r.raft.BootstrapCluster(c))
	if errors.Is(err, raft.ErrCantBootstrap) && r.hasServers(voters) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bootstrap registry: %w", err)
	}
	return nil
}

func (r *Raft) hasServers(nodes []layout.NodeID) bool {
	servers := r.servers()
	for _, n := range nodes {
		if !slices.ContainsFunc(servers, func(s raft.Server) bool { return nodeOf(s.ID) == n }) {
			return false
		}
	}
	return len(nodes) > 0
}

// AddMember makes a generation of a node a member without a vote, unless it is
// one already. An earlier generation, which has given up its copy, is removed;
// if there is a later one, ErrInvalid. The member receives a copy of the registry; the leader gives it a vote when one is
// needed. Any node may be asked. It returns once that is committed; what a leader
// has only begun may be lost with it, also if the new node has heard of it. A node
// that an operator removed is refused with ErrRemoved.
func (r *Raft) AddMember(ctx context.Context, node layout.NodeID, generation Generation) error {
	return r.changeMembers(ctx, membersRequest{node: node, generation: generation})
}

// ChangeMembers records what an operator wants and returns; the leader then
// does it, and Members tells when it is done. Any node may be asked. Of several
// decisions on the same version one is recorded; the others get
// ErrMembersChanged. ErrMembersUnsafe and ErrInvalid say why a decision is
// refused.
func (r *Raft) ChangeMembers(ctx context.Context, c MembersChange) error {
	if c.Verb < MembersPromote || c.Verb > MembersUnwish || c.Node.IsZero() || c.Verb != MembersReplace && !c.By.IsZero() {
		return fmt.Errorf("%w: change of membership %+v", ErrInvalid, c)
	}
	return r.changeMembers(ctx, membersRequest{
		id: layout.NewRequestID(), verb: c.Verb, node: c.Node, by: c.By, version: c.Version, force: c.Force,
	})
}

// changeMembers asks the leader until the outcome is known.
func (r *Raft) changeMembers(ctx context.Context, q membersRequest) error {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	for {
		var err error
		if r.raft.State() == raft.Leader {
			err = r.decideMembers(ctx, q)
		} else {
			err = r.forwardMembers(q)
		}
		if err == nil || refusedMembers(err) != statusNotLeader {
			return err
		}
		if err := r.pause(ctx, err); err != nil {
			return err
		}
	}
}

// membersRequest is what a messageMembers asks of the leader: to decide a
// MembersChange, or without a verb to add the node.
type membersRequest struct {
	id      layout.RequestID
	verb    MembersVerb
	node    layout.NodeID
	by      layout.NodeID
	version uint64
	force   bool

	generation Generation // of the node that is to be added
}

func (q *membersRequest) code(c *coder) {
	c.fixed(q.id[:])
	c.byte((*uint8)(&q.verb))
	c.fixed(q.node[:])
	c.fixed(q.by[:])
	c.uint(&q.version)
	c.bool(&q.force)
	c.uint32((*uint32)(&q.generation))
}

func (q *membersRequest) change() MembersChange {
	return MembersChange{Verb: q.verb, Node: q.node, By: q.by, Version: q.version, Force: q.force}
}

// membersErrors are the refusals that are final, and their statuses on the wire.
var membersErrors = []struct {
	status status
	err    error
}{
	{statusRefused, ErrInvalid},
	{statusMembersChanged, ErrMembersChanged},
	{statusMembersUnsafe, ErrMembersUnsafe},
	{statusRemoved, ErrRemoved},
}

// refusedMembers is the status of a refusal; statusNotLeader: ask again.
func refusedMembers(err error) status {
	for _, row := range membersErrors {
		if errors.Is(err, row.err) {
			return row.status
		}
	}
	return statusNotLeader
}

func (r *Raft) forwardMembers(q membersRequest) error {
	leader, ctx, cancel, err := r.otherLeader()
	if err != nil {
		return err
	}
	defer cancel()
	a, err := r.call(ctx, leader, request{kind: messageMembers, members: q}, r.cfg.Peers.Propose)
	for _, row := range membersErrors {
		if a.status == row.status {
			return fmt.Errorf("%w%s", row.err, a.reason)
		}
	}
	return err
}

// answerMembers says what the leader decided. The reason is what follows the
// sentinel in the text of the error.
func (r *Raft) answerMembers(ctx context.Context, q membersRequest) answer {
	err := r.decideMembers(ctx, q)
	if err == nil {
		return answer{}
	}
	a := answer{status: refusedMembers(err)}
	for _, row := range membersErrors {
		if row.status == a.status {
			a.reason = reasonAfter(err, row.err)
		}
	}
	return a
}

// reasonAfter returns the text of err without that of the sentinel it begins
// with.
func reasonAfter(err, sentinel error) string {
	text, begins := err.Error(), sentinel.Error()
	if len(text) <= len(begins) || text[:len(begins)] != begins {
		return ""
	}
	return text[len(begins):min(len(text), len(begins)+maxReasonSize)]
}

// decideMembers decides on the leader. A request that was decided before is
// answered by the state machine, whatever has become of the members since.
func (r *Raft) decideMembers(ctx context.Context, q membersRequest) error {
	if _, ok := r.leads(); !ok {
		return errNotLeader
	}
	var repeated bool
	var wishes wishList
	err := r.view(func(rows pebble.Reader) (err error) {
		repeated, err = getRow(rows, requestKey(q.id), nil)
		if err == nil {
			wishes, err = readWishes(rows)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case q.verb == 0:
		return r.addServer(ctx, server{q.node, q.generation}, wishes)
	case !repeated && q.version != wishes.version:
		return ErrMembersChanged
	case !repeated && q.verb == MembersUnwish && wishes.of[q.node] == WishNone:
		return fmt.Errorf("%w: nothing is wished of node %s", ErrInvalid, q.node)
	case !repeated && q.verb != MembersUnwish: // that cannot take a vote
		seats, err := r.seats(ctx)
		if err != nil {
			return err
		}
		if err := vet(seats, r.cfg.Node, q.change()); err != nil {
			return r.refusal(err, q.version)
		}
	}
	change := q.change()
	_, err = r.propose(ctx, &setWishes{Request: q.id, Version: q.version, Wishes: change.wishes()})
	if err == nil && !repeated {
		r.log.Info("operator changes membership", "verb", q.verb.String(), "peer", q.node, "by", q.by, "version", q.version)
	}
	return err
}

// refusal is err, unless it comes of a change that was faster.
func (r *Raft) refusal(err error, version uint64) error {
	var now wishList
	look := r.view(func(rows pebble.Reader) (err error) {
		now, err = readWishes(rows)
		return err
	})
	if look == nil && now.version != version {
		return ErrMembersChanged
	}
	return err
}

func (r *Raft) addServer(ctx context.Context, s server, wishes wishList) error {
	done, err := r.changeServers(ctx)
	if err != nil {
		return err
	}
	defer done()
	servers := r.servers()
	at := slices.IndexFunc(servers, func(other raft.Server) bool { return nodeOf(other.ID) == s.node })
	switch {
	case s.node.IsZero() || s.generation == 0:
		return fmt.Errorf("%w: no node named", ErrInvalid)
	case wishes.of[s.node] == WishGone:
		return ErrRemoved
	case at >= 0 && serverOf(servers[at].ID) == s:
		// So says the log, but it may not be committed: once more, which changes
		// nothing else.
	case at >= 0:
		if err := r.removeEarlier(ctx, s, servers[at]); err != nil {
			return err
		}
	}
	future := r.raft.AddNonvoter(s.id(), s.address(), 0, callTimeout)
	if err := r.await(ctx, future); err != nil {
		return fmt.Errorf("add member %s: %w", s, err)
	}
	r.log.Info("added member", "peer", s.node, "generation", s.generation)
	return nil
}

// removeEarlier removes the generation of a node that comes before s. Its vote,
// if it had one, counts for nothing any more, so a majority is no further away
// without it.
func (r *Raft) removeEarlier(ctx context.Context, s server, earlier raft.Server) error {
	switch was := serverOf(earlier.ID); {
	case was.generation > s.generation:
		return fmt.Errorf("%w: generation %d of node %s is a member", ErrInvalid, was.generation, s.node)
	case was == r.self:
		return fmt.Errorf("%w: generation %d of node %s leads", ErrInvalid, was.generation, s.node)
	}
	if err := r.await(ctx, r.raft.RemoveServer(earlier.ID, 0, callTimeout)); err != nil {
		return fmt.Errorf("remove member %s: %w", earlier.ID, err)
	}
	r.log.Info("removed member that gave up its copy", "peer", s.node, "server", earlier.ID)
	return nil
}

func countVoters(servers []raft.Server) (n int) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// TransferLeadership hands leadership to the most advanced other voter that
// answers, and tries again until ctx ends; call it before a planned stop, which
// is then a pause of milliseconds for the cluster. On a node that does not lead
// it does nothing.
func (r *Raft) TransferLeadership(ctx context.Context) error {
	for {
		if others, _ := r.otherVoters(); r.raft.State() != raft.Leader || len(others) == 0 {
			return nil
		}
		err := r.handOver(ctx)
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, err); err != nil {
			return fmt.Errorf("transfer leadership: %w", err)
		}
	}
}

// handOver tries once. Raft's own choice would be a voter to which much was
// sent, which need not be there any more.
func (r *Raft) handOver(ctx context.Context) error {
	seats, err := r.seats(ctx)
	if err != nil {
		return err
	}
	others := make([]bool, len(seats))
	for i, s := range seats {
		others[i] = s.node != r.cfg.Node
	}
	next := heir(seats, others)
	if next < 0 {
		return errNoHeir
	}
	return r.transfer(ctx, seats[next])
}

var errNoHeir = errors.New("no other voter can lead now")
