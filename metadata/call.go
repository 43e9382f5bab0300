package metadata

import (
	"context"
	"fmt"

	"partstore/internal/layout"
)

// call sends a request through one of the methods of Peers and checks that the
// answer is the answer to it.
func (r *Raft) call(ctx context.Context, to server, q request,
	send func(context.Context, layout.NodeID, []byte) ([]byte, error)) (answer, error) {
	q.term = r.raft.CurrentTerm()
	return r.exchange(ctx, to, q, send)
}

// exchange is call without a term, for a registry that does not run.
func (r *Raft) exchange(ctx context.Context, to server, q request,
	send func(context.Context, layout.NodeID, []byte) ([]byte, error)) (answer, error) {
	q.cluster, q.from, q.to, q.number = r.cfg.Cluster, r.self, to, r.callNumber.Add(1)
	b, err := encodeValue(q.code)
	if err != nil {
		return answer{}, err
	}
	if b, err = send(ctx, to.node, b); err != nil {
		return answer{}, fmt.Errorf("call %s: %w", to, err)
	}
	var a answer
	if err := decodeValue(b, a.code); err != nil {
		return answer{}, fmt.Errorf("answer of %s: %w", to, err)
	}
	if a.kind != q.kind || a.from != to || a.number != q.number {
		return answer{}, fmt.Errorf("answer of %s: %w: to another question", to, errMalformed)
	}
	switch {
	case a.status == statusOK:
		return a, nil
	case a.status == statusRefused:
		return a, ErrInvalid
	case a.status != statusNotLeader && q.kind == messageMembers:
		return a, nil // a refusal, which the caller reads
	}
	return answer{}, fmt.Errorf("%s: %w", to, errNotLeader)
}

func (r *Raft) callPropose(commands [][]byte) ([]result, error) {
	leader, ctx, cancel, err := r.otherLeader()
	if err != nil {
		return nil, err
	}
	defer cancel()
	a, err := r.call(ctx, leader, request{kind: messagePropose, commands: commands}, r.cfg.Peers.Propose)
	if err != nil {
		return nil, err
	}
	if len(a.results) != len(commands) {
		return nil, fmt.Errorf("answer of %s: %w: %d results for %d commands", leader, errMalformed, len(a.results), len(commands))
	}
	return a.results, nil
}

// HandlePropose answers Peers.Propose of another node. Errors wrap ErrInvalid.
func (r *Raft) HandlePropose(ctx context.Context, b []byte) ([]byte, error) {
	q, err := r.receive(b, messagePropose, messageMembers)
	if err != nil {
		return nil, err
	}
	// A request of an earlier term may have been held up for any time; its
	// sender has long asked somebody else.
	if term, ok := r.leads(); !ok || q.term != term {
		return r.reply(q, answer{status: statusNotLeader})
	}
	if q.kind == messageMembers {
		return r.reply(q, r.answerMembers(ctx, q.members))
	}
	for _, cmd := range q.commands {
		// What cannot be decoded must not reach the log.
		if _, err := decodeCommand(cmd); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	a := answer{results: make([]result, len(q.commands))}
	for i, out := range r.local.submit(ctx, q.commands...) {
		a.results[i] = out.result
		if out.err != nil {
			a.results[i] = result{code: codeUnknown}
		}
	}
	return r.reply(q, a)
}

// HandleReadIndex answers Peers.ReadIndex of another node. Errors wrap
// ErrInvalid.
func (r *Raft) HandleReadIndex(ctx context.Context, b []byte) ([]byte, error) {
	q, err := r.receive(b, messageReadIndex)
	if err != nil {
		return nil, err
	}
	index, err := r.confirms.join(ctx)
	if err != nil {
		return r.reply(q, answer{status: statusNotLeader})
	}
	return r.reply(q, answer{index: index})
}

// HandleTerm answers Peers.Term of another node with this node's current term,
// which is stored before any vote in it is given. Errors wrap ErrInvalid.
func (r *Raft) HandleTerm(_ context.Context, b []byte) ([]byte, error) {
	q, err := r.receive(b, messageTerm, messageDigest)
	if err != nil {
		return nil, err
	}
	if q.kind == messageDigest {
		return r.reply(q, r.answerDigest(q))
	}
	return r.reply(q, answer{term: r.raft.CurrentTerm(), index: r.fsm.applied.load(), room: r.space.now(), pace: r.pace.now()})
}
