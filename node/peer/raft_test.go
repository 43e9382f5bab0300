package peer_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"partstore/chunkstore"
	"partstore/node/peer"
)

func TestRaftConnection(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testRaftConnection(t, false) })
	t.Run("TLS", func(t *testing.T) { testRaftConnection(t, true) })
}

func testRaftConnection(t *testing.T, tls bool) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, stop := serveOn(t, ln, peer.ServerConfig{TLS: tls})
	defer stop()
	raft := s.RaftListener()
	if got := raft.Addr().String(); got != serverID.String() {
		t.Errorf("Addr = %s, want %s", got, serverID)
	}
	c := clientTo(t, ln.Addr().String(), func(cfg *peer.ClientConfig) { cfg.TLS = tls })
	for n := range 5 {
		conn, err := c.DialRaft(t.Context(), serverID)
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := raft.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// Both directions, the asked side first: its bytes may arrive together
		// with the answer of the handshake.
		talk(t, accepted, conn, fmt.Sprintf("welcome %d", n))
		talk(t, conn, accepted, fmt.Sprintf("thanks %d", n))
		if err := errors.Join(conn.Close(), accepted.Close()); err != nil {
			t.Error(err)
		}
	}
}

func talk(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("received %q, %v; want %q", got, err, text)
	}
}

// TestRaftBytesAfterTheHandshakeAreKept plays a node whose first Raft bytes
// come in the same segment as the answer of the handshake.
func TestRaftBytesAfterTheHandshakeAreKept(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		request := make([]byte, 4096)
		if _, err := conn.Read(request); err != nil {
			t.Error(err)
			return
		}
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: partstore-raft\r\n"+
			"Partstore-Node: "+serverID.String()+"\r\n\r\nearly bytes")
		if err != nil {
			t.Error(err)
		}
	}()
	conn, err := clientTo(t, ln.Addr().String(), nil).DialRaft(t.Context(), serverID)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "early bytes" {
		t.Errorf("received %q, %v", got, err)
	}
	<-done
}

func TestClosedRaftListenerRefuses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, stop := serveOn(t, ln, peer.ServerConfig{})
	defer stop()
	raft := s.RaftListener()
	c := clientTo(t, ln.Addr().String(), nil)
	waiting, err := c.DialRaft(t.Context(), serverID) // nobody accepts it
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if err := errors.Join(raft.Close(), raft.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(waiting); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("dropped connection: %v", err)
	}
	if _, err := raft.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, want %v", err, net.ErrClosed)
	}
	if _, err := c.DialRaft(t.Context(), serverID); !errors.Is(err, chunkstore.ErrUnavailable) {
		t.Errorf("DialRaft = %v, want %v", err, chunkstore.ErrUnavailable)
	}
}
