package metadata

import (
	"errors"
	"path/filepath"
	"strings"
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
		leaders, header := w.outsider()
		to := server{n.id, 1}
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

// A leader that has lost its office sends what the next one wrote into its log.
// A node that has not heard of the next one does not store that.
func TestEntriesOfALaterTermAreNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		n := w.add()
		leader, header := w.outsider()
		to := server{n.id, 1}
		send := func(term uint64, entries ...*raft.Log) error {
			return leader.AppendEntries(to.id(), to.address(), &raft.AppendEntriesRequest{RPCHeader: header, Term: term, Entries: entries}, &raft.AppendEntriesResponse{})
		}
		own := &raft.Log{Index: 1, Term: 1, Type: raft.LogNoop}
		later := &raft.Log{Index: 2, Term: 2, Type: raft.LogNoop}
		seal(later, seal(own, 0).sum)
		if err := send(1, own, later); err == nil || !strings.Contains(err.Error(), errLaterTerm.Error()) {
			t.Errorf("entries of terms 1 and 2 in term 1: %v, want %v", err, errLaterTerm)
		}
		if last := n.up().raft.LastIndex(); last != 0 {
			t.Errorf("the log goes to %d after they were refused", last)
		}
		if err := send(2, own, later); err != nil || n.up().raft.LastIndex() != 2 {
			t.Errorf("entries of terms 1 and 2 in term 2: %v, and the log goes to %d", err, n.up().raft.LastIndex())
		}
		_ = leader.Close()
		w.close()
	})
	snapshot := &raft.InstallSnapshotRequest{Term: 1, LastLogTerm: 2}
	if err := (&transport{}).InstallSnapshot("", "", snapshot, nil, nil); !errors.Is(err, errLaterTerm) {
		t.Errorf("send a snapshot of term 2 in term 1: %v, want %v", err, errLaterTerm)
	}
}

// outsider returns a network transport of a host that is no member, and the
// header of what it sends.
func (w *world) outsider() (*raft.NetworkTransport, raft.RPCHeader) {
	h := w.net.host(layout.NewNodeID())
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  newStreams(owner{w.id, server{h.node, 1}}, virtualStreams{w.net, h}),
		MaxPool: 2, Timeout: raftCallTimeout, Logger: newRaftLogger(testLogger()),
	}), raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: []byte("leader")}
}
