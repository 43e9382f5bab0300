package cluster

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"partstore/internal/layout"
)

// patience bounds every wait; it is not a claim about speed.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// join starts a member on a port of its own that knows the given seeds.
func join(t *testing.T, secret string, id layout.NodeID, listen string, seeds ...*Cluster) *Cluster {
	t.Helper()
	return run(t, Config{Self: Member{ID: id, Name: "n", Zone: "z", Host: "127.0.0.1"}, Listen: listen, Secret: secret}, seeds...)
}

func run(t *testing.T, cfg Config, seeds ...*Cluster) *Cluster {
	t.Helper()
	for _, s := range seeds {
		cfg.Seeds = append(cfg.Seeds, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())))
	}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func sees(c *Cluster, id layout.NodeID) bool {
	return slices.ContainsFunc(c.Members(), func(m Member) bool { return m.ID == id })
}

func TestMembersSeeEachOtherAndTheirChanges(t *testing.T) {
	a := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0")
	b := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0", a)
	eventually(t, "both see both", func() bool { return sees(a, b.self.ID) && sees(b, a.self.ID) })
	want := layout.NewClusterID()
	if err := b.Update(func(self *Member) { self.Cluster, self.Formed = want, true }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a hears of b's cluster", func() bool {
		m, ok := a.Member(b.self.ID)
		return ok && m.Formed && m.Cluster == want
	})
}

// Whoever picks ports wants to know that somebody else was faster.
func TestATakenPortIsToldApart(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		port := 0
		if network == "tcp" {
			l, err := net.Listen(network, "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			port = l.Addr().(*net.TCPAddr).Port
		} else {
			l, err := net.ListenPacket(network, "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			port = l.LocalAddr().(*net.UDPAddr).Port
		}
		if _, err := newTransport("127.0.0.1", port, log.New(io.Discard, "", 0), nil); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s port in use: %v", network, err)
		}
	}
}

func TestAWrongSecretStaysOutside(t *testing.T) {
	a := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0")
	stranger := join(t, "another", layout.NewNodeID(), "127.0.0.1:0", a)
	friend := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0", a)
	eventually(t, "a friend gets in", func() bool { return sees(a, friend.self.ID) })
	if sees(a, stranger.self.ID) || sees(stranger, a.self.ID) {
		t.Error("a node with another secret is a member")
	}
}

// TestANodeThatDiffersInTLSIsNoMember: nobody asks it what it could not
// understand, and both logs say why.
func TestANodeThatDiffersInTLSIsNoMember(t *testing.T) {
	var log lockedBuffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	a := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0")
	other := run(t, Config{
		Self:   Member{ID: layout.NewNodeID(), Name: "n", Zone: "z", Host: "127.0.0.1", TLS: true},
		Listen: "127.0.0.1:0", Secret: "secret", Logger: logger,
	}, a)
	eventually(t, "the log says why", func() bool { return strings.Contains(log.String(), "peer_tls") })
	friend := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0", a)
	eventually(t, "a friend gets in", func() bool { return sees(a, friend.self.ID) })
	if sees(a, other.self.ID) || sees(other, a.self.ID) {
		t.Error("a node that differs in TLS is a member")
	}
}

func TestANodeThatNobodyLetsInSaysSo(t *testing.T) {
	var log lockedBuffer
	a := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0")
	run(t, Config{
		Self:   Member{ID: layout.NewNodeID(), Name: "n", Zone: "z", Host: "127.0.0.1"},
		Listen: "127.0.0.1:0", Secret: "another", Logger: slog.New(slog.NewTextHandler(&log, nil)), rejoin: 10 * time.Millisecond,
	}, a)
	eventually(t, "the log names the secret", func() bool { return strings.Contains(log.String(), "cluster_secret") })
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestACrashedNodeReturnsAtAnotherAddress(t *testing.T) {
	a := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0")
	b := join(t, "secret", layout.NewNodeID(), "127.0.0.1:0", a)
	eventually(t, "b is in", func() bool { return sees(a, b.self.ID) })
	if err := b.Close(); err != nil { // no goodbye
		t.Fatal(err)
	}
	back := join(t, "secret", b.self.ID, "127.0.0.1:0", a)
	if back.Port() == b.Port() {
		t.Skip("got the old port again")
	}
	if err := back.Update(func(self *Member) { self.PeerPort = 4711 }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a knows b at its new address", func() bool {
		m, ok := a.Member(b.self.ID)
		return ok && m.PeerPort == 4711
	})
}
