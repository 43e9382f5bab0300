package metadata

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"partstore/internal/layout"
)

// lessWithRace is how much of n a test does: with the race detector a fifth,
// which meets the same code. A step of .ci/run does all of it without.
func lessWithRace(n int) int {
	if raceEnabled {
		return n / 5
	}
	return n
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(m.Run()) // what it leaves behind ends with it
	}
	goleak.VerifyTestMain(m)
}

// newUpload opens an upload under a fresh ID.
func newUpload(t testing.TB, r Registry, bucket, key string) UploadRef {
	t.Helper()
	ref := UploadRef{Bucket: bucket, Key: key, ID: layout.NewUploadID()}
	if err := r.CreateUpload(t.Context(), Upload{UploadRef: ref, Created: time.Unix(1, 0)}); err != nil {
		t.Fatalf("CreateUpload: %v", err)
	}
	return ref
}

func TestEveryNodeAnswersWhatAnyNodeWrote(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprintf("%d nodes", n), func(t *testing.T) {
			c := newCluster(t, n, nil)
			if err := c.nodes[0].CreateBucket(t.Context(), Bucket{Name: "b", Owner: "me"}); err != nil {
				t.Fatalf("CreateBucket: %v", err)
			}
			for _, writer := range c.nodes {
				ref := newUpload(t, writer, "b", "key")
				for i, reader := range c.nodes {
					if u, err := reader.Upload(t.Context(), ref); err != nil || u.UploadRef != ref {
						t.Errorf("node %d: Upload(%v) = %v, %v", i, ref, u, err)
					}
				}
				if err := writer.AbortUpload(t.Context(), ref); err != nil {
					t.Errorf("AbortUpload: %v", err)
				}
				for i, reader := range c.nodes {
					if _, err := reader.UploadOpen(t.Context(), ref); i != 0 && err != nil && !errors.Is(err, ErrUploadNotFound) {
						t.Errorf("node %d: UploadOpen of aborted upload = %v", i, err)
					}
					if _, err := reader.Upload(t.Context(), ref); !errors.Is(err, ErrUploadNotFound) {
						t.Errorf("node %d: Upload of aborted upload = %v, want ErrUploadNotFound", i, err)
					}
				}
			}
		})
	}
}

// stock makes bucket "b", registers a node with stores and creates groups, and
// returns the incarnation to commit with.
func stock(t testing.TB, r Registry) (inc layout.Incarnation) {
	t.Helper()
	decide(t, "CreateBucket", ErrBucketExists, func() error {
		return r.CreateBucket(t.Context(), Bucket{Name: "b", Owner: "me"})
	})
	start, groups := testTopology(1)
	decide(t, "StartNode", nil, func() (err error) {
		inc, err = r.StartNode(t.Context(), start.StartNode)
		return err
	})
	decide(t, "CreateGroups", ErrGroupsExist, func() error {
		return r.CreateGroups(t.Context(), groups.Scheme, groups.Groups)
	})
	return inc
}

// decide has a call made, again if its outcome is not known: a test with a
// short Config.Timeout does not mean that for what it begins with. done is what
// a repeat may say.
func decide(t testing.TB, what string, done error, call func() error) {
	t.Helper()
	repeated := false
	poll(t, what, func() bool {
		err := call()
		switch {
		case errors.Is(err, ErrUnavailable):
			repeated = true
			return false
		case err != nil && !(repeated && done != nil && errors.Is(err, done)):
			t.Fatalf("%s: %v", what, err)
		}
		return true
	})
}

func TestLeaderLossIsAPauseNotAnError(t *testing.T) {
	c := newCluster(t, 5, nil)
	inc := stock(t, c.nodes[0])
	victim := c.leader()
	ref := newUpload(t, c.follower(), "b", "k")
	missing := UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}

	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var seq, after atomic.Uint64
	for _, n := range c.nodes {
		if n == victim {
			continue
		}
		for w := range 3 {
			work.Go(func() {
				for ctx.Err() == nil {
					s := seq.Add(1)
					p := testPart(layout.PartNumber(s%1000), 1, layout.NewAttemptID(inc, n.Now(), s))
					if err := n.CommitPart(t.Context(), ref, p); err != nil {
						t.Errorf("CommitPart: %v", err)
						return
					}
					if _, err := n.Upload(t.Context(), missing); !errors.Is(err, ErrUploadNotFound) {
						t.Errorf("Upload of unknown ID = %v", err)
						return
					}
					if _, err := n.Upload(t.Context(), ref); err != nil {
						t.Errorf("Upload of open upload = %v (worker %d)", err, w)
						return
					}
					after.Add(1)
				}
			})
		}
	}
	poll(t, "work before the loss", func() bool { return after.Load() > 50 })
	c.stop(victim)
	c.leader()
	done := after.Load()
	poll(t, "work after the loss", func() bool { return after.Load() > done+50 || t.Failed() })
	stop()
	work.Wait()
}

func TestCutOffNodeKnowsNothing(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	ref := newUpload(t, c.leader(), "b", "k")
	for _, cut := range []*testNode{c.follower(), c.leader()} {
		if _, err := cut.Upload(t.Context(), ref); err != nil {
			t.Fatalf("Upload before the cut: %v", err)
		}
		c.net.isolate(cut.id, cutAll)
		unknown := UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := cut.Upload(ctx, unknown); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Upload on a node cut off = %v, want ErrUnavailable", err)
		}
		if _, err := cut.UploadOpen(ctx, unknown); !errors.Is(err, ErrUnavailable) {
			t.Errorf("UploadOpen on a node cut off = %v, want ErrUnavailable", err)
		}
		if _, err := cut.BucketRights(ctx, "no-such-bucket"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("BucketRights of an unknown bucket on a node cut off = %v, want ErrUnavailable", err)
		}
		if _, err := cut.UploadOpen(ctx, ref); err != nil {
			t.Errorf("UploadOpen of a local upload on a node cut off = %v", err)
		}
		if err := cut.AbortUpload(ctx, unknown); !errors.Is(err, ErrUnavailable) {
			t.Errorf("AbortUpload on a node cut off = %v, want ErrUnavailable", err)
		}
		c.net.isolate(cut.id, cutNothing)
		if _, err := cut.Upload(t.Context(), unknown); !errors.Is(err, ErrUploadNotFound) {
			t.Errorf("Upload after the cut = %v, want ErrUploadNotFound", err)
		}
	}
}

// A deposed leader that has not noticed yet still believes in its rows. Only
// the voters' terms tell it otherwise.
func TestDeposedLeaderDoesNotAnswerFromOldRows(t *testing.T) {
	opened := 0
	c := newCluster(t, 3, func(cfg *Config) {
		if opened++; opened == 3 { // the one to depose: slow to notice
			cfg.HeartbeatTimeout, cfg.LeaseTimeout = 10*time.Minute, 10*time.Minute
		}
	})
	old := c.nodes[2]
	stock(t, c.nodes[1])
	if lead := c.leader(); lead != old {
		transfer := lead.raft.LeadershipTransferToServer(old.self.id(), old.self.address())
		if err := lead.await(t.Context(), transfer); err != nil {
			t.Fatalf("transfer leadership: %v", err)
		}
		c.eventually("the slow leader", func() bool { _, ok := old.leads(); return ok })
	}
	c.net.isolate(old.id, cutRaft)
	ref := newUpload(t, c.leader(old), "b", "k")
	if _, ok := old.leads(); !ok {
		t.Fatal("the deposed leader has noticed; the test shows nothing")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := old.Upload(ctx, ref); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Upload on the deposed leader = %v, want ErrUnavailable", err)
	}
	c.net.isolate(old.id, cutNothing)
	if _, err := old.Upload(t.Context(), ref); err != nil {
		t.Errorf("Upload on the former leader = %v, want the upload", err)
	}
}

// gatedLog is a log that takes an append only when it is let through.
type gatedLog struct {
	logFile
	gate *gate
}

type gate struct {
	shut    atomic.Bool
	waiting atomic.Int64
	through chan struct{} // one token lets one append through, closing it all
}

func (l gatedLog) StoreLogs(logs []*raft.Log) error {
	if l.gate.shut.Load() {
		l.gate.waiting.Add(1)
		<-l.gate.through
		l.gate.waiting.Add(-1)
	}
	return l.logFile.StoreLogs(logs)
}

// A new leader has all that was acknowledged in its log, and does not know of the
// last of it that it was: until it has committed an entry of its own, its rows
// say nothing.
func TestALeaderBeforeItsFenceAnswersNothing(t *testing.T) {
	gates := map[layout.NodeID]*gate{}
	c := newCluster(t, 3, func(cfg *Config) {
		g := &gate{through: make(chan struct{})}
		gates[cfg.Node] = g
		cfg.TickInterval, cfg.MembersInterval = time.Hour, time.Hour // no other entries
		cfg.disk = &disk{fs: vfs.Default, openLog: func(path string, create bool) (logFile, error) {
			l, err := realDisk().openLog(path, create)
			return gatedLog{l, g}, err
		}}
	})
	stock(t, c.nodes[0])
	c.sameState()
	old, next := c.leader(), c.follower()
	voter := c.nodes[slices.IndexFunc(c.nodes, func(n *testNode) bool { return n != old && n != next })]
	release := sync.OnceFunc(func() { close(gates[next.id].through) })
	defer release() // or closing would wait for it
	for _, n := range []*testNode{next, voter} {
		gates[n.id].shut.Store(true)
	}
	ref := UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}
	created := make(chan error, 1)
	go func() { created <- old.CreateUpload(t.Context(), Upload{UploadRef: ref, Created: time.Unix(1, 0)}) }()
	c.eventually("the entry on its way into both logs", func() bool {
		return gates[next.id].waiting.Load() == 1 && gates[voter.id].waiting.Load() == 1
	})
	c.net.separate(old.id, next.id, cutRaft) // nobody tells it that the entry is committed
	close(gates[voter.id].through)
	if err := <-created; err != nil {
		t.Fatalf("CreateUpload: %v", err)
	}
	c.net.mu.Lock()
	c.net.cut[[2]layout.NodeID{voter.id, next.id}] = cutRaft // it cannot win
	c.net.mu.Unlock()
	c.stop(old)
	gates[next.id].through <- struct{}{}
	c.eventually("a leader that commits nothing yet", func() bool {
		return next.raft.State() == raft.Leader && gates[next.id].waiting.Load() == 1
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := next.Upload(ctx, ref); !errors.Is(err, ErrUnavailable) {
			t.Errorf("an acknowledged upload, on a leader without a fence: %v, want ErrUnavailable", err)
		}
		cancel()
	}
	release()
	if _, err := next.Upload(t.Context(), ref); err != nil {
		t.Errorf("the upload afterwards: %v", err)
	}
}

func TestUnknownIDDuringLeaderChanges(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	for range 5 {
		ref := newUpload(t, c.follower(), "b", "k")
		done := make(chan error, 1)
		go func() { done <- c.leader().TransferLeadership(context.WithoutCancel(t.Context())) }()
		for i, n := range c.nodes {
			if _, err := n.Upload(t.Context(), UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}); !errors.Is(err, ErrUploadNotFound) {
				t.Errorf("node %d: unknown upload = %v", i, err)
			}
			if _, err := n.Upload(t.Context(), ref); err != nil {
				t.Errorf("node %d: open upload = %v", i, err)
			}
		}
		<-done // a transfer may lose to an election
	}
}

// A planned stop is a short pause also when a voter is away: leadership goes to
// one that answers, however much was sent to the other.
func TestLeadershipIsHandedToAVoterThatAnswers(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	for away := range c.nodes {
		old := c.leader()
		if c.nodes[away] == old {
			continue
		}
		c.net.isolate(c.nodes[away].id, cutAll)
		if err := old.TransferLeadership(t.Context()); err != nil {
			t.Fatalf("with node %d away: %v", away, err)
		}
		if next := c.leader(old); next == c.nodes[away] {
			t.Errorf("node %d leads, which is away", away)
		}
		c.net.isolate(c.nodes[away].id, cutNothing)
		newUpload(t, c.nodes[away], "b", "k") // it is back
	}
}

func TestNewNodeJoinsBySnapshotAndIsPromoted(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 20, 1, 10*time.Millisecond
	})
	first := c.nodes[0]
	stock(t, first)
	ref := newUpload(t, first, "b", "k")
	for range 60 {
		newUpload(t, first, "b", "other")
	}
	poll(t, "a snapshot", func() bool { return first.Status().SnapshotIndex > 20 })
	second, third := c.add(), c.add()

	// A new node has no rows, and must not mistake that for an answer.
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := second.UploadOpen(short, ref); !errors.Is(err, ErrUnavailable) {
		t.Errorf("UploadOpen on a node that is no member = %v, want ErrUnavailable", err)
	}
	for _, n := range []*testNode{second, third} {
		for range 2 { // adding twice is once
			if err := first.AddMember(t.Context(), n.id, 1); err != nil {
				t.Fatalf("AddMember: %v", err)
			}
		}
		if _, err := n.UploadOpen(t.Context(), ref); err != nil {
			t.Errorf("UploadOpen on a new member = %v", err)
		}
	}
	poll(t, "three voters", func() bool {
		return countVoters(first.servers()) == 3
	})
	fourth := c.add()
	if err := c.follower().AddMember(t.Context(), fourth.id, 1); err != nil {
		t.Fatalf("AddMember through a follower: %v", err)
	}
	if _, err := fourth.Upload(t.Context(), UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}); !errors.Is(err, ErrUploadNotFound) {
		t.Errorf("unknown upload on a non-voter = %v", err)
	}
	if n := countVoters(c.leader().servers()); n != 3 {
		t.Errorf("%d voters of four members, want 3", n)
	}
	fifth := c.add()
	if err := fourth.AddMember(t.Context(), fifth.id, 1); err != nil {
		t.Fatalf("AddMember through a non-voter: %v", err)
	}
	poll(t, "five voters", func() bool { return countVoters(c.leader().servers()) == 5 })
	if err := c.change(fourth, MembersChange{Verb: MembersPromote, Node: layout.NewNodeID()}); !errors.Is(err, ErrInvalid) {
		t.Errorf("promote a stranger = %v, want ErrInvalid", err)
	}
	if err := c.change(fourth, MembersChange{Verb: MembersRemove, Node: fifth.id}); err != nil {
		t.Errorf("remove: %v", err)
	}
	c.settled()
	c.sameState()
}

// sameState waits until all members have the rows the leader has then.
func (c *cluster) sameState() {
	c.t.Helper()
	lead := c.leader()
	for i, n := range c.nodes {
		member := slices.ContainsFunc(lead.servers(), func(s raft.Server) bool { return s.ID == n.self.id() })
		if !c.running[n.id] || !member {
			continue
		}
		c.eventually(fmt.Sprintf("state of node %d", i), func() bool { return hashOf(c.t, n) == hashOf(c.t, lead) })
	}
}

func hashOf(t testing.TB, n *testNode) (h [32]byte) {
	t.Helper()
	err := n.view(func(rows pebble.Reader) (err error) {
		h, err = stateHash(rows)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRestartKeepsEverything(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 30, 5, 10*time.Millisecond
	})
	inc := stock(t, c.nodes[0])
	ref := newUpload(t, c.nodes[0], "b", "k")
	seq := uint64(0)
	for round := range 4 {
		n := c.nodes[round%3]
		for range 40 {
			seq++
			if err := n.CommitPart(t.Context(), ref, testPart(layout.PartNumber(seq), 1, layout.NewAttemptID(inc, n.Now(), seq))); err != nil {
				t.Fatalf("CommitPart: %v", err)
			}
		}
		if round == 3 {
			for _, n := range c.nodes { // all at once, at the end
				c.stop(n)
			}
			for _, n := range c.nodes {
				c.start(n)
			}
		} else {
			c.stop(n)
			c.start(n)
		}
	}
	for i, n := range c.nodes {
		page, err := n.Parts(t.Context(), ref, -1, 1000)
		if err != nil || page.Total != int(seq) || len(page.Parts) != int(seq) {
			t.Errorf("node %d: %d parts, %d listed, %v; want %d", i, page.Total, len(page.Parts), err, seq)
		}
	}
	c.sameState()
}

// After a power loss Pebble may have forgotten what it had not synced, even
// all of it; snapshot and log bring it back.
func TestRowsBehindTheSnapshotAreRestored(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 10, 1, 10*time.Millisecond
	})
	n := c.nodes[0]
	stock(t, n)
	ref := newUpload(t, n, "b", "k")
	poll(t, "a snapshot", func() bool {
		newUpload(t, n, "b", "more")
		return n.Status().SnapshotIndex > 10
	})
	c.stop(n)
	if err := os.RemoveAll(filepath.Join(n.dir, "state")); err != nil {
		t.Fatal(err)
	}
	// What an interrupted restore and an interrupted snapshot leave behind.
	for _, leftover := range []string{"state/building", "snapshots/partial-000000ff"} {
		if err := os.MkdirAll(filepath.Join(n.dir, leftover), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.start(n)
	if _, err := n.Upload(t.Context(), ref); err != nil {
		t.Errorf("Upload after the loss = %v", err)
	}
	for _, leftover := range []string{"state/building", "snapshots/partial-000000ff"} {
		if _, err := os.Stat(filepath.Join(n.dir, leftover)); !os.IsNotExist(err) {
			t.Errorf("%s was not swept: %v", leftover, err)
		}
	}
}

func TestRestartWithManyParts(t *testing.T) {
	const parts = 10000
	uploads := lessWithRace(10)
	c := newCluster(t, 1, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 100, 10, 10*time.Millisecond
	})
	n := c.nodes[0]
	inc := stock(t, n)
	var refs []UploadRef
	for u := range uploads {
		ref := newUpload(t, n, "b", fmt.Sprint(u))
		refs = append(refs, ref)
		for i := 0; i < parts; i += maxPackCommands { // as a follower's packs come in
			var commands [][]byte
			for j := i; j < min(parts, i+maxPackCommands); j++ {
				p := testPart(layout.PartNumber(j), 5<<20, layout.NewAttemptID(inc, 0, uint64(u*parts+j)))
				enc, err := encodeCommand(commitOf(ref, p))
				if err != nil {
					t.Fatal(err)
				}
				commands = append(commands, enc)
			}
			for _, out := range n.local.submit(t.Context(), commands...) {
				if err := errors.Join(out.err, out.result.err()); err != nil {
					t.Fatalf("CommitPart: %v", err)
				}
			}
		}
	}
	c.stop(n)
	c.start(n)
	for _, ref := range refs {
		page, err := n.Parts(t.Context(), ref, 100, 10)
		if err != nil || page.Total != parts || len(page.Parts) != 10 || page.Parts[0].Number != 101 {
			t.Fatalf("Parts = %d of %d, %v", len(page.Parts), page.Total, err)
		}
	}
	c1 := CompleteUpload{UploadRef: refs[0]}
	for i := range parts {
		c1.Parts = append(c1.Parts, CompletePart{Number: layout.PartNumber(i)})
	}
	if o, err := n.CompleteUpload(t.Context(), c1); err != nil || o.Parts != parts {
		t.Errorf("CompleteUpload of %d parts = %d, %v", parts, o.Parts, err)
	}
	// A second node gets all of it by snapshot.
	second := c.add()
	if err := n.AddMember(t.Context(), second.id, 1); err != nil {
		t.Fatal(err)
	}
	if _, got, err := second.ObjectParts(t.Context(), "b", "0"); err != nil || len(got) != parts {
		t.Errorf("ObjectParts on the new node = %d parts, %v", len(got), err)
	}
}

func TestIdleConfigurationEntriesDoNotBlockReads(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.MembersInterval = time.Hour })
	n := c.nodes[0]
	stock(t, n)
	away := layout.NewNodeID()
	if err := n.AddMember(t.Context(), away, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Bucket(t.Context(), "b"); err != nil {
		t.Errorf("read on top of a configuration entry = %v", err)
	}
	c.stop(n)
	c.start(n) // now a no-op is on top, and then the fence
	if _, err := n.Bucket(t.Context(), "b"); err != nil {
		t.Errorf("read on top of a new term = %v", err)
	}
}

func TestCloseReleasesCallersInFlight(t *testing.T) {
	c := newCluster(t, 3, nil)
	stock(t, c.nodes[0])
	lead, follow := c.leader(), c.follower()
	var work sync.WaitGroup
	for _, n := range []*testNode{lead, follow} {
		for range 64 {
			work.Go(func() {
				for {
					err := n.CreateUpload(t.Context(), Upload{UploadRef: UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}})
					if err == nil {
						_, err = n.Bucket(t.Context(), "b")
					}
					if errors.Is(err, ErrUnavailable) {
						return
					}
					if err != nil {
						t.Errorf("in flight at Close: %v, want ErrUnavailable", err)
						return
					}
				}
			})
		}
	}
	before := lead.fsm.applied.load()
	poll(t, "load", func() bool { return lead.fsm.applied.load() > before+10 })
	c.stop(lead)
	c.stop(follow)
	work.Wait()
	if err := lead.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestUnreadableEntryTakesTheNodeOutOfService(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.Timeout = time.Second })
	n := c.nodes[0]
	c.leader()
	stock(t, n)
	// As a newer binary would write it.
	n.raft.Apply(encodePack(pack{commands: [][]byte{{commandVersion + 1, 1}}}), time.Second)
	if err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "command version 2") {
		t.Errorf("Run = %v, want the reason", err)
	}
	if _, err := n.Bucket(t.Context(), "b"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Bucket on a node out of service = %v, want ErrUnavailable", err)
	}
	if n.Status().Failed == nil {
		t.Error("Status does not say so")
	}
}

func TestRegistryTimeSurvivesLeaders(t *testing.T) {
	var elapsed atomic.Int64 // all nodes' monotonic clock
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.TickInterval = 20 * time.Millisecond
		cfg.elapsed = func() time.Duration { return time.Duration(elapsed.Load()) }
	})
	c.leader()
	elapsed.Add(int64(time.Hour))
	hour := layout.RegistryTime(time.Hour.Milliseconds())
	for _, n := range c.nodes {
		c.eventually("an hour", func() bool { return n.Now() == hour })
	}
	old := c.leader()
	c.stop(old)
	elapsed.Add(int64(time.Hour)) // nobody leads, nobody counts
	next := c.leader(old)
	base := next.Now()
	elapsed.Add(int64(time.Hour))
	c.eventually("another hour", func() bool { return next.Now() >= base+hour })
}

func TestTopologyIsAnnounced(t *testing.T) {
	c := newCluster(t, 3, nil)
	n := c.follower()
	top, version := n.LocalTopology()
	if len(top.Members) != 0 || top.Cluster != c.id {
		t.Errorf("LocalTopology of an empty registry = %+v", top)
	}
	changed := n.TopologyChanged(version)
	stock(t, c.nodes[0])
	<-changed
	if got, err := n.Topology(t.Context()); err != nil || len(got.Stores) != 6 || len(got.Groups) != 2 || got.Scheme.Data != 4 {
		t.Errorf("Topology = %+v, %v", got, err)
	}
	if local, now := n.LocalTopology(); now == version || len(local.Groups) != 2 {
		t.Errorf("LocalTopology after Topology = version %d, %+v", now, local)
	}
	select {
	case <-n.TopologyChanged(version):
	default:
		t.Error("TopologyChanged of an old version is not closed")
	}
}

func TestStrayMessagesAreRefused(t *testing.T) {
	c := newCluster(t, 1, nil)
	n := c.leader()
	good := request{kind: messageTerm, cluster: c.id, to: n.self, number: 4}
	for name, change := range map[string]func(*request){
		"another cluster":    func(q *request) { q.cluster = layout.NewClusterID() },
		"another node":       func(q *request) { q.to.node = layout.NewNodeID() },
		"another generation": func(q *request) { q.to.generation++ },
		"another kind":       func(q *request) { q.kind = messageReadIndex },
	} {
		q := good
		change(&q)
		b, err := encodeValue(q.code)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.HandleTerm(t.Context(), b); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	b, err := encodeValue(good.code)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if b, err = n.HandleTerm(t.Context(), b); err != nil || decodeValue(b, a.code) != nil || a.from != n.self || a.number != 4 || a.term == 0 {
		t.Errorf("HandleTerm = %+v, %v", a, err)
	}
	bad := request{kind: messagePropose, cluster: c.id, to: n.self, term: a.term, commands: [][]byte{{commandVersion, 99}}}
	if b, err = encodeValue(bad.code); err != nil {
		t.Fatal(err)
	}
	if _, err := n.HandlePropose(t.Context(), b); !errors.Is(err, ErrInvalid) {
		t.Errorf("HandlePropose of an unknown command = %v, want ErrInvalid", err)
	}
}

func TestBootstrapTwice(t *testing.T) {
	c := newCluster(t, 1, nil)
	n := c.leader()
	if err := n.Bootstrap([]layout.NodeID{n.id}); err != nil {
		t.Errorf("second Bootstrap = %v", err)
	}
	if err := n.Bootstrap([]layout.NodeID{layout.NewNodeID()}); err == nil {
		t.Error("Bootstrap of a bootstrapped node with others succeeded")
	}
}
