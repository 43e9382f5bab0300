package peer_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/node/peer"
)

// slowCommit is a store whose commits call a function once they are done.
type slowCommit struct {
	chunkstore.Store
	done func()
}

type slowWriter struct {
	chunkstore.Writer
	done func()
}

func (s slowCommit) Create(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error) {
	w, err := s.Store.Create(ctx, id, label)
	return slowWriter{w, s.done}, err
}

func (w slowWriter) Commit() error {
	err := w.Writer.Commit()
	w.done()
	return err
}

// TestShutdownFinishesChunkUnderWay shuts the peer down while it commits.
func TestShutdownFinishesChunkUnderWay(t *testing.T) {
	for name, size := range map[string]int{"message": 5, "stream": 3 * layout.BlockSize} {
		t.Run(name, func(t *testing.T) {
			began, finish := make(chan struct{}), make(chan struct{})
			store := slowCommit{chunkstore.NewMemory(), func() { close(began); <-finish }}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server, stop := serveOn(t, ln, peer.ServerConfig{
				Stores: func(layout.StoreID) (chunkstore.Store, bool) { return store, true },
			})
			defer stop()
			remote := clientTo(t, ln.Addr().String(), nil).Store(serverID, storeID)
			id := chunkstoretest.ID(1)
			written := make(chan error, 1)
			go func() {
				written <- chunkstoretest.Write(t.Context(), remote, id, nil, chunkstoretest.Content(id, size))
			}()
			<-began
			down := make(chan error, 1)
			go func() { down <- server.Shutdown(t.Context()) }()
			waitFor(t, func() bool {
				_, err := remote.Stat(t.Context(), id)
				return errors.Is(err, chunkstore.ErrUnavailable)
			})
			select {
			case err := <-down:
				t.Errorf("Shutdown = %v before the chunk was committed", err)
			default:
			}
			close(finish)
			if err := errors.Join(<-written, <-down); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnswerLostAfterCommit breaks the connection between commit and answer. A
// message on a connection that had been idle is sent again, and finds that it
// was carried out; any other writer cannot know.
func TestAnswerLostAfterCommit(t *testing.T) {
	for _, tc := range []struct {
		name   string
		reused bool
		size   int
		want   error
	}{
		{"message on an idle connection", true, 5, chunkstore.ErrExists},
		{"message on a new connection", false, 5, chunkstore.ErrUnavailable},
		{"stream on an idle connection", true, 3 * layout.BlockSize, chunkstore.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cables := &wire{}
			var once sync.Once
			memory := chunkstore.NewMemory()
			var store chunkstore.Store = slowCommit{memory, func() { once.Do(cables.cutAll) }}
			remote := clientTo(t, serve(t, peer.ServerConfig{
				Stores: func(layout.StoreID) (chunkstore.Store, bool) { return store, true },
			}), func(cfg *peer.ClientConfig) { cfg.Dial = cables.dial }).Store(serverID, storeID)
			if tc.reused {
				if _, err := remote.Open(t.Context(), chunkstoretest.ID(9), 0, 1); !errors.Is(err, chunkstore.ErrNotFound) {
					t.Fatal(err)
				}
			}
			id := chunkstoretest.ID(1)
			content := chunkstoretest.Content(id, tc.size)
			if err := chunkstoretest.Write(t.Context(), remote, id, nil, content); !errors.Is(err, tc.want) {
				t.Errorf("Write = %v, want %v", err, tc.want)
			}
			if _, err := memory.Stat(t.Context(), id); err != nil {
				t.Errorf("Stat at the peer = %v", err)
			}
		})
	}
}

// TestPeerRestartsInMidStream ends the peer, with all its connections, between
// two blocks: nothing is committed, and the next chunk finds its successor.
func TestPeerRestartsInMidStream(t *testing.T) {
	memory := newWatched(chunkstore.NewMemory())
	cfg := peer.ServerConfig{Stores: func(layout.StoreID) (chunkstore.Store, bool) { return memory, true }}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_, stop := serveOn(t, ln, cfg)
	remote := clientTo(t, addr, nil).Store(serverID, storeID)
	w, err := remote.Create(t.Context(), chunkstoretest.ID(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	block := make([]byte, layout.BlockSize)
	for range 4 {
		if err := w.WriteBlock(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := confirm(t, w); err != nil {
		t.Fatal(err)
	}
	stop()
	waitFor(t, func() bool {
		ln, err = net.Listen("tcp", addr)
		return err == nil
	})
	_, stop = serveOn(t, ln, cfg)
	defer func() { stop() }()
	for err = nil; err == nil; {
		err = w.WriteBlock(block)
	}
	if !errors.Is(err, chunkstore.ErrUnavailable) || !errors.Is(w.Commit(), chunkstore.ErrUnavailable) {
		t.Errorf("write over a restart = %v, want %v", err, chunkstore.ErrUnavailable)
	}
	<-memory.ended
	if n := memory.committed.Load(); n != 0 {
		t.Errorf("%d chunks were committed", n)
	}
	id := chunkstoretest.ID(2)
	if err := chunkstoretest.Write(t.Context(), remote, id, nil, chunkstoretest.Content(id, 3*layout.BlockSize)); err != nil {
		t.Errorf("write after a restart = %v", err)
	}
}
