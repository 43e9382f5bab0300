package metadata

import (
	"context"
	"sync"
)

// progress is an index that only grows and can be waited for.
type progress struct {
	mu      sync.Mutex
	index   uint64
	changed chan struct{} // made by the first waiter, closed by the next advance
}

func (p *progress) advance(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = max(p.index, index)
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *progress) load() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.index
}

// wait returns once the index has reached want.
func (p *progress) wait(ctx context.Context, want uint64) error {
	for {
		p.mu.Lock()
		if p.index >= want {
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
