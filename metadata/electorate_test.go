package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// kinds are the states a member can be in besides its wish and its vote.
var seatKinds = []seat{
	{},
	{answers: true},
	{answers: true, caughtUp: true, applied: 9},
}

// eachElectorate calls f with every registry of a leader and up to others
// members that its leader could lead: the voters that answer are a majority. Of
// smaller ones, some members are leaving.
func eachElectorate(others int, f func(seats []seat)) {
	electorates(others, seatKinds, f)
	kinds := slices.Clone(seatKinds)
	for _, s := range seatKinds {
		s.leaving = true
		kinds = append(kinds, s)
	}
	electorates(others-2, kinds, f)
}

func electorates(others int, kinds []seat, f func(seats []seat)) {
	var all []seat
	for _, s := range kinds {
		for wish := range WishGone + 1 {
			for _, votes := range []bool{false, true} {
				s.wish, s.votes = wish, votes
				all = append(all, s)
			}
		}
	}
	var build func(seats []seat, from int)
	build = func(seats []seat, from int) {
		if voters, answering := countVotes(seats); answering > voters/2 {
			numbered := slices.Clone(seats)
			for i := range numbered {
				numbered[i].node = testNodeID(byte(i + 1))
				numbered[i].server = raft.Server{ID: server{numbered[i].node, 1}.id()}
			}
			f(numbered)
		}
		if len(seats) > others {
			return
		}
		for i := from; i < len(all); i++ {
			build(append(slices.Clone(seats), all[i]), i)
		}
	}
	for wish := range WishGone + 1 {
		leader := seat{votes: true, wish: wish, answers: true, caughtUp: true, applied: 10}
		build([]seat{leader}, 0)
		if kinds[len(kinds)-1].leaving {
			leader.leaving = true
			build([]seat{leader}, 0)
		}
	}
}

func describe(seats []seat) string {
	var b strings.Builder
	for _, s := range seats {
		fmt.Fprintf(&b, "[%x votes=%t wish=%s leaving=%t answers=%t caughtUp=%t] ", s.node[0], s.votes, s.wish, s.leaving, s.answers, s.caughtUp)
	}
	return b.String()
}

// Whatever the members' state, and so also from the middle of any change whose
// leader was lost: the steps come to an end, after each of them the voters that
// answer are a majority, and an even number of voters remains only where taking
// one more vote would lose that majority.
func TestEveryStepKeepsAMajorityAndLeadsToAnOddNumber(t *testing.T) {
	others := 5
	if testing.Short() || raceEnabled {
		others = 4
	}
	checked := 0
	eachElectorate(others, func(start []seat) {
		checked++
		seats, self := slices.Clone(start), start[0].node
		for range 4 * len(start) {
			change, i := nextStep(seats, self)
			switch change {
			case changeNone:
				if successorIsComing(seats) {
					for i := range seats {
						seats[i].caughtUp = seats[i].caughtUp || seats[i].answers
					}
					continue
				}
				checkAtRest(t, start, seats)
				return
			case changePromote:
				if seats[i].votes || !seats[i].caughtUp || !seats[i].mayVote() {
					t.Fatalf("%s: promotes member %d of %s", describe(start), i, describe(seats))
				}
				seats[i].votes = true
			case changeDemote:
				if seats[i].node == self {
					t.Fatalf("%s: the leader takes its own vote", describe(start))
				}
				seats[i].votes = false
			case changeRemove:
				if seats[i].votes || seats[i].wish != WishGone {
					t.Fatalf("%s: removes member %d of %s", describe(start), i, describe(seats))
				}
				seats = slices.Delete(seats, i, i+1)
			case changeHandOver:
				if !seats[i].votes || !seats[i].answers || seats[i].node == self {
					t.Fatalf("%s: hands over to member %d of %s", describe(start), i, describe(seats))
				}
				self = seats[i].node
			}
			if voters, answering := countVotes(seats); answering <= voters/2 {
				t.Fatalf("%s: %d of %d voters answer after a step: %s", describe(start), answering, voters, describe(seats))
			}
		}
		t.Fatalf("%s: the steps do not end", describe(start))
	})
	t.Logf("%d registries", checked)
}

func checkAtRest(t *testing.T, start, seats []seat) {
	t.Helper()
	voters, answering := countVotes(seats)
	if voters%2 == 0 && answering > voters/2+1 {
		t.Fatalf("%s: rests at %d voters, %d of which answer: %s", describe(start), voters, answering, describe(seats))
	}
	mayVote := func(s seat) bool { return s.mayVote() && (s.votes || s.caughtUp) }
	members, able := 0, 0
	for _, s := range seats {
		if s.mayVote() {
			members++
		}
		if mayVote(s) {
			able++
		}
	}
	if members > 2 && able > 1 && voters == 1 {
		t.Fatalf("%s: rests at one voter of %d members: %s", describe(start), members, describe(seats))
	}
	if answering < voters || !slices.ContainsFunc(seats, mayVote) {
		return // a vote may be needed that nobody wants there
	}
	for _, s := range seats {
		if s.wish == WishGone || s.votes && s.wish == WishNoVote {
			t.Fatalf("%s: a wish is not followed: %s", describe(start), describe(seats))
		}
	}
	if able == members && !atRest(membersOf(seats)) {
		t.Fatalf("%s: is never settled, at rest with nobody to wait for: %s", describe(start), describe(seats))
	}
}

func membersOf(seats []seat) (members []RaftMember) {
	for _, s := range seats {
		members = append(members, RaftMember{Node: s.node, Voter: s.votes, Wish: s.wish})
	}
	return members
}

// A voter is replaced only once the member that replaces it can vote, also if
// that one fell behind after the wish was recorded.
func TestAVoterIsReplacedNotOnlyRemoved(t *testing.T) {
	voter := seat{votes: true, answers: true, caughtUp: true, applied: 9}
	gone, spare := voter, seat{answers: true}
	gone.wish = WishGone
	seats := []seat{voter, voter, gone, spare}
	for i := range seats {
		seats[i].node = testNodeID(byte(i + 1))
	}
	if change, _ := nextStep(seats, seats[0].node); change != changeNone {
		t.Errorf("while the spare member catches up: %s", change)
	}
	seats[3].caughtUp = true
	if change, i := nextStep(seats, seats[0].node); change != changePromote || i != 3 {
		t.Errorf("once it has: %s member %d, want to promote member 3", change, i)
	}
	seats[3].votes = true
	if change, i := nextStep(seats, seats[0].node); change != changeDemote || i != 2 {
		t.Errorf("once it votes: %s member %d, want to demote member 2", change, i)
	}
}

// A voter that is away keeps its vote until it is decided that it leaves.
func TestNothingTakesAVoteByItself(t *testing.T) {
	others := 5
	if raceEnabled {
		others = 4
	}
	eachElectorate(others, func(start []seat) {
		voters, _ := countVotes(start)
		wished := slices.ContainsFunc(start, func(s seat) bool { return s.wish != WishNone || s.leaving })
		if wished || voters%2 == 0 || voters > wantVoters(len(start)) {
			return
		}
		for _, s := range settle(start, start[0].node) {
			at := slices.IndexFunc(start, func(o seat) bool { return o.node == s.node })
			if start[at].votes && !s.votes {
				t.Fatalf("%s: member %x lost its vote", describe(start), s.node[0])
			}
		}
	})
}

// A member that stays and could vote takes the vote of one that leaves, whether
// that one is there or not, and the leader's last.
func TestVotesLeaveWithTheirNodes(t *testing.T) {
	for _, tc := range []struct {
		members string
		leaves  []int // by their numbers, from 1
		want    []int // the voters then
	}{
		{"VVVVVN", []int{2}, []int{1, 3, 4, 5, 6}},
		{"VVVVvN", []int{5}, []int{1, 2, 3, 4, 6}},
		{"VVVVVN", []int{1}, []int{2, 3, 4, 5, 6}},
		{"VVVvvNN", []int{4, 5}, []int{1, 2, 3, 6, 7}},
		{"VVVVVNN", []int{5, 6}, []int{1, 2, 3, 4, 7}},
		{"VVVVVL", []int{5}, []int{1, 2, 3, 4, 5}},   // nobody can take it yet
		{"VVVVVn", []int{5}, []int{1, 2, 3, 4, 5}},   // nor can one that is away
		{"VVVvv", []int{4, 5}, []int{1, 2, 3, 4, 5}}, // votes move, their number stays
		{"VVVVVN", []int{6}, []int{1, 2, 3, 4, 5}},
	} {
		seats := electorate(tc.members)
		for _, i := range tc.leaves {
			seats[i-1].leaving = true
		}
		var got []int
		for i, s := range settle(seats, seats[0].node) {
			if s.votes {
				got = append(got, i+1)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s, %v leave: voters %v, want %v", tc.members, tc.leaves, got, tc.want)
		}
	}
}

// electorate makes seats of letters: V a voter, N a member that has caught up,
// L one that has not; small letters do not answer. The first one leads.
func electorate(s string) (seats []seat) {
	for i, c := range s {
		upper := strings.ToUpper(string(c))
		seats = append(seats, seat{
			node: testNodeID(byte(i + 1)), votes: upper == "V",
			answers: upper == string(c), caughtUp: upper == string(c) && upper != "L",
		})
	}
	return seats
}

func TestUnsafeDecisionsAreRefused(t *testing.T) {
	node := testNodeID
	tests := []struct {
		name    string
		members string
		change  MembersChange
		want    error
		forced  error // with Force
	}{
		{"one of five", "VVVVV", MembersChange{Verb: MembersRemove, Node: node(2)}, nil, nil},
		{"the leader of five", "VVVVV", MembersChange{Verb: MembersRemove, Node: node(1)}, nil, nil},
		{"one of three", "VVV", MembersChange{Verb: MembersRemove, Node: node(2)}, ErrMembersUnsafe, nil},
		{"one of three, demoted", "VVV", MembersChange{Verb: MembersDemote, Node: node(2)}, ErrMembersUnsafe, nil},
		{"one of three, dead", "VVv", MembersChange{Verb: MembersRemove, Node: node(3)}, ErrMembersUnsafe, nil},
		{"one of three, a fourth ready", "VVVN", MembersChange{Verb: MembersRemove, Node: node(2)}, nil, nil},
		{"the dead one of three, a fourth ready", "VVvN", MembersChange{Verb: MembersRemove, Node: node(3)}, nil, nil},
		{"a live one of three, another dead", "VVvN", MembersChange{Verb: MembersRemove, Node: node(2)}, nil, nil},
		{"a live one of five, two dead", "VVVvv", MembersChange{Verb: MembersRemove, Node: node(2)}, nil, nil},
		{"a live one of five, one dead", "VVVVv", MembersChange{Verb: MembersRemove, Node: node(2)}, nil, nil},
		{"the last one", "V", MembersChange{Verb: MembersRemove, Node: node(1)}, ErrMembersUnsafe, ErrMembersUnsafe},
		{"the only voter, another not ready", "VL", MembersChange{Verb: MembersRemove, Node: node(1)}, ErrMembersUnsafe, ErrMembersUnsafe},
		{"the only voter, another ready", "VN", MembersChange{Verb: MembersRemove, Node: node(1)}, nil, nil},
		{"a member without a vote", "VVVn", MembersChange{Verb: MembersRemove, Node: node(4)}, nil, nil},
		{"a stranger", "VVV", MembersChange{Verb: MembersDemote, Node: node(9)}, ErrInvalid, ErrInvalid},
		{"promote a stranger", "VVV", MembersChange{Verb: MembersPromote, Node: node(9)}, ErrInvalid, ErrInvalid},
		{"promote one that lags", "VVVL", MembersChange{Verb: MembersPromote, Node: node(4)}, ErrMembersUnsafe, ErrMembersUnsafe},
		{"promote one that is away", "VVVn", MembersChange{Verb: MembersPromote, Node: node(4)}, ErrMembersUnsafe, ErrMembersUnsafe},
		{"promote one in place of another", "VVVN", MembersChange{Verb: MembersPromote, Node: node(4)}, nil, nil},
		{"promote a voter", "VVV", MembersChange{Verb: MembersPromote, Node: node(2)}, nil, nil},
		{"replace by whoever is ready", "VVvN", MembersChange{Verb: MembersReplace, Node: node(3)}, nil, nil},
		{"replace, nobody ready", "VVVVvL", MembersChange{Verb: MembersReplace, Node: node(5)}, ErrMembersUnsafe, ErrMembersUnsafe},
		{"replace by one that lags", "VVVL", MembersChange{Verb: MembersReplace, Node: node(2), By: node(4)}, ErrMembersUnsafe, ErrMembersUnsafe},
		{"replace by a voter", "VVVVV", MembersChange{Verb: MembersReplace, Node: node(2), By: node(3)}, ErrInvalid, ErrInvalid},
		{"replace by itself", "VVVN", MembersChange{Verb: MembersReplace, Node: node(4), By: node(4)}, ErrInvalid, ErrInvalid},
		{"replace by a stranger", "VVV", MembersChange{Verb: MembersReplace, Node: node(2), By: node(9)}, ErrInvalid, ErrInvalid},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			seats := electorate(tc.members)
			if err := vet(seats, node(1), tc.change); !errors.Is(err, tc.want) {
				t.Errorf("vet = %v, want %v", err, tc.want)
			}
			tc.change.Force = true
			if err := vet(seats, node(1), tc.change); !errors.Is(err, tc.forced) {
				t.Errorf("vet with Force = %v, want %v", err, tc.forced)
			}
		})
	}
	full := electorate("VVVVVN")
	for i := range 5 {
		full[i].wish = WishVote
	}
	if err := vet(full, node(1), MembersChange{Verb: MembersPromote, Node: node(6)}); !errors.Is(err, ErrMembersUnsafe) {
		t.Errorf("promote a sixth by wish = %v, want ErrMembersUnsafe", err)
	}
}
