package metadata

import (
	"errors"

	"github.com/hashicorp/raft"
)

// Raft answers heartbeats beside its main loop, so that they wait for no disk.
// But one of a term that is new here begins that term, just as the main loop
// may be beginning another: it has decided on the higher one of two that come
// at once, and stores the lower one after it. A server that forgot a term votes
// and acknowledges as if it had never begun, for a leader that it had left, and
// after its log has gone on, its vote looks damaged.
//
// So only a heartbeat of the term that is stored already is answered beside the
// main loop, and the term stays while it is. The others wait for the main loop,
// which alone changes the term.

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(answer func(raft.RPC)) {
	t.networkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		beat, ok := rpc.Command.(*raft.AppendEntriesRequest)
		if ok && t.votes.inTerm(beat.Term, func() { answer(rpc) }) {
			return
		}
		t.toMainLoop(rpc)
	})
}

// Consumer implements raft.Transport: what Raft's main loop gets.
func (t *transport) Consumer() <-chan raft.RPC { return t.consumer() }

func (t *transport) consume() <-chan raft.RPC {
	received := t.networkTransport.Consumer()
	t.forwarding.Go(func() {
		for {
			select {
			case rpc := <-received:
				t.toMainLoop(rpc)
			case <-t.done:
				return
			}
		}
	})
	return t.toRaft
}

func (t *transport) toMainLoop(rpc raft.RPC) {
	if a, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && isOfALaterTerm(a) {
		rpc.Respond(nil, errLaterTerm)
		return
	}
	t.hideCandidate(rpc.Command)
	select {
	case t.toRaft <- rpc:
	case <-t.done:
		rpc.Respond(nil, raft.ErrTransportShutdown)
	}
}

// A leader that has lost its office may still be sending: it reads on in its log,
// where the next leader's entries are by now, and sends them in its own term. Who
// stored them would have a log of a term that it never began.
var errLaterTerm = errors.New("entries of a later term than their sender's")

func isOfALaterTerm(a *raft.AppendEntriesRequest) bool {
	n := len(a.Entries)
	return n > 0 && a.Entries[n-1].Term > a.Term // terms ascend
}

// Close implements raft.WithClose.
func (t *transport) Close() error { return t.close() }

func (t *transport) end() error {
	close(t.done)
	err := t.networkTransport.Close()
	t.forwarding.Wait()
	return err
}
