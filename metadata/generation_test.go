package metadata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// restart brings a node back with an empty directory, as the given generation.
func (c *cluster) restart(n *testNode, gen Generation) {
	c.t.Helper()
	n.gen = gen
	n.dir = filepath.Join(c.dir, fmt.Sprintf("%s-%d", n.id, gen))
	if err := os.RemoveAll(n.dir); err != nil {
		c.t.Fatal(err)
	}
	c.start(n)
}

// Property: a voter that lost its directory cannot make anything vanish that
// was acknowledged, for it comes back as another server. As the same one it
// does: that half of the test shows that the other can fail.
func TestAWipedVoterLosesNothingAcknowledged(t *testing.T) {
	for _, gen := range []Generation{1, 2} {
		t.Run(fmt.Sprintf("back as generation %d", gen), func(t *testing.T) {
			c := newCluster(t, 3, func(cfg *Config) { cfg.Timeout = 2 * time.Second })
			stock(t, c.nodes[0])
			a := c.leader()
			var others []*testNode
			for _, n := range c.nodes {
				if n != a {
					others = append(others, n)
				}
			}
			wiped, behind := others[0], others[1]
			c.eventually("equal copies", func() bool { return behind.fsm.applied.load() == a.fsm.applied.load() })
			c.net.isolate(behind.id, cutAll)
			if err := a.CreateBucket(t.Context(), Bucket{Name: "acknowledged", Owner: "me"}); err != nil {
				t.Fatal(err)
			}
			c.stop(a)
			c.stop(wiped)
			n := wiped
			if gen == 1 {
				if err := os.RemoveAll(n.dir); err != nil {
					t.Fatal(err)
				}
			}
			c.restart(n, gen)
			c.net.isolate(behind.id, cutNothing)

			if gen == 1 {
				c.leader() // of an empty node and one that has missed the write
				if _, err := behind.Bucket(t.Context(), "acknowledged"); !errors.Is(err, ErrBucketNotFound) {
					t.Errorf("Bucket with a voter that forgot = %v; this half must show the loss", err)
				}
				return
			}
			if err := behind.AddMember(t.Context(), n.id, gen); !errors.Is(err, ErrUnavailable) {
				t.Errorf("AddMember without a quorum = %v, want ErrUnavailable", err)
			}
			if _, err := behind.Bucket(t.Context(), "acknowledged"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Bucket without a quorum = %v, want ErrUnavailable", err)
			}
			c.start(a)
			c.net.isolate(behind.id, cutNothing) // and from this one
			c.eventually("the new generation as a member", func() bool {
				return c.leader().AddMember(t.Context(), n.id, gen) == nil
			})
			c.eventually("what was acknowledged, on all nodes", func() bool {
				for _, n := range c.nodes {
					if _, err := n.Bucket(t.Context(), "acknowledged"); err != nil {
						return false
					}
				}
				return true
			})
		})
	}
}

// Property: an earlier generation is never added, a later one takes its place.
func TestAddMemberOfGenerations(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.MembersInterval = time.Hour })
	lead := c.leader()
	node := c.follower().id
	member := func() (found []raft.Server) {
		for _, s := range lead.servers() {
			if nodeOf(s.ID) == node {
				found = append(found, s)
			}
		}
		return found
	}
	for _, step := range []struct {
		add   Generation
		want  error
		is    Generation
		voter bool
	}{
		{1, nil, 1, true},
		{3, nil, 3, false},
		{2, ErrInvalid, 3, false},
		{1, ErrInvalid, 3, false},
		{0, ErrInvalid, 3, false},
		{3, nil, 3, false},
	} {
		if err := lead.AddMember(t.Context(), node, step.add); !errors.Is(err, step.want) {
			t.Errorf("AddMember of generation %d = %v, want %v", step.add, err, step.want)
		}
		got := member()
		if len(got) != 1 || got[0].ID != (server{node, step.is}).id() || (got[0].Suffrage == raft.Voter) != step.voter {
			t.Errorf("after generation %d: %v, want generation %d, voter %t", step.add, got, step.is, step.voter)
		}
	}
	if err := lead.AddMember(t.Context(), lead.id, 2); !errors.Is(err, ErrInvalid) {
		t.Errorf("AddMember of the leader's next generation = %v, want ErrInvalid", err)
	}
}

// Property: the answer of one generation never counts as that of another.
func TestAGenerationAnswersForItselfOnly(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.MembersInterval, cfg.Timeout = time.Hour, time.Second })
	lead := c.leader()
	other := c.follower()
	third := c.voterExcept(lead, other)
	for _, gen := range []Generation{1, 2} {
		_, err := lead.call(t.Context(), server{other.id, gen}, request{kind: messageTerm}, lead.cfg.Peers.Term)
		if (err == nil) != (gen == 1) {
			t.Errorf("question for generation %d answered by generation 1: %v", gen, err)
		}
	}
	liar := func(_ context.Context, _ layout.NodeID, b []byte) ([]byte, error) {
		var q request
		if err := decodeValue(b, q.code); err != nil {
			return nil, err
		}
		a := answer{kind: q.kind, from: server{other.id, 2}, number: q.number, term: q.term}
		return encodeValue(a.code)
	}
	if _, err := lead.call(t.Context(), other.self, request{kind: messageTerm}, liar); !errors.Is(err, errMalformed) {
		t.Errorf("answer of another generation = %v, want errMalformed", err)
	}
	// The next generation of the follower answers no connection for this one.
	c.stop(third)
	c.stop(other)
	c.restart(other, 2)
	if err := lead.confirmTerm(t.Context(), lead.raft.CurrentTerm(), []server{{other.id, 1}}, 1); !errors.Is(err, errNoQuorum) {
		t.Errorf("confirmation by the next generation = %v, want errNoQuorum", err)
	}
	if err := lead.CreateBucket(t.Context(), Bucket{Name: "b", Owner: "me"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("CreateBucket with the next generation in place of a voter = %v, want ErrUnavailable", err)
	}
}

// Property: a Raft connection is only read from by the server it is meant for,
// and a silent one holds up nobody else.
func TestConnectionsSayWhomTheyMean(t *testing.T) {
	us := owner{layout.ClusterID{1}, server{testNodeID(1), 2}}
	good := hello{us.cluster, server{testNodeID(2), 1}, us.server}
	for name, change := range map[string]func(h *hello){
		"":                   func(*hello) {},
		"another cluster":    func(h *hello) { h.cluster[0]++ },
		"another node":       func(h *hello) { h.to.node = testNodeID(3) },
		"earlier generation": func(h *hello) { h.to.generation-- },
		"later generation":   func(h *hello) { h.to.generation++ },
	} {
		h := good
		change(&h)
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(append(encodeHello(h), "call"...))
			_ = far.Close()
		}()
		var b [4]byte
		_, err := (&accepted{Conn: near, self: us}).Read(b[:])
		if (err == nil) != (name == "") {
			t.Errorf("connection for %s: %v", name, err)
		}
		if err == nil && string(b[:]) != "call" {
			t.Errorf("read %q after the hello", b)
		}
		_ = near.Close()
	}
}

func FuzzHello(f *testing.F) {
	f.Add(encodeHello(hello{layout.ClusterID{1}, server{testNodeID(2), 1}, server{testNodeID(3), 4}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil {
			return
		}
		if again := encodeHello(h); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}

func FuzzServerID(f *testing.F) {
	f.Add(server{testNodeID(2), 17}.String())
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseServer(text)
		if err == nil && s.String() != text {
			t.Fatalf("%q is read as %v", text, s)
		}
	})
}

// Property: a node whose log is damaged under load, follower or leader, goes
// out of service, comes back as its next generation and votes again; nothing
// that was acknowledged is lost and no read is wrong.
func TestDamagedNodesComeBackUnderLoad(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 200, 20, 50*time.Millisecond
	})
	stock(t, c.nodes[0])
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var acknowledged []UploadRef
	var reads atomic.Int64
	var nodes [3]atomic.Pointer[Raft] // what is open now; a node out of service answers too
	for i, n := range c.nodes {
		nodes[i].Store(n.Raft)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	for w := range 6 {
		work.Go(func() {
			for i := w; ctx.Err() == nil; i++ {
				ref := UploadRef{Bucket: "b", Key: fmt.Sprint(w), ID: layout.NewUploadID()}
				err := nodes[i%3].Load().CreateUpload(ctx, Upload{UploadRef: ref, Created: time.Unix(1, 0)})
				if err != nil {
					if !errors.Is(err, ErrUnavailable) {
						t.Errorf("CreateUpload: %v", err)
					}
					continue
				}
				mu.Lock()
				acknowledged = append(acknowledged, ref)
				mu.Unlock()
				_, err = nodes[(i+1)%3].Load().Upload(ctx, ref)
				if err != nil && !errors.Is(err, ErrUnavailable) {
					t.Errorf("Upload of what was acknowledged: %v", err)
				}
				if err == nil {
					reads.Add(1)
				}
			}
		})
	}
	busy := func() {
		before := reads.Load()
		c.eventually("reads", func() bool { return reads.Load() > before+100 })
	}
	for _, role := range []string{"follower", "leader"} {
		busy()
		n := c.follower()
		if role == "leader" {
			n = c.leader()
		}
		harmLog(t, filepath.Join(n.dir, logName))
		if err := n.Run(t.Context()); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: Run = %v, want ErrDamaged", role, err)
		}
		c.stop(n)
		c.restart(n, n.self.generation+1)
		for i := range c.nodes {
			if c.nodes[i] == n {
				nodes[i].Store(n.Raft)
			}
		}
		c.eventually("a place for the "+role, func() bool { return c.leader().AddMember(t.Context(), n.id, n.gen) == nil })
		c.eventually("a vote for the "+role, func() bool {
			voters, _ := c.leader().otherVoters()
			return len(voters) == 2
		})
		busy()
	}
	stop()
	work.Wait()
	for _, ref := range acknowledged {
		for i, n := range c.nodes {
			if _, err := n.Upload(t.Context(), ref); err != nil {
				t.Fatalf("node %d: acknowledged upload: %v", i, err)
			}
		}
	}
	t.Logf("%d acknowledged, %d read elsewhere", len(acknowledged), reads.Load())
	c.sameState()
}

// harmLog flips a bit of the newest meta page, which a busy log replaces; until
// a change meets it.
func harmLog(t testing.TB, path string) {
	t.Helper()
	flip(t, path, boltHeader+60, 1)
	flip(t, path, logPageSize+boltHeader+60, 1)
}
