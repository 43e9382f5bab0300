package peer_test

import (
	"errors"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/node/peer"
)

// TestCutConnectionCommitsNothing cuts the connection after ever more bytes of
// a chunk: before its last byte has been sent, nothing may be committed.
func TestCutConnectionCommitsNothing(t *testing.T) {
	for _, blocks := range []int{1, 2, 7} {
		id := chunkstoretest.ID(blocks)
		content := chunkstoretest.Content(id, blocks*layout.BlockSize)
		total := wireSize(t, id, content)
		for limit := int64(1); limit <= total; limit += max(1, (total-limit)/3) {
			store := newWatched(chunkstore.NewMemory())
			cut := &wire{limit: limit}
			c := clientTo(t, serverOf(t, store), func(cfg *peer.ClientConfig) { cfg.Dial = cut.dial })
			err := chunkstoretest.Write(t.Context(), c.Store(serverID, storeID), id, nil, content)
			if whole := limit == total; (err == nil) != whole {
				t.Errorf("%d blocks, cut after %d of %d bytes: %v", blocks, limit, total, err)
			}
			if err == nil {
				continue
			}
			if !errors.Is(err, chunkstore.ErrUnavailable) {
				t.Errorf("%d blocks, cut after %d bytes: %v, want %v", blocks, limit, err, chunkstore.ErrUnavailable)
			}
			// Whoever was told must have let go, without committing.
			waitFor(t, func() bool { return store.created.Load() == store.aborted.Load() })
			if n := store.committed.Load(); n != 0 {
				t.Errorf("%d blocks, cut after %d of %d bytes: %d committed", blocks, limit, total, n)
			}
		}
	}
}

// wireSize is how many bytes a chunk takes to the peer.
func wireSize(t *testing.T, id layout.ChunkID, content []byte) int64 {
	t.Helper()
	count := &wire{limit: 1 << 40}
	c := clientTo(t, serverOf(t, chunkstore.NewMemory()), func(cfg *peer.ClientConfig) { cfg.Dial = count.dial })
	if err := chunkstoretest.Write(t.Context(), c.Store(serverID, storeID), id, nil, content); err != nil {
		t.Fatal(err)
	}
	return 1<<40 - count.conns[0].left.Load()
}

func TestAbortReachesThePeer(t *testing.T) {
	store := newWatched(chunkstore.NewMemory())
	s := clientTo(t, serverOf(t, store), nil).Store(serverID, storeID)
	w, err := s.Create(t.Context(), chunkstoretest.ID(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if err := w.WriteBlock(make([]byte, layout.BlockSize)); err != nil {
			t.Fatal(err)
		}
	}
	w.Abort()
	<-store.ended
	if store.aborted.Load() != 1 || store.committed.Load() != 0 {
		t.Errorf("%d aborted, %d committed", store.aborted.Load(), store.committed.Load())
	}
}

func TestRefusalComesEarly(t *testing.T) {
	for _, want := range []error{chunkstore.ErrFull, chunkstore.ErrFenced, chunkstore.ErrExists} {
		store := newWatched(chunkstore.NewMemory())
		store.refuse = want
		s := clientTo(t, serverOf(t, store), nil).Store(serverID, storeID)
		// Never commits: the refusal must show in WriteBlock.
		if err := endlessWrite(t.Context(), s); !errors.Is(err, want) {
			t.Errorf("long write = %v, want %v", err, want)
		}
	}
}
