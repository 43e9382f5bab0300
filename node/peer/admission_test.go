package peer_test

import (
	"context"
	"errors"
	"testing"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/layout"
	"partstore/node/peer"
)

// TestAdmission is the table of who may ask whom for what. Encryption changes
// nothing of it.
func TestAdmission(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testAdmission(t, false) })
	t.Run("TLS", func(t *testing.T) { testAdmission(t, true) })
}

func testAdmission(t *testing.T, tls bool) {
	none, other := layout.ClusterID{}, layout.ClusterID{0xee}
	for _, tc := range []struct {
		name               string
		asker, asked       layout.ClusterID
		secret             string
		to                 layout.NodeID // zero: by address
		chunks, call, form error
	}{
		{"same cluster", testCluster, testCluster, testSecret, serverID, nil, nil, nil},
		{"same cluster, by address", testCluster, testCluster, testSecret, layout.NodeID{}, nil, nil, nil},
		{"another node at the address", testCluster, testCluster, testSecret, layout.NodeID{9}, peer.ErrWrongNode, peer.ErrWrongNode, peer.ErrWrongNode},
		{"another secret", testCluster, testCluster, "another secret!!", serverID, peer.ErrUnauthorized, peer.ErrUnauthorized, peer.ErrUnauthorized},
		{"asker of another cluster", other, testCluster, testSecret, serverID, peer.ErrWrongCluster, peer.ErrWrongCluster, peer.ErrWrongCluster},
		{"asked of another cluster", testCluster, other, testSecret, serverID, peer.ErrWrongCluster, peer.ErrWrongCluster, peer.ErrWrongCluster},
		{"asker without cluster", none, testCluster, testSecret, serverID, peer.ErrWrongCluster, peer.ErrWrongCluster, nil},
		{"asked without cluster", testCluster, none, testSecret, serverID, peer.ErrWrongCluster, peer.ErrWrongCluster, peer.ErrWrongCluster},
		{"both without cluster", none, none, testSecret, serverID, peer.ErrWrongCluster, peer.ErrWrongCluster, nil},
		{"both without cluster, by address", none, none, testSecret, layout.NodeID{}, nil, peer.ErrWrongCluster, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store := chunkstore.NewMemory()
			echo := func(_ context.Context, _ layout.NodeID, request []byte) ([]byte, error) { return request, nil }
			addr := serve(t, peer.ServerConfig{
				TLS:            tls,
				Cluster:        func() layout.ClusterID { return tc.asked },
				Stores:         func(layout.StoreID) (chunkstore.Store, bool) { return store, true },
				Calls:          map[string]peer.Handler{"echo": echo},
				FormationCalls: map[string]peer.Handler{"hello": echo},
			})
			c := clientTo(t, addr, func(cfg *peer.ClientConfig) {
				cfg.Cluster = func() layout.ClusterID { return tc.asker }
				cfg.Secret, cfg.TLS = tc.secret, tls
			})
			call := func(service string) error {
				if tc.to.IsZero() {
					_, err := c.CallAddr(t.Context(), addr, service, nil)
					return err
				}
				_, err := c.Call(t.Context(), tc.to, service, nil)
				return err
			}
			if err := call("echo"); !errors.Is(err, tc.call) {
				t.Errorf("Call = %v, want %v", err, tc.call)
			}
			if err := call("hello"); !errors.Is(err, tc.form) {
				t.Errorf("formation Call = %v, want %v", err, tc.form)
			}
			if tc.to.IsZero() {
				return
			}
			checkChunksRefused(t, c.Store(tc.to, storeID), store, tc.chunks)
			conn, err := c.DialRaft(t.Context(), tc.to)
			if !errors.Is(err, tc.chunks) {
				t.Errorf("DialRaft = %v, want %v", err, tc.chunks)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

// checkChunksRefused makes sure that a refused asker changes and learns nothing.
func checkChunksRefused(t *testing.T, remote, local chunkstore.Store, want error) {
	t.Helper()
	present := chunkstoretest.ID(1)
	if err := chunkstoretest.Write(t.Context(), local, present, nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	_, statErr := remote.Stat(t.Context(), present)
	_, listErr := remote.List(t.Context(), layout.ChunkID{}, 1)
	_, readErr := chunkstoretest.Read(t.Context(), remote, present, 0, -1)
	for call, err := range map[string]error{
		"Stat": statErr, "List": listErr, "Read": readErr,
		"short Write": chunkstoretest.Write(t.Context(), remote, chunkstoretest.ID(2), nil, []byte("y")),
		"long Write":  chunkstoretest.Write(t.Context(), remote, chunkstoretest.ID(3), nil, make([]byte, 40*layout.BlockSize)),
		"Delete":      remote.Delete(t.Context(), present),
	} {
		if !errors.Is(err, want) || (want != nil && !errors.Is(err, chunkstore.ErrUnavailable)) {
			t.Errorf("%s = %v, want %v", call, err, want)
		}
	}
	wantChunks := 1 // what was there
	if want == nil {
		wantChunks = 2 // two more, one less
	}
	if infos, err := local.List(t.Context(), layout.ChunkID{}, 10); err != nil || len(infos) != wantChunks {
		t.Errorf("the store holds %v, %v; want %d chunks", infos, err, wantChunks)
	}
}

func TestStoreOfAnotherNodeIsUnavailable(t *testing.T) {
	c := clientTo(t, serverOf(t, chunkstore.NewMemory()), nil)
	_, err := c.Store(serverID, layout.StoreID{1}).Stat(t.Context(), chunkstoretest.ID(1))
	if !errors.Is(err, peer.ErrUnknownStore) || !errors.Is(err, chunkstore.ErrUnavailable) || errors.Is(err, chunkstore.ErrNotFound) {
		t.Errorf("Stat = %v, want %v", err, peer.ErrUnknownStore)
	}
}

func TestUnknownAddressIsUnavailable(t *testing.T) {
	c := clientTo(t, "", func(cfg *peer.ClientConfig) {
		cfg.Resolve = func(layout.NodeID) (string, bool) { return "", false }
	})
	_, err := c.Store(serverID, storeID).Create(t.Context(), chunkstoretest.ID(1), nil)
	if !errors.Is(err, chunkstore.ErrUnavailable) {
		t.Errorf("Create = %v, want %v", err, chunkstore.ErrUnavailable)
	}
	if _, err := c.Call(t.Context(), serverID, "x", nil); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("Call = %v, want %v", err, peer.ErrUnreachable)
	}
}

func TestConfigsAreValidated(t *testing.T) {
	if _, err := peer.NewClient(peer.ClientConfig{}); err == nil {
		t.Error("NewClient of an empty config = nil error")
	}
	if _, err := peer.NewServer(peer.ServerConfig{}); err == nil {
		t.Error("NewServer of an empty config = nil error")
	}
}
