package metadata

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// The figures of the registry mean something next to what Raft itself does on
// the same disk in the same run: one entry of 300 bytes for each operation, the
// same log store and settings, and a state machine that does nothing.

type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("nothing to keep") }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }

// newRawRaft starts n servers of plain Raft and returns the leader.
func newRawRaft(b *testing.B, n int) *raft.Raft {
	b.Helper()
	var (
		streams []*rawStreams
		all     raft.Configuration
		servers []*raft.Raft
	)
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		streams = append(streams, &rawStreams{l})
		all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(l.Addr().String()), Address: raft.ServerAddress(l.Addr().String())})
	}
	for i, s := range streams {
		c := raft.DefaultConfig()
		c.LocalID = all.Servers[i].ID
		c.Logger = hclog.NewNullLogger()
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 2*time.Second, 2*time.Second, time.Second
		store, err := raftboltdb.New(raftboltdb.Options{
			Path:        filepath.Join(b.TempDir(), "raft.db"),
			BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
		})
		if err != nil {
			b.Fatal(err)
		}
		cache, err := raft.NewLogCache(256, store)
		if err != nil {
			b.Fatal(err)
		}
		transport := raft.NewNetworkTransport(s, 3, time.Second, nil)
		r, err := raft.NewRaft(c, nothing{}, cache, store, raft.NewDiscardSnapshotStore(), transport)
		if err != nil {
			b.Fatal(err)
		}
		servers = append(servers, r)
		b.Cleanup(func() {
			if err := errors.Join(transport.Close(), r.Shutdown().Error(), store.Close()); err != nil {
				b.Error(err)
			}
		})
	}
	if err := servers[0].BootstrapCluster(all).Error(); err != nil {
		b.Fatal(err)
	}
	var leader *raft.Raft
	poll(b, "a leader", func() bool {
		for _, r := range servers {
			if r.State() == raft.Leader && r.Apply(nil, time.Second).Error() == nil {
				leader = r
				return true
			}
		}
		return false
	})
	return leader
}

type rawStreams struct{ net.Listener }

func (s *rawStreams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(to), timeout)
}
