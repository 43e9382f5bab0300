package metadata

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// Who votes follows from what operators wish, who is a member and who answers.
// This file decides it, without doing anything: nextStep is asked again after
// every step, by whichever node leads, so a change that was begun by one
// leader is finished or undone by the next.

// wantVoters is how many of the members that may vote should: an odd number,
// so that every vote helps, and no more than are worth their share of each
// commit.
func wantVoters(members int) int {
	switch {
	case members >= 5:
		return 5
	case members >= 3:
		return 3
	}
	return 1
}

// seat is one server of Raft's configuration as its leader sees it.
type seat struct {
	server   raft.Server
	node     layout.NodeID
	votes    bool
	wish     Wish
	leaving  bool          // none of its stores is in; see leavingNodes
	answers  bool          // it was asked a moment ago, and has answered
	applied  uint64        // what it had applied then
	caughtUp bool          // and that is all the leader had a moment before
	hangs    bool          // leadership cannot be offered to it; see transfer
	room     room          // for its copy, as it said then
	pace     time.Duration // of its log, as it said then; 0: not known
}

func (s seat) mayVote() bool { return s.wish == WishNone || s.wish == WishVote }

// nextStep returns the next change on the way to the wanted voters and the
// seat it concerns, or changeNone if there is nothing to do, or nothing that
// the voters who answer could commit.
//
// Votes are given before they are taken, and taken from members that do not
// answer before others: each step leaves as much of a majority as there can be.
// The leader's own vote goes last, after it has handed over (changeHandOver,
// with the seat of its successor). While a member that could vote still
// catches up, no vote is taken that would leave too few.
func nextStep(seats []seat, self layout.NodeID) (memberChange, int) {
	wanted := wantedVoters(seats, self)
	for i, s := range seats {
		if wanted[i] && !s.votes {
			return changePromote, i
		}
	}
	for _, i := range inOrder(seats, func(s seat) int { return rank(!s.answers, s.node != self) }) {
		if s := seats[i]; !s.votes || wanted[i] {
			continue
		}
		if !majorityWithout(seats, i) || successorIsComing(seats) {
			break
		}
		if seats[i].node != self {
			return changeDemote, i
		}
		if next := heir(seats, wanted); next >= 0 {
			return changeHandOver, next
		}
	}
	for i, s := range seats {
		if s.wish == WishGone && !s.votes {
			return changeRemove, i
		}
	}
	return changeNone, 0
}

// successorIsComing reports whether there are no more voters than there should
// be, and a member that may vote is about to be able to.
func successorIsComing(seats []seat) bool {
	members, coming := 0, false
	for _, s := range seats {
		if s.mayVote() {
			members++
			coming = coming || !s.votes && s.answers && !s.caughtUp
		}
	}
	voters, _ := countVotes(seats)
	return coming && voters <= wantVoters(members)
}

// wantedVoters says for each seat whether it should vote: as many as there
// should be, an odd number of those that vote or could at once, but two rather
// than one where there should be more. A wish comes first, then being here to
// stay, then having a vote already: a voter that is away keeps it until it is
// decided that it leaves.
func wantedVoters(seats []seat, self layout.NodeID) []bool {
	members, able := 0, 0
	for _, s := range seats {
		if s.mayVote() {
			members++
			if s.votes || s.caughtUp {
				able++
			}
		}
	}
	votes := min(wantVoters(members), able-(able+1)%2)
	if able == 2 && wantVoters(members) > 2 {
		votes = 2 // until a third can: with one, one disk would be the registry's whole memory
	}
	wanted := make([]bool, len(seats))
	order := inOrder(seats, func(s seat) int { return rank(s.wish == WishVote, !s.leaving, s.votes, s.node == self, s.answers) })
	for _, i := range order {
		if s := seats[i]; votes > 0 && s.mayVote() && (s.votes || s.caughtUp) {
			wanted[i] = true
			votes--
		}
	}
	return wanted
}

// inOrder returns the indexes of the seats by a key, then by joining.
func inOrder(seats []seat, key func(seat) int) []int {
	order := make([]int, len(seats))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(key(seats[a]), key(seats[b])) })
	return order
}

// rank is a sort key: what has an earlier property comes first.
func rank(properties ...bool) (key int) {
	for _, has := range properties {
		key *= 2
		if !has {
			key++
		}
	}
	return key
}

// majorityWithout reports whether, once a voter has lost its vote, the voters
// that answer would be a majority.
func majorityWithout(seats []seat, voter int) bool {
	voters, answering := countVotes(seats)
	if seats[voter].answers {
		answering--
	}
	return answering > (voters-1)/2
}

func countVotes(seats []seat) (voters, answering int) {
	for _, s := range seats {
		if s.votes {
			voters++
			if s.answers {
				answering++
			}
		}
	}
	return voters, answering
}

// heir is the wanted voter that has applied most of those whose log goes on, or -1.
func heir(seats []seat, wanted []bool) int {
	best := -1
	for i, s := range seats {
		if s.votes && wanted[i] && s.answers && !s.hangs && (best < 0 || s.applied > seats[best].applied) {
			best = i
		}
	}
	return best
}

// settle plays all steps through on a copy of the seats.
func settle(seats []seat, self layout.NodeID) []seat {
	seats = slices.Clone(seats)
	for {
		change, i := nextStep(seats, self)
		switch change {
		case changePromote:
			seats[i].votes = true
		case changeDemote:
			seats[i].votes = false
		case changeRemove:
			seats = slices.Delete(seats, i, i+1)
		case changeHandOver:
			self = seats[i].node
		default:
			return seats
		}
	}
}

// vet refuses, as ErrMembersUnsafe or ErrInvalid, a wish that could not be
// followed or would leave too few votes.
func vet(seats []seat, self layout.NodeID, c MembersChange) error {
	at := func(n layout.NodeID) int { return slices.IndexFunc(seats, func(s seat) bool { return s.node == n }) }
	takes := c.takesOver()
	for _, n := range []layout.NodeID{c.Node, takes} {
		if !n.IsZero() && at(n) < 0 {
			return fmt.Errorf("%w: node %s is no member", ErrInvalid, n)
		}
	}
	if i := at(takes); i >= 0 && !seats[i].votes && !seats[i].caughtUp {
		return fmt.Errorf("%w: node %s has not caught up", ErrMembersUnsafe, takes)
	}
	if i := at(takes); i >= 0 && c.Verb == MembersReplace && (seats[i].votes || takes == c.Node) {
		return fmt.Errorf("%w: node %s has a vote already", ErrInvalid, takes)
	}
	wished := slices.Clone(seats)
	for _, w := range c.wishes() {
		wished[at(w.Node)].wish = w.Wish
	}
	return vetOutcome(seats, settle(wished, self), c)
}

func vetOutcome(before, after []seat, c MembersChange) error {
	votes := func(n layout.NodeID) bool {
		return slices.ContainsFunc(after, func(s seat) bool { return s.node == n && s.votes })
	}
	had, answered := countVotes(before)
	left, answering := countVotes(after)
	switch takes := c.takesOver(); {
	case !takes.IsZero() && !votes(takes):
		return fmt.Errorf("%w: all %d votes are given by wish; demote a member first", ErrMembersUnsafe, left)
	case c.Verb == MembersPromote:
		return nil
	case votes(c.Node) && successorIsComing(after):
		return fmt.Errorf("%w: a member that could vote instead of node %s has not caught up yet", ErrMembersUnsafe, c.Node)
	case votes(c.Node):
		return fmt.Errorf("%w: without node %s, those of the other voters that answer would be no majority", ErrMembersUnsafe, c.Node)
	case c.Verb == MembersReplace && left < had:
		return fmt.Errorf("%w: no member without a vote has caught up", ErrMembersUnsafe)
	case c.Force:
		return nil
	case left < had && left < 3:
		return fmt.Errorf("%w: it would leave %d of %d voters, too few to survive a loss", ErrMembersUnsafe, left, had)
	case answering-left/2 <= 1 && answering-left/2 < answered-had/2:
		return fmt.Errorf("%w: of the %d voters left only %d answer; the next loss would not be survived", ErrMembersUnsafe, left, answering)
	}
	return nil
}
