package peer_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/node/peer"
)

// TestConnectionsAreReused makes sure that a complete exchange leaves its
// connection for the next one: one for HTTP and one for chunks are enough.
// Refusals of reads and small requests are complete.
func TestConnectionsAreReused(t *testing.T) {
	w := &wire{}
	c := clientTo(t, serverOf(t, chunkstore.NewMemory()), func(cfg *peer.ClientConfig) { cfg.Dial = w.dial })
	s := c.Store(serverID, storeID)
	for n := range 20 {
		id := chunkstoretest.ID(n)
		content := chunkstoretest.Content(id, n*layout.BlockSize+n)
		if err := chunkstoretest.Write(t.Context(), s, id, nil, content); err != nil {
			t.Fatal(err)
		}
		if _, err := chunkstoretest.Read(t.Context(), s, id, 0, -1); err != nil {
			t.Fatal(err)
		}
		if err := readBlock(t.Context(), s, id); err != nil && n > 0 {
			t.Fatal(err)
		}
		for _, count := range []int64{-1, 1, 3, 40} {
			if _, err := chunkstoretest.ReadRuns(t.Context(), s, id, 0, count, 4); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Open(t.Context(), chunkstoretest.ID(n+100), 0, -1); !errors.Is(err, chunkstore.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), chunkstoretest.ID(n+100)); !errors.Is(err, chunkstore.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := c.Call(t.Context(), serverID, "nobody", nil); !errors.Is(err, peer.ErrUnknownService) {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.dialled(); n != 2 {
		t.Errorf("%d connections were opened, want 2", n)
	}
}

// readBlock reads the first block of a chunk and never asks whether that was
// all, as a reader of ranges does.
func readBlock(ctx context.Context, s chunkstore.Store, id layout.ChunkID) error {
	r, err := s.Open(ctx, id, 0, 1)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Next(make([]byte, layout.BlockSize))
	return err
}

// TestRestartedPeer restarts the peer behind idle connections, again and again.
func TestRestartedPeer(t *testing.T) {
	memory := chunkstore.NewMemory()
	cfg := peer.ServerConfig{Stores: func(layout.StoreID) (chunkstore.Store, bool) { return memory, true }}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_, stop := serveOn(t, ln, cfg)
	defer func() { stop() }()
	s := clientTo(t, addr, nil).Store(serverID, storeID)
	for n := range 10 {
		id := chunkstoretest.ID(n)
		content := chunkstoretest.Content(id, n%2*9*layout.BlockSize+5)
		if err := chunkstoretest.Write(t.Context(), s, id, nil, content); err != nil {
			t.Errorf("write after %d restarts: %v", n, err)
		}
		stop()
		waitFor(t, func() bool {
			ln, err = net.Listen("tcp", addr)
			return err == nil
		})
		_, stop = serveOn(t, ln, cfg)
		if _, err := s.Stat(t.Context(), id); err != nil {
			t.Errorf("Stat after %d restarts: %v", n+1, err)
		}
		if _, err := chunkstoretest.Read(t.Context(), s, id, 0, -1); err != nil {
			t.Errorf("Read after %d restarts: %v", n+1, err)
		}
	}
}

// waitFor polls ok, for a minute at most.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never happened")
		}
	}
}

func TestShutdownFinishesWhatIsUnderWay(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, stop := serveOn(t, ln, peer.ServerConfig{Calls: map[string]peer.Handler{
		"slow": func(context.Context, layout.NodeID, []byte) ([]byte, error) {
			close(began)
			<-finish
			return []byte("done"), nil
		},
	}})
	defer stop()
	c := clientTo(t, ln.Addr().String(), nil)
	type result struct {
		answer []byte
		err    error
	}
	results := make(chan result, 1)
	go func() {
		answer, err := c.Call(t.Context(), serverID, "slow", nil)
		results <- result{answer, err}
	}()
	<-began
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	waitFor(t, func() bool {
		_, err := c.Call(t.Context(), serverID, "other", nil)
		return errors.Is(err, peer.ErrUnreachable)
	})
	close(finish)
	if r := <-results; r.err != nil || string(r.answer) != "done" {
		t.Errorf("call under way = %q, %v", r.answer, r.err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}
