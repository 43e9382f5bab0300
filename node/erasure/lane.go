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
	for st := range l.queue {
		if f.good(l) {
			if err := l.do(w, st); err != nil {
				f.kill(l, err)
			}
		}
		if st != nil {
			st.release()
		}
		f.finished(l)
	}
	if _, commit := <-l.verdict; commit && f.good(l) {
		if err := w.Commit(); err != nil {
			f.kill(l, err)
		}
		f.finished(l)
	}
}

// do writes the lane's shard of a stripe, or confirms the chunk.
func (l *lane) do(w ShardWriter, st *stripe) error {
	if st != nil {
		return w.WriteBlock(st.shards[l.index])
	}
	if c, ok := w.(Confirmer); ok {
		return c.Confirm()
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
