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

// flippy damages one byte on its way to the peer.
type flippy struct {
	net.Conn
	at, seen int64
}

func (c *flippy) Write(b []byte) (int, error) {
	if at := c.at - c.seen; at >= 0 && at < int64(len(b)) {
		b = append([]byte(nil), b...)
		b[at] ^= 4
	}
	c.seen += int64(len(b))
	return c.Conn.Write(b)
}

func TestDamageOnTheWireIsNotStored(t *testing.T) {
	id := chunkstoretest.ID(1)
	content := chunkstoretest.Content(id, 3*layout.BlockSize)
	total := wireSize(t, id, content)
	memory := chunkstore.NewMemory()
	addr := serverOf(t, memory)
	for at := total - 600; at > 1000; at -= 7001 {
		c := clientTo(t, addr, func(cfg *peer.ClientConfig) {
			cfg.Timeout = time.Second // damaged framing may leave the peer waiting for more
			cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return &flippy{Conn: conn, at: at}, err
			}
		})
		if err := chunkstoretest.Write(t.Context(), c.Store(serverID, storeID), id, nil, content); err == nil {
			t.Errorf("byte %d of %d damaged: Write = nil", at, total)
		}
	}
	if _, err := memory.Stat(t.Context(), id); !errors.Is(err, chunkstore.ErrNotFound) {
		t.Errorf("Stat = %v, want %v", err, chunkstore.ErrNotFound)
	}
}

// rotten yields an error after some blocks.
type rotten struct {
	chunkstore.Store
	good int
	err  error
}

type rottenReader struct {
	chunkstore.Reader
	store rotten
	seen  int
}

func (s rotten) Open(ctx context.Context, id layout.ChunkID, first, count int64) (chunkstore.Reader, error) {
	r, err := s.Store.Open(ctx, id, first, count)
	return &rottenReader{Reader: r, store: s}, err
}

func (r *rottenReader) Next(buf []byte) (int, error) {
	if r.seen++; r.seen > r.store.good {
		return 0, r.store.err
	}
	return r.Reader.Next(buf)
}

func TestReadErrorsKeepTheirMeaning(t *testing.T) {
	const blocks = 12
	memory := chunkstore.NewMemory()
	id := chunkstoretest.ID(1)
	if err := chunkstoretest.Write(t.Context(), memory, id, nil, chunkstoretest.Content(id, blocks*layout.BlockSize)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{chunkstore.ErrCorrupt, chunkstore.ErrUnavailable} {
		for good := range blocks {
			c := clientTo(t, serverOf(t, rotten{memory, good, want}), nil)
			r, err := c.Store(serverID, storeID).Open(t.Context(), id, 0, -1)
			if good == 0 && errors.Is(err, want) {
				continue // it came first, and so was the answer to Open
			}
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4*layout.BlockRoom)
			for seen := 0; seen < good; {
				if good%2 > 0 {
					run, err := r.(chunkstore.RunReader).NextRun(buf, nil)
					if seen += len(run); err != nil || seen > good {
						t.Fatalf("%v after %d blocks: NextRun = %d blocks, %v; %d in all", want, good, len(run), err, seen)
					}
					continue
				}
				if _, err := r.Next(buf); err != nil {
					t.Fatalf("%v after %d blocks: Next = %v", want, good, err)
				}
				seen++
			}
			for range 2 {
				if _, err := r.Next(buf); !errors.Is(err, want) {
					t.Errorf("after %d blocks: Next = %v, want %v", good, err, want)
				}
			}
			r.Close()
		}
	}
}
