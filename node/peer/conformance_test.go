package peer_test

import (
	"context"
	"net"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/internal/vfs"
	"partstore/node/peer"
)

const testSecret = "0123456789abcdef"

var (
	testCluster = layout.ClusterID{0xc1}
	askerID     = layout.NodeID{0xa1}
	serverID    = layout.NodeID{0xb2}
	storeID     = layout.StoreID{0x57}
)

// serverOf serves one store until the end of the test and returns its address.
func serverOf(t testing.TB, store chunkstore.Store) string {
	t.Helper()
	return serve(t, peer.ServerConfig{Stores: func(id layout.StoreID) (chunkstore.Store, bool) { return store, id == storeID }})
}

// serve fills in what cfg leaves out and serves until the end of the test.
func serve(t testing.TB, cfg peer.ServerConfig) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, stop := serveOn(t, ln, cfg)
	t.Cleanup(stop)
	return ln.Addr().String()
}

func serveOn(t testing.TB, ln net.Listener, cfg peer.ServerConfig) (s *peer.Server, stop func()) {
	t.Helper()
	if cfg.Self.IsZero() {
		cfg.Self = serverID
	}
	if cfg.Cluster == nil {
		cfg.Cluster = func() layout.ClusterID { return testCluster }
	}
	if cfg.Secret == "" {
		cfg.Secret = testSecret
	}
	s, err := peer.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	return s, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// clientTo returns a client for which every node lives at addr.
func clientTo(t testing.TB, addr string, change func(*peer.ClientConfig)) *peer.Client {
	t.Helper()
	cfg := peer.ClientConfig{
		Self:    askerID,
		Cluster: func() layout.ClusterID { return testCluster },
		Secret:  testSecret,
		Resolve: func(layout.NodeID) (string, bool) { return addr, true },
		Timeout: time.Minute,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := peer.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestMemoryOverTheWireConforms(t *testing.T) {
	chunkstoretest.Run(t, func(t *testing.T) chunkstore.Store {
		return clientTo(t, serverOf(t, chunkstore.NewMemory()), nil).Store(serverID, storeID)
	})
}

func TestDiskOverTheWireConforms(t *testing.T) {
	chunkstoretest.Run(t, func(t *testing.T) chunkstore.Store {
		d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{FS: vfs.NewMem(), Dir: "/store", Cluster: testCluster})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return clientTo(t, serverOf(t, d), nil).Store(serverID, storeID)
	})
}

func TestDiskOverTLSConforms(t *testing.T) {
	chunkstoretest.Run(t, func(t *testing.T) chunkstore.Store {
		d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{FS: vfs.NewMem(), Dir: "/store", Cluster: testCluster})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return remote(t, d, true)
	})
}

// remote is store as another node sees it.
func remote(t testing.TB, store chunkstore.Store, tls bool) chunkstore.Store {
	t.Helper()
	addr := serve(t, peer.ServerConfig{TLS: tls, Stores: func(id layout.StoreID) (chunkstore.Store, bool) { return store, id == storeID }})
	return clientTo(t, addr, func(cfg *peer.ClientConfig) { cfg.TLS = tls }).Store(serverID, storeID)
}

// plain hides that a store's writers and readers can take frames.
type plain struct{ chunkstore.Store }

func (s plain) Create(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error) {
	w, err := s.Store.Create(ctx, id, label)
	return struct{ chunkstore.Writer }{w}, err
}

func (s plain) Open(ctx context.Context, id layout.ChunkID, first, count int64) (chunkstore.Reader, error) {
	r, err := s.Store.Open(ctx, id, first, count)
	return struct{ chunkstore.Reader }{r}, err
}

func TestStoreWithoutFramesOverTheWireConforms(t *testing.T) {
	chunkstoretest.Run(t, func(t *testing.T) chunkstore.Store {
		return clientTo(t, serverOf(t, plain{chunkstore.NewMemory()}), nil).Store(serverID, storeID)
	})
}
