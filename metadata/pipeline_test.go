package metadata

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// Raft's own pipeline blocks its sender for ever if one more append is sent
// after the answer that made Raft stop to listen. The leader then never sends
// that follower another entry, although its heartbeats go on.
func TestAnEndedPipelineBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newVirtualNet(rand.New(rand.NewPCG(1, 1)))
		open := func() (layout.NodeID, *transport) {
			h := network.host(layout.NewNodeID())
			inner := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
				Stream: newStreams(owner{server: server{h.node, 1}}, virtualStreams{network, h}), MaxPool: 1, Timeout: time.Second, Logger: newRaftLogger(testLogger()),
			})
			return h.node, newTransport(t.Context(), inner, nil, func(uint64, raft.ServerID) bool { return false }, neverStuck, nil, nil)
		}
		_, leader := open()
		node, follower := open()
		stop := make(chan struct{})
		go func() { // refuses everything
			for {
				select {
				case rpc := <-follower.Consumer():
					rpc.Respond(&raft.AppendEntriesResponse{Success: false}, nil)
				case <-stop:
					return
				}
			}
		}()
		p, err := leader.AppendEntriesPipeline(server{node, 1}.id(), server{node, 1}.address())
		if err != nil {
			t.Fatal(err)
		}
		send := func() error {
			_, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 1}, &raft.AppendEntriesResponse{})
			return err
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
		if f := <-p.Consumer(); f.Error() != nil || f.Response().Success {
			t.Fatalf("answer = %+v, %v", f.Response(), f.Error())
		}
		sent := make(chan error)
		go func() {
			for range 3 { // nobody listens any more
				err = send()
			}
			sent <- err
		}()
		synctest.Wait()
		select {
		case err := <-sent:
			if err == nil {
				t.Error("an ended pipeline takes appends")
			}
		default:
			t.Error("the sender waits for ever")
			_ = p.Close()
			<-sent
		}
		_ = p.Close()
		close(stop)
		_, _ = leader.Close(), follower.Close()
	})
}
