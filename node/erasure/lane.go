package erasure

import (
	"context"
	"time"
)

// lane is one chunk being written: a goroutine with a queue of stripes. The second
// block of fields is guarded by fleet.mu.
type lane struct {
	index   int
	cancel  context.CancelFunc
	queue   chan *stripe  // nil: confirm; holds all there can be, so a send never blocks
	verdict chan struct{} // one value: commit; closed without: abort

	err  error     // why the lane is dead; nil while it is good
	sent int       // operations handed over: stripes, a confirmation, the commit
	done int       // operations finished
	last time.Time // when it last finished one, or was given one while idle

	reported bool
}

func (l *lane) idle() bool { return l.done == l.sent }

// run owns the chunk from creation to commit or abort. A dead lane keeps
// draining its queue so that stripes find their way home.
func (l *lane) run(ctx context.Context, f *fleet, create CreateFunc) {
	w, err := create(ctx, l.index)
	if err != nil {
		f.kill(l, err)
	} else {
		// Abort does nothing after a commit.
		defer w.Abort()
	}
	var room [inFlight]*stripe
	for run := l.take(room[:0]); len(run) > 0; run = l.take(room[:0]) {
		if f.good(l) {
			if err := l.do(w, run); err != nil {
				f.kill(l, err)
			}
		}
		for _, st := range run {
			if st != nil {
				st.release()
			}
		}
		f.finished(l, len(run))
	}
	if _, commit := <-l.verdict; commit && f.good(l) {
		if err := w.Commit(); err != nil {
			f.kill(l, err)
		}
		f.finished(l, 1)
	}
}

// take waits for an operation and takes those that wait behind it along, up to
// a confirmation. It returns none once the queue has ended.
func (l *lane) take(run []*stripe) []*stripe {
	st, open := <-l.queue
	if !open {
		return run
	}
	run = append(run, st)
	for st != nil && len(run) < cap(run) {
		select {
		case st, open = <-l.queue:
			if !open {
				return run
			}
			run = append(run, st)
		default:
			return run
		}
	}
	return run
}

// do writes the lane's shards of stripes; in place of the last one there may be
// a confirmation.
func (l *lane) do(w ShardWriter, run []*stripe) error {
	var room [inFlight][]byte
	shards := room[:0]
	for _, st := range run {
		if st != nil {
			shards = append(shards, st.shards[l.index])
		}
	}
	if err := writeShards(w, shards); err != nil || len(shards) == len(run) {
		return err
	}
	if c, ok := w.(Confirmer); ok {
		return c.Confirm()
	}
	return nil
}

func writeShards(w ShardWriter, shards [][]byte) error {
	if w, ok := w.(RunWriter); ok && len(shards) > 1 {
		return w.WriteRun(shards)
	}
	for _, shard := range shards {
		if err := w.WriteBlock(shard); err != nil {
			return err
		}
	}
	return nil
}

// began counts an operation handed over. f.mu must be held.
func (l *lane) began(now time.Time) {
	if l.idle() {
		l.last = now
	}
	l.sent++
}
