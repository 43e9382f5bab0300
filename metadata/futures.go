package metadata

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// futures counts the answers this node still expects from Raft. A future that
// is open when Raft shuts down may never be answered, so nobody waits for one
// without another way out, and Close lets them come in first.
type futures struct {
	mu   sync.Mutex
	open int
	idle chan struct{} // closed when the last one is answered; nil: nobody asked
}

func (f *futures) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open += n; f.open == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// drain waits for the answers, or until patience ends.
func (f *futures) drain(patience time.Duration) {
	f.mu.Lock()
	if f.open == 0 {
		f.mu.Unlock()
		return
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

// await returns what the future says, or why the caller or the registry ended
// before.
func (r *Raft) await(ctx context.Context, f raft.Future) error {
	answer := make(chan error, 1)
	r.futures.add(1)
	go func() { // ends with the future; drain waits for it
		answer <- f.Error()
		r.futures.add(-1)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}
