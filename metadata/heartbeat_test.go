package metadata

import (
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// slowVote is a disk on which the next writing of the vote takes a second.
type slowVote struct{ vfs.FS }

func (s slowVote) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, o...)
	if err == nil && filepath.Base(name) == voteName {
		f = &slowFile{File: f}
	}
	return f, err
}

type slowFile struct {
	vfs.File
	once sync.Once
}

func (f *slowFile) WriteAt(b []byte, at int64) (int, error) {
	f.once.Do(func() { time.Sleep(time.Second) })
	return f.File.WriteAt(b, at)
}

// While a heartbeat makes a node store the term of its leader, the leader of the
// term before still sends: its term is not what the node ends with.
func TestAHeartbeatsTermIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.tune = func(c *Config) { c.disk = &disk{fs: slowVote{c.disk.fs}, openLog: c.disk.openLog} }
		n := w.add()
		h := w.net.host(layout.NewNodeID())
		leaders := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:  newStreams(owner{w.id, server{h.node, 1}}, virtualStreams{w.net, h}),
			MaxPool: 2, Timeout: raftCallTimeout, Logger: newRaftLogger(testLogger()),
		})
		to := server{n.id, 1}
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: []byte("leader")}
		var sent sync.WaitGroup
		for _, args := range []*raft.AppendEntriesRequest{
			{RPCHeader: header, Term: 2},
			{RPCHeader: header, Term: 1, PrevLogEntry: 1, PrevLogTerm: 1},
		} {
			sent.Go(func() {
				if err := leaders.AppendEntries(to.id(), to.address(), args, &raft.AppendEntriesResponse{}); err != nil {
					t.Errorf("AppendEntries of term %d: %v", args.Term, err)
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		sent.Wait()
		if term := n.up().raft.CurrentTerm(); term != 2 {
			t.Errorf("the term is %d after a heartbeat of term 2", term)
		}
		_ = leaders.Close()
		w.close()
	})
}
