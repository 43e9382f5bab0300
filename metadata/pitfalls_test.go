package metadata

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// What Raft's library offers and this package must not use, because each was
// seen to go wrong.
var pitfalls = map[string]string{
	"VerifyLeader":         "counts non-voters, and answers to heartbeats sent before it was called",
	"Barrier":              "never reaches the rows: who waits for its index waits for ever",
	"AppliedIndex":         "is what was handed to the state machine, not what it has applied",
	"RestoreCommittedLogs": "loses the configuration, or hangs, when it starts from a long log",
	"LastContact":          "says nothing about what the leader has done since", // but for people: status.go
}

func TestPitfallsAreNotUsed(t *testing.T) {
	set := token.NewFileSet()
	packages, err := parser.ParseDir(set, ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range packages["metadata"].Files {
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && !(name == "status.go" && s.Sel.Name == "LastContact") {
				if x, ok := s.X.(*ast.SelectorExpr); ok && x.Sel.Name == "raft" && pitfalls[s.Sel.Name] != "" {
					t.Errorf("%s: %s %s", set.Position(n.Pos()), s.Sel.Name, pitfalls[s.Sel.Name])
				}
			}
			return true
		})
	}
}

// A follower hears of a commit with the next message from its leader. On an idle
// cluster that is CommitTimeout away, twice that at most: a read after a write
// must not wait for a heartbeat.
func TestPitfallIdleFollowerHearsOfACommitSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.form(3)
		const most = 2 * 50 * time.Millisecond // see world.config
		for range 100 {
			time.Sleep(time.Second)
			lead := w.leaders()[0]
			ref := newUpload(t, lead, "b", "k")
			for _, p := range w.running() {
				begun := time.Now()
				if _, err := p.Upload(t.Context(), ref); err != nil {
					t.Errorf("Upload = %v", err)
				}
				if took := time.Since(begun); took > most {
					t.Errorf("the read took %s, want at most %s", took, most)
				}
			}
		}
		w.close()
	})
}

// A leader that has only non-voters on its side is none, however many they are
// and whatever they answer.
func TestPitfallNonVotersConfirmNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		opened := 0
		w.tune = func(c *Config) {
			if opened++; opened == 2 { // to be deposed, and not to notice by itself
				c.HeartbeatTimeout, c.LeaseTimeout = time.Hour, time.Hour
			}
		}
		w.form(4)
		old := w.nodes[1].up()
		if lead := w.leaders()[0]; lead != old {
			transfer := lead.raft.LeadershipTransferToServer(old.self.id(), old.self.address())
			if err := lead.await(t.Context(), transfer); err != nil {
				t.Fatalf("transfer leadership: %v", err)
			}
			w.within(time.Minute, "leader that is slow to notice", func() bool { _, ok := old.leads(); return ok })
		}
		var with, without []*virtualNode
		var nonVoter *process
		for _, p := range w.running() {
			switch votes := slices.Contains(old.voterIDs(), p.node.id); {
			case p == old:
				with = append(with, p.node)
			case !votes:
				with, nonVoter = append(with, p.node), p
			default:
				without = append(without, p.node)
			}
		}
		if nonVoter == nil || len(without) != 2 {
			t.Fatalf("%d nodes without the leader, non-voter %v", len(without), nonVoter)
		}
		var links []link
		for _, a := range with {
			for _, b := range without {
				links = append(links, link{a.id, b.id}, link{b.id, a.id})
			}
		}
		heal := w.net.block(links...)
		other := without[0].up()
		ref := newUpload(t, other, "b", "k") // by a new leader
		if _, ok := old.leads(); !ok {
			t.Fatal("the deposed leader has noticed; the test shows nothing")
		}
		for _, p := range []*process{old, nonVoter} {
			if _, err := p.Upload(t.Context(), ref); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Upload on the wrong side = %v, want ErrUnavailable", err)
			}
		}
		heal()
		w.close()
	})
}

func (p *Raft) voterIDs() (ids []layout.NodeID) {
	for _, s := range p.servers() {
		if s.Suffrage == raft.Voter {
			ids = append(ids, nodeOf(s.ID))
		}
	}
	return ids
}

// Raft may leave futures open when it shuts down. All callers return, and the
// bubble shows that no goroutine waits for such a future.
func TestPitfallShutdownLeavesNobodyWaiting(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed, 1)
			w.net.setWeather(weather{delay: time.Millisecond})
			w.form(3)
			var callers sync.WaitGroup
			for _, p := range w.running() {
				for range 32 {
					callers.Go(func() {
						for {
							err := p.CreateUpload(t.Context(), Upload{UploadRef: UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}})
							if err == nil {
								_, err = p.Bucket(t.Context(), "b")
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
			time.Sleep(100*time.Millisecond + time.Duration(seed)*137*time.Microsecond)
			w.close()
			callers.Wait()
		})
	}
}

// A forwarded command that was held up since an earlier term must not act: its
// sender has long asked somebody else.
func TestCommandsOfAnotherTermAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.form(3)
		lead := w.leaders()[0]
		term := lead.raft.CurrentTerm()
		for _, of := range []uint64{term - 1, term, term + 1} {
			cmd, err := encodeCommand(&createBucket{Request: layout.NewRequestID(), Bucket: Bucket{Name: "late"}})
			if err != nil {
				t.Fatal(err)
			}
			q := request{kind: messagePropose, cluster: w.id, to: lead.self, term: of, commands: [][]byte{cmd}}
			b, err := encodeValue(q.code)
			if err != nil {
				t.Fatal(err)
			}
			var a answer
			if b, err = lead.HandlePropose(t.Context(), b); err != nil || decodeValue(b, a.code) != nil {
				t.Fatalf("HandlePropose = %v", err)
			}
			if accepted := a.status == statusOK; accepted != (of == term) {
				t.Errorf("a command of term %d in term %d: status %d", of, term, a.status)
			}
		}
		w.close()
	})
}

// Who comes while a round is under way gets the answer of the next one: the one
// under way may have been asked before something that was acknowledged since.
func TestRoundsAnswerOnlyWhatWasAskedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		asked := 0
		r := newRounds(ctx, &wg, func(context.Context) (int, error) {
			asked++
			n := asked
			time.Sleep(time.Second)
			return n, nil
		})
		want := func(n int) {
			if got, err := r.join(ctx); err != nil || got != n {
				t.Errorf("join = %d, %v; want the answer of round %d", got, err, n)
			}
		}
		wg.Go(func() { want(1) })
		time.Sleep(time.Second / 2)
		for range 3 {
			wg.Go(func() { want(2) })
		}
		time.Sleep(time.Minute)
		want(3)
		cancel()
		wg.Wait()
	})
}

// The monotonic clock of a leader goes back: registry time stands still until it
// has caught up, and above all does not wrap around.
func TestAClockThatGoesBackStopsRegistryTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.form(3)
		lead := w.leaders()[0]
		before := lead.Now()
		lead.node.jump.Add(-int64(time.Hour))
		time.Sleep(time.Minute)
		if now := lead.Now(); now < before || now > before+layout.RegistryTime(time.Minute.Milliseconds()) {
			t.Errorf("registry time went from %d to %d in a minute", before, now)
		}
		lead.node.jump.Add(int64(time.Hour))
		time.Sleep(time.Minute)
		if now := lead.Now(); now <= before {
			t.Errorf("registry time is still %d", now)
		}
		w.close()
	})
}
