package peer_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/node/peer"
)

// frozen listens, accepts, and never reads or answers.
func frozen(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
		for _, conn := range conns {
			conn.Close()
		}
	})
	return ln.Addr().String()
}

// endlessWrite writes blocks until that fails.
func endlessWrite(ctx context.Context, s chunkstore.Store) error {
	w, err := s.Create(ctx, chunkstoretest.ID(1), nil)
	if err != nil {
		return err
	}
	defer w.Abort()
	block := make([]byte, layout.BlockSize)
	for {
		if err := w.WriteBlock(block); err != nil {
			return err
		}
	}
}

// confirmOne asks whether the store would take a chunk.
func confirmOne(ctx context.Context, s chunkstore.Store) error {
	w, err := s.Create(ctx, chunkstoretest.ID(1), nil)
	if err != nil {
		return err
	}
	defer w.Abort()
	return w.(interface{ Confirm() error }).Confirm()
}

// everything is every way to wait for a peer.
func everything(ctx context.Context, c *peer.Client) map[string]error {
	s := c.Store(serverID, storeID)
	_, statErr := s.Stat(ctx, chunkstoretest.ID(1))
	_, listErr := s.List(ctx, layout.ChunkID{}, 1)
	_, openErr := s.Open(ctx, chunkstoretest.ID(1), 0, -1)
	_, callErr := c.Call(ctx, serverID, "x", nil)
	_, raftErr := c.DialRaft(ctx, serverID)
	return map[string]error{
		"Stat": statErr, "List": listErr, "Open": openErr, "Call": callErr, "DialRaft": raftErr,
		"Delete":      s.Delete(ctx, chunkstoretest.ID(1)),
		"short write": chunkstoretest.Write(ctx, s, chunkstoretest.ID(1), nil, []byte("x")),
		"long write":  endlessWrite(ctx, s),
		"Confirm":     confirmOne(ctx, s),
	}
}

func TestFrozenPeerCostsOneTimeout(t *testing.T) {
	c := clientTo(t, frozen(t), func(cfg *peer.ClientConfig) { cfg.Timeout = 50 * time.Millisecond })
	for call, err := range everything(t.Context(), c) {
		if !errors.Is(err, chunkstore.ErrUnavailable) && !errors.Is(err, peer.ErrUnreachable) {
			t.Errorf("%s = %v, want %v", call, err, chunkstore.ErrUnavailable)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s = %v, which looks like the caller's deadline", call, err)
		}
	}
}

func TestContextFreesFromFrozenPeer(t *testing.T) {
	c := clientTo(t, frozen(t), func(cfg *peer.ClientConfig) { cfg.Timeout = time.Hour })
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(20*time.Millisecond, cancel)
		err := endlessWrite(ctx, c.Store(serverID, storeID))
		timer.Stop()
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("long write = %v, want %v", err, context.Canceled)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for call, err := range everything(ctx, c) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s = %v, want %v", call, err, context.DeadlineExceeded)
		}
	}
}

// stallingStore has readers that give one block and then nothing until their context ends.
type stallingStore struct{ chunkstore.Store }

type stallingReader struct {
	chunkstore.Reader
	ctx  context.Context
	done bool
}

func (s stallingStore) Open(ctx context.Context, id layout.ChunkID, first, count int64) (chunkstore.Reader, error) {
	r, err := s.Store.Open(ctx, id, first, count)
	return &stallingReader{Reader: r, ctx: ctx}, err
}

func (r *stallingReader) Next(buf []byte) (int, error) {
	if r.done {
		<-r.ctx.Done()
		return 0, r.ctx.Err()
	}
	r.done = true
	return r.Reader.Next(buf)
}

func TestReaderThatStallsIsUnavailable(t *testing.T) {
	memory := chunkstore.NewMemory()
	content := chunkstoretest.Content(chunkstoretest.ID(1), 20*layout.BlockSize)
	if err := chunkstoretest.Write(t.Context(), memory, chunkstoretest.ID(1), nil, content); err != nil {
		t.Fatal(err)
	}
	c := clientTo(t, serverOf(t, stallingStore{memory}), func(cfg *peer.ClientConfig) { cfg.Timeout = 100 * time.Millisecond })
	_, err := chunkstoretest.Read(t.Context(), c.Store(serverID, storeID), chunkstoretest.ID(1), 0, -1)
	if !errors.Is(err, chunkstore.ErrUnavailable) {
		t.Errorf("Read = %v, want %v", err, chunkstore.ErrUnavailable)
	}
}
