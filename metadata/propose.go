package metadata

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// callTimeout bounds one call to another node, and one wait for a place in
// Raft's queue. An operation may make several.
const callTimeout = 2 * time.Second

// tries is how often an operation tries, at most, before its time is up: every
// 20 ms by default.
const tries = 250

// bound gives an operation its deadline.
func (r *Raft) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.cfg.Timeout)
}

// pause waits before the next try. When there is no time left it returns
// ErrUnavailable with the reason of the last try.
func (r *Raft) pause(ctx context.Context, last error) error {
	timer := time.NewTimer(r.cfg.Timeout / tries)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w (%w)", ErrUnavailable, last, ctx.Err())
	case <-r.ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(r.ctx))
	}
}

// propose has a command decided, wherever the leader is. A command whose
// outcome is unknown is proposed again: it has an ID of its own, and the state
// machine decides it once.
func (r *Raft) propose(ctx context.Context, cmd command) ([]byte, error) {
	encoded, err := encodeCommand(cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.bound(ctx)
	defer cancel()
	for {
		to := r.remote
		if r.raft.State() == raft.Leader {
			to = r.local
		}
		out := to.submit(ctx, encoded)[0]
		if out.err == nil {
			return out.result.payload, out.result.err()
		}
		if err := r.pause(ctx, out.err); err != nil {
			return nil, err
		}
	}
}

// flushToLog makes one log entry of the pack and answers every command in it.
func (r *Raft) flushToLog(commands []*waiting) {
	if _, ok := r.leads(); !ok {
		answerAll(commands, errNotLeader)
		return
	}
	if commands = r.refuseGrowth(commands); len(commands) == 0 {
		return
	}
	p := pack{time: r.clock(), commands: make([][]byte, len(commands))}
	for i, w := range commands {
		p.commands[i] = w.command
	}
	future := r.raft.Apply(encodePack(p), callTimeout)
	if err := r.await(r.ctx, future); err != nil {
		answerAll(commands, err)
		return
	}
	results, ok := future.Response().([]result)
	if !ok || len(results) != len(commands) {
		answerAll(commands, fmt.Errorf("%w: %v", ErrUnavailable, future.Response()))
		return
	}
	for i, w := range commands {
		w.done <- outcome{result: results[i]}
	}
}

// refuseGrowth answers the commands that there is no room for, and returns the
// others.
func (r *Raft) refuseGrowth(commands []*waiting) (rest []*waiting) {
	if !r.lead.full.Load() {
		return commands
	}
	for _, w := range commands {
		if grows(w.command) {
			w.done <- outcome{result: refuse(ErrFull)}
		} else {
			rest = append(rest, w)
		}
	}
	return rest
}

// flushToLeader sends the pack to the leader, which makes a larger one of the
// packs of all nodes.
func (r *Raft) flushToLeader(commands []*waiting) {
	encoded := make([][]byte, len(commands))
	for i, w := range commands {
		encoded[i] = w.command
	}
	results, err := r.callPropose(encoded)
	if err != nil {
		answerAll(commands, err)
		return
	}
	for i, w := range commands {
		if results[i].code == codeUnknown {
			w.done <- outcome{err: errNotLeader}
		} else {
			w.done <- outcome{result: results[i]}
		}
	}
}
