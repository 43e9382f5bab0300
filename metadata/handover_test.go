package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

func TestPaceIgnoresASlowAppendNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		appends := func(n int, took time.Duration, err error) {
			for range n {
				if got := p.measure(func() error { time.Sleep(took); return err }); !errors.Is(got, err) {
					t.Fatalf("measure = %v, want %v", got, err)
				}
			}
		}
		want := func(when string, want time.Duration) {
			t.Helper()
			if got := p.now(); got != want {
				t.Errorf("pace %s = %s, want %s", when, got, want)
			}
		}
		appends(paceAppends-1, time.Millisecond, nil)
		want("after too few", 0)
		appends(100, time.Minute, errCut)
		want("after failures", 0)
		appends(1, time.Millisecond, nil)
		want("after enough", time.Millisecond)
		appends(paceIgnores, time.Second, nil)
		want("after a few slow ones", time.Millisecond)
		appends(1, time.Second, nil)
		want("after more of them", time.Second)
		appends(paceAppends, 2*time.Millisecond, nil)
		want("of a disk that has recovered", 2*time.Millisecond)
	})
}

func TestBetterLeader(t *testing.T) {
	const ms = time.Millisecond
	voter := func(applied uint64, pace time.Duration) seat {
		return seat{votes: true, answers: true, caughtUp: true, applied: applied, pace: pace}
	}
	change := func(s seat, f func(*seat)) seat { f(&s); return s }
	slow := voter(9, 400*ms)
	cramped := change(voter(9, 2*ms), func(s *seat) { s.room = roomLow })
	tests := []struct {
		name  string
		seats []seat // the first leads
		want  int    // after slowLooks looks
	}{
		{"all are fast", []seat{voter(9, 2*ms), voter(9, 2*ms), voter(9, 1*ms)}, -1},
		{"all are slow", []seat{slow, voter(9, 300*ms), voter(9, 101*ms)}, -1},
		{"the others are much faster", []seat{slow, voter(9, 100*ms), voter(8, 20*ms)}, 2},
		{"of two as fast, the one that is further", []seat{slow, voter(8, 20*ms), voter(9, 20*ms)}, 2},
		{"many times slower, and still fast", []seat{voter(9, 49*ms), voter(9, 1*ms)}, -1},
		{"the pace of the others is not known", []seat{slow, voter(9, 0), voter(9, 0)}, -1},
		{"of one other it is known", []seat{slow, voter(9, 0), voter(8, 20*ms)}, 2},
		{"our own is not known", []seat{voter(9, 0), voter(9, 1*ms)}, -1},
		{"the fast one has not caught up", []seat{slow, change(voter(5, ms), func(s *seat) { s.caughtUp = false })}, -1},
		{"the fast one did not take leadership", []seat{slow, change(voter(9, ms), func(s *seat) { s.hangs = true })}, -1},
		{"the fast one has no vote", []seat{slow, change(voter(9, ms), func(s *seat) { s.votes = false })}, -1},
		{"the fast one has little room", []seat{slow, change(voter(9, ms), func(s *seat) { s.room = roomLow })}, -1},
		{"a pace nobody has", []seat{slow, voter(9, 1<<63-1)}, -1},
		{"little room", []seat{cramped, voter(8, 0), voter(9, 0)}, 2},
		{"little room everywhere", []seat{cramped, cramped}, -1},
		{"little room, and the others are slow", []seat{cramped, voter(9, 500*ms)}, 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var b betterLeader
			var got int
			for range slowLooks {
				got, _ = b.look(tc.seats, 0)
			}
			if got != tc.want {
				t.Errorf("after %d looks: %d, want %d", slowLooks, got, tc.want)
			}
		})
	}
}

// A disk that is slow for a moment costs no leadership.
func TestSlownessMustLast(t *testing.T) {
	var b betterLeader
	for round := range 10 {
		for range slowLooks - 1 {
			if to, _ := b.look([]seat{{pace: time.Second}, {votes: true, caughtUp: true, pace: 1}}, 0); to >= 0 {
				t.Fatalf("round %d: hands over too soon", round)
			}
		}
		b.look([]seat{{pace: time.Millisecond}, {votes: true, caughtUp: true, pace: 1}}, 0)
	}
}

// slowLog is a log on a disk that takes its time, or does not answer at all.
type slowLog struct {
	logFile
	disk *slowDisk
}

type slowDisk struct {
	takes atomic.Int64 // nanoseconds more for each append
	stuck sync.RWMutex // held for writing: nothing goes on
}

func (l slowLog) StoreLogs(logs []*raft.Log) error {
	time.Sleep(time.Duration(l.disk.takes.Load()))
	l.disk.stuck.RLock()
	defer l.disk.stuck.RUnlock()
	return l.logFile.StoreLogs(logs)
}

// newSlowCluster returns a cluster, the disk of each node, and who was given
// leadership how often.
func newSlowCluster(t *testing.T) (c *cluster, disks map[layout.NodeID]*slowDisk, given func(layout.NodeID) int) {
	disks = map[layout.NodeID]*slowDisk{}
	var mu sync.Mutex
	counts := map[layout.NodeID]int{}
	c = newCluster(t, 3, func(cfg *Config) {
		d := &slowDisk{}
		disks[cfg.Node] = d
		cfg.disk = &disk{fs: vfs.Default, openLog: func(path string, create bool) (logFile, error) {
			l, err := realDisk().openLog(path, create)
			return slowLog{l, d}, err
		}}
		cfg.onStep = func(change memberChange, node layout.NodeID) {
			if change == changeHandOver {
				mu.Lock()
				defer mu.Unlock()
				counts[node]++
			}
		}
	})
	return c, disks, func(n layout.NodeID) int {
		mu.Lock()
		defer mu.Unlock()
		return counts[n]
	}
}

// Leadership leaves a node whose disk gets slow, and is not given back to it
// while it is, although its log is as long as that of the others.
func TestLeadershipMovesOffASlowDisk(t *testing.T) {
	c, disks, given := newSlowCluster(t)
	stock(t, c.nodes[0])
	slow := c.leader()
	disks[slow.id].takes.Store(int64(200 * time.Millisecond))
	commits := 0
	commit := func() {
		commits++
		if err := c.nodes[commits%3].CreateBucket(t.Context(), Bucket{Name: fmt.Sprint("bucket-", commits)}); err != nil {
			t.Fatalf("CreateBucket: %v", err)
		}
	}
	c.eventually("another leader", func() bool {
		commit()
		_, leads := slow.leads()
		return !leads
	})
	c.leader(slow)
	for range 3 * paceAppends {
		commit()
	}
	if n := given(slow.id); n > 0 {
		t.Errorf("the slow node was given leadership %d times", n)
	}
	if pace := slow.pace.now(); pace < slowAppend {
		t.Errorf("pace of the slow disk is %s", pace)
	}
	disks[slow.id].takes.Store(0)
	c.sameState()
}

// A leader whose disk does not answer at all falls silent, and the others go on
// without it. Nothing it was busy with is lost or done twice.
func TestStuckDiskOfTheLeaderDoesNotStopTheOthers(t *testing.T) {
	c, disks, _ := newSlowCluster(t)
	stock(t, c.nodes[0])
	stuck := c.leader()
	disks[stuck.id].stuck.Lock()
	release := sync.OnceFunc(disks[stuck.id].stuck.Unlock)
	defer release() // or closing would wait for it
	held := make(chan error, 1)
	go func() { held <- stuck.CreateBucket(context.WithoutCancel(t.Context()), Bucket{Name: "held"}) }()
	other := c.leader(stuck)
	if err := other.CreateBucket(t.Context(), Bucket{Name: "after"}); err != nil {
		t.Errorf("CreateBucket through the next leader: %v", err)
	}
	release()
	if err := <-held; err != nil {
		t.Errorf("CreateBucket that began on the stuck leader: %v", err)
	}
	c.sameState()
	for _, name := range []string{"held", "after"} {
		if _, err := stuck.Bucket(t.Context(), name); err != nil {
			t.Errorf("bucket %s on the node whose disk was stuck: %v", name, err)
		}
	}
}

// A voter whose log does not answer is offered leadership once. Asked twice,
// Raft would take no command for as long as that log hangs.
func TestAHandOverThatHangsStopsNoWrites(t *testing.T) {
	c, disks, _ := newSlowCluster(t)
	stock(t, c.nodes[0])
	lead := c.leader()
	hung := c.follower()
	disks[hung.id].stuck.Lock()
	release := sync.OnceFunc(disks[hung.id].stuck.Unlock)
	defer release() // or closing would wait for it
	create := func(name string) {
		t.Helper()
		if err := lead.CreateBucket(t.Context(), Bucket{Name: name}); err != nil {
			t.Fatalf("CreateBucket %s: %v", name, err)
		}
	}
	for i := range 200 { // more than may be on their way to it
		create(fmt.Sprint("waits-", i))
	}
	offer := func() error {
		seats, err := lead.seats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(seats, func(s seat) bool { return s.node == hung.id })
		if seats[i].hangs {
			return errNoHeir
		}
		return lead.transfer(t.Context(), seats[i])
	}
	if err := offer(); err == nil || errors.Is(err, errNoHeir) {
		t.Fatalf("first offer to a node whose log hangs: %v", err)
	}
	if err := offer(); !errors.Is(err, errNoHeir) {
		t.Fatalf("second offer to it: %v, want %v", err, errNoHeir)
	}
	create("after")
	release()
	c.eventually("the node can be offered leadership again", func() bool { return offer() == nil })
	c.sameState()
}
