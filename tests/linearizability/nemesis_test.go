package linearizability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

// kind is a kind of fault.
type kind struct {
	name        string
	least, most time.Duration // how long it lasts
	needs       need          // of the nodes
	// strike makes the fault, undoes it after lasts or when ctx ends, and
	// reports whether it was seen to have had its effect.
	strike func(s *strike) (hit bool, err error)
}

// need is what a fault needs of the nodes.
type need int

const (
	needsNothing need = iota
	needsNetwork      // machines of their own
	needsDisk         // file systems of their own
	needsTracer       // somebody who has their system calls fail
)

// kinds are all faults there are. A run fails if one of them never hit.
var kinds = []kind{
	{"SIGKILL", 200 * time.Millisecond, 3 * time.Second, needsNothing, (*strike).kill},
	{"SIGKILL of a majority", 200 * time.Millisecond, time.Second, needsNothing, (*strike).killMajority},
	{"SIGTERM", 100 * time.Millisecond, time.Second, needsNothing, (*strike).terminate},
	{"SIGTERM of the leader", 100 * time.Millisecond, time.Second, needsNothing, (*strike).handOver},
	{"SIGSTOP", 200 * time.Millisecond, 4 * time.Second, needsNothing, (*strike).pause},
	{"long SIGSTOP", 20 * time.Second, 23 * time.Second, needsNothing, (*strike).pause},
	{"two-way cut", time.Second, 5 * time.Second, needsNetwork, (*strike).isolate},
	{"split in halves", time.Second, 5 * time.Second, needsNetwork, (*strike).split},
	{"one-way cut, hears nobody", time.Second, 5 * time.Second, needsNetwork, (*strike).deafen},
	{"one-way cut, nobody hears it", time.Second, 5 * time.Second, needsNetwork, (*strike).mute},
	{"one-way cut of one link", time.Second, 5 * time.Second, needsNetwork, (*strike).cutLink},
	{"lossy links", 2 * time.Second, 6 * time.Second, needsNetwork, (*strike).lose},
	{"demotion and promotion", 200 * time.Millisecond, 2 * time.Second, needsNothing, (*strike).demote},
	{"wiped node", 200 * time.Millisecond, 2 * time.Second, needsNothing, (*strike).wipe},
	{"wiped node, replaced", 200 * time.Millisecond, 2 * time.Second, needsNothing, (*strike).replace},
	{"full disk of registries", 2 * time.Second, 5 * time.Second, needsDisk, (*strike).fillDisks},
	{"disk errors of registries", time.Second, 4 * time.Second, needsTracer, (*strike).failDisks},
	{"no more files", 2 * time.Second, 5 * time.Second, needsNothing, (*strike).takeFiles},
	{"away until logs are shortened", 9 * time.Second, 12 * time.Second, needsNothing, (*strike).fallBehind},
}

// nemesis does its worst to a cluster.
type nemesis struct {
	c   *cluster
	say func(format string, args ...any)

	// beforeThaw has clients ask a frozen node, and returns when it will find
	// their questions as soon as it thaws.
	beforeThaw func(node int)

	mu    sync.Mutex
	busy  map[int]bool // nodes some fault keeps from running
	wiped bool
}

// strike is one fault on its way.
type strike struct {
	*nemesis
	ctx   context.Context // ends when everything is to heal
	rnd   *rand.Rand
	lasts time.Duration
}

// wait lets the fault last. It returns early when everything is to heal.
func (s *strike) wait() {
	select {
	case <-s.ctx.Done():
	case <-time.After(s.lasts):
	}
}

// victims picks n nodes that no other fault keeps from running, the leader
// among them more often than not, and keeps them until release.
func (s *strike) victims(n int) (picked []int, release func()) {
	leader, _ := s.c.leader(s.ctx)
	wanted := s.rnd.Perm(nodes)
	for i := range wanted {
		wanted[i]++
	}
	if s.rnd.IntN(3) > 0 && leader > 0 {
		wanted = append([]int{leader}, wanted...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range wanted {
		if len(picked) < n && !s.busy[i] {
			s.busy[i] = true
			picked = append(picked, i)
		}
	}
	return picked, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, i := range picked {
			delete(s.busy, i)
		}
	}
}

func (s *strike) kill() (bool, error) { return s.killSome(1) }

// killMajority kills four of six nodes at the same time: no quorum is left,
// and what was acknowledged must come back from the disks.
func (s *strike) killMajority() (bool, error) { return s.killSome(nodes/2 + 1) }

func (s *strike) killSome(n int) (bool, error) {
	victims, release := s.victims(n)
	defer release()
	if len(victims) < n {
		return false, nil
	}
	for _, i := range victims {
		if err := s.c.Signal(i, syscall.SIGKILL); err != nil {
			return false, err
		}
	}
	s.say("killed nodes %v", victims)
	for _, i := range victims {
		if err := s.c.Kill(i); err != nil {
			return false, err
		}
	}
	s.wait()
	for _, i := range victims {
		if err := s.c.Start(i); err != nil {
			return false, err
		}
	}
	s.say("started nodes %v", victims)
	return true, nil
}

func (s *strike) terminate() (bool, error) {
	victims, release := s.victims(1)
	defer release()
	if len(victims) == 0 {
		return false, nil
	}
	return true, s.restart(victims[0])
}

// handOver stops the leader gracefully. The fault has hit if another node leads.
func (s *strike) handOver() (bool, error) {
	leader, _ := s.c.leader(s.ctx)
	s.mu.Lock()
	free := leader > 0 && !s.busy[leader]
	if free {
		s.busy[leader] = true
	}
	s.mu.Unlock()
	if !free {
		return false, nil
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, leader)
	}()
	if err := s.restart(leader); err != nil {
		return false, err
	}
	next, _ := s.c.leader(s.ctx)
	return next != leader, nil
}

func (s *strike) restart(i int) error {
	s.say("stop node %d gracefully", i)
	if err := s.c.Stop(i); err != nil {
		return fmt.Errorf("node %d did not stop with status 0: %w", i, err)
	}
	s.wait()
	s.say("start node %d", i)
	return s.c.Start(i)
}

func (s *strike) pause() (bool, error) {
	victims, release := s.victims(1)
	defer release()
	if len(victims) == 0 {
		return false, nil
	}
	i := victims[0]
	if err := s.c.Signal(i, syscall.SIGSTOP); err != nil {
		return false, err
	}
	stopped := false
	for range 200 {
		if stopped = stoppedByKernel(s.c.PID(i)); stopped {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.say("froze node %d for %s", i, s.lasts)
	s.wait()
	s.beforeThaw(i)
	s.say("thaw node %d", i)
	return stopped, s.c.Signal(i, syscall.SIGCONT)
}

// stoppedByKernel reports whether the kernel says that a process is stopped.
func stoppedByKernel(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	text := string(b)
	return strings.HasPrefix(text[strings.LastIndexByte(text, ')')+1:], " T")
}

// wipe kills a node and empties its directory, so that it comes back as a new
// one. One of a cluster is enough: its chunks are gone with it.
func (s *strike) wipe() (bool, error) {
	before, after, err := s.comeBackNew()
	return err == nil && before != after, err
}

// replace wipes a node, and has an operator say that the old one will not come
// back. It has hit when the old one is no member any more.
func (s *strike) replace() (bool, error) {
	before, after, err := s.comeBackNew()
	if err != nil || before == after {
		return false, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, verbTimeout)
	defer cancel()
	return s.untilMembers(ctx, func(l admin.MemberList) bool {
		old, isMember := member(l, before)
		if _, joined := member(l, after); isMember && joined {
			s.decide(ctx, metadata.MembersChange{Verb: metadata.MembersReplace, Node: old.ID, Version: l.Version})
		}
		return !isMember
	}), nil
}

// comeBackNew empties a node's directory and returns whose it was before and
// after, or the same twice if that cannot be done now.
func (s *strike) comeBackNew() (before, after layout.NodeID, err error) {
	s.mu.Lock()
	again := s.wiped
	s.wiped = true
	s.mu.Unlock()
	victims, release := s.victims(1)
	defer release()
	if again || len(victims) == 0 {
		return before, before, nil
	}
	i := victims[0]
	if before, err = s.nodeID(i); err != nil {
		return before, before, err
	}
	if err := s.c.Kill(i); err != nil {
		return before, before, err
	}
	if err := s.c.emptyDir(i); err != nil {
		return before, before, err
	}
	s.say("wiped node %d, %s", i, before)
	s.wait()
	if err := s.c.Start(i); err != nil {
		return before, before, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if after, err = s.nodeID(i); err == nil {
			s.say("node %d is now %s", i, after)
			return before, after, nil
		}
		if time.Now().After(deadline) {
			return before, before, fmt.Errorf("wiped node %d has no new identity: %w", i, err)
		}
	}
}

// nodeID is what the directory of node i says about whose it is.
func (s *strike) nodeID(i int) (id layout.NodeID, err error) {
	b, err := os.ReadFile(filepath.Join(s.c.DataDir(i), "node.json"))
	if err != nil {
		return id, err
	}
	var identity struct{ Node layout.NodeID }
	err = json.Unmarshal(b, &identity)
	return identity.Node, err
}

// verbTimeout bounds the patience of an operator.
const verbTimeout = 15 * time.Second

// demote takes a voter's vote, the leader's more often than not, and later
// gives it back. It has hit when the voter is seen without.
func (s *strike) demote() (hit bool, err error) {
	var victim layout.NodeID
	leads := s.rnd.IntN(3) > 0
	ctx, cancel := context.WithTimeout(s.ctx, verbTimeout)
	defer cancel()
	hit = s.untilMembers(ctx, func(l admin.MemberList) bool {
		m, known := member(l, victim)
		if known && m.Role == admin.RoleNonvoter {
			return true
		}
		if !known {
			for _, m := range l.Members {
				if m.Role == admin.RoleVoter && !leads || m.Role == admin.RoleLeader && leads {
					victim = m.ID
				}
			}
		}
		if m.Wish != metadata.WishNoVote.String() && victim != (layout.NodeID{}) {
			s.decide(ctx, metadata.MembersChange{Verb: metadata.MembersDemote, Node: victim, Version: l.Version})
		}
		return false
	})
	s.say("demoted %s (the leader: %v): %v", victim, leads, hit)
	s.wait()
	back, cancel := context.WithTimeout(s.ctx, verbTimeout)
	defer cancel()
	voted := hit && s.untilMembers(back, func(l admin.MemberList) bool {
		m, _ := member(l, victim)
		if m.Wish != metadata.WishVote.String() {
			s.decide(back, metadata.MembersChange{Verb: metadata.MembersPromote, Node: victim, Version: l.Version})
		}
		return m.Role == admin.RoleVoter || m.Role == admin.RoleLeader
	})
	s.say("promoted %s: %v", victim, voted)
	return hit, nil
}

// untilMembers shows look the members, as any node tells, until it is content.
func (s *strike) untilMembers(ctx context.Context, look func(admin.MemberList) bool) bool {
	for ctx.Err() == nil {
		if c, err := s.c.Admin(1 + s.rnd.IntN(nodes)); err == nil {
			asking, cancel := context.WithTimeout(ctx, 2*time.Second)
			l, err := c.Members(asking)
			cancel()
			if err == nil && look(l) {
				return true
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

// decide asks any node for a change. A refusal is no failure: the membership
// may be another by now, or too few answer.
func (s *strike) decide(ctx context.Context, change metadata.MembersChange) {
	c, err := s.c.Admin(1 + s.rnd.IntN(nodes))
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err = c.ChangeMembers(ctx, change)
	}
	s.say("%s %s: %v", change.Verb, change.Node, err)
}

func member(l admin.MemberList, id layout.NodeID) (admin.Member, bool) {
	for _, m := range l.Members {
		if m.ID == id {
			return m, true
		}
	}
	return admin.Member{}, false
}

// link is one direction between two nodes.
type link struct{ from, to int }

// drop loses a share of what some links carry. It has hit if packets were lost.
func (s *strike) drop(links []link, share float64) (hit bool, err error) {
	var total int
	var heal []func() (int, error)
	defer func() {
		for _, h := range heal {
			packets, errHeal := h()
			total += packets
			err = errors.Join(err, errHeal)
		}
		s.say("healed; %d packets were lost", total)
		hit = total > 0
	}()
	for _, l := range links {
		fault, err := s.c.network.Drop(l.from, l.to, share)
		if err != nil {
			return false, err
		}
		heal = append(heal, fault.Heal)
	}
	s.wait()
	return false, nil
}

// target picks the node a cut is about: the leader more often than not.
func (s *strike) target() int {
	if leader, _ := s.c.leader(s.ctx); leader > 0 && s.rnd.IntN(3) > 0 {
		return leader
	}
	return 1 + s.rnd.IntN(nodes)
}

// others are all nodes but one.
func others(i int) (all []int) {
	for j := 1; j <= nodes; j++ {
		if j != i {
			all = append(all, j)
		}
	}
	return all
}

func (s *strike) isolate() (bool, error) {
	i := s.target()
	var links []link
	for _, j := range others(i) {
		links = append(links, link{i, j}, link{j, i})
	}
	s.say("cut off node %d for %s", i, s.lasts)
	return s.drop(links, 1)
}

func (s *strike) split() (bool, error) {
	order := s.rnd.Perm(nodes)
	var links []link
	for _, a := range order[:nodes/2] {
		for _, b := range order[nodes/2:] {
			links = append(links, link{a + 1, b + 1}, link{b + 1, a + 1})
		}
	}
	s.say("split %v for %s", order, s.lasts)
	return s.drop(links, 1)
}

func (s *strike) deafen() (bool, error) {
	i := s.target()
	var links []link
	for _, j := range others(i) {
		links = append(links, link{j, i})
	}
	s.say("node %d hears nobody for %s", i, s.lasts)
	return s.drop(links, 1)
}

func (s *strike) mute() (bool, error) {
	i := s.target()
	var links []link
	for _, j := range others(i) {
		links = append(links, link{i, j})
	}
	s.say("nobody hears node %d for %s", i, s.lasts)
	return s.drop(links, 1)
}

func (s *strike) cutLink() (bool, error) {
	i := s.target()
	j := others(i)[s.rnd.IntN(nodes-1)]
	l := link{i, j}
	if s.rnd.IntN(2) == 0 {
		l = link{j, i}
	}
	s.say("nothing from node %d reaches node %d for %s", l.from, l.to, s.lasts)
	return s.drop([]link{l}, 1)
}

func (s *strike) lose() (bool, error) {
	share := 0.05 + 0.35*s.rnd.Float64()
	var links []link
	for i := 1; i <= nodes; i++ {
		for _, j := range others(i) {
			links = append(links, link{i, j})
		}
	}
	s.say("every link loses %.0f %% for %s", 100*share, s.lasts)
	return s.drop(links, share)
}
