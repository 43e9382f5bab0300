package metadata

import (
	"slices"
	"sync"
	"time"
)

// pace is how long appends to the log take, sync included. Every voter appends
// every entry, so their paces can be compared.
type pace struct {
	mu      sync.Mutex
	took    [paceAppends]time.Duration // of the last appends
	appends int                        // so far
	began   time.Time                  // of the one under way; zero: none
}

const (
	paceAppends = 16
	paceIgnores = 3 // of those: a disk that is slow now and then is not a slow disk
)

// measure makes an append. Those that fail say nothing about the pace.
func (p *pace) measure(append func() error) error {
	began := time.Now()
	p.mu.Lock()
	p.began = began
	p.mu.Unlock()
	err := append()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Time{}
	if err == nil {
		p.took[p.appends%paceAppends] = max(time.Since(began), 1)
		p.appends++
	}
	return err
}

// now is what appends took lately, but for the slowest paceIgnores; 0: there
// were too few to know.
func (p *pace) now() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.appends < paceAppends {
		return 0
	}
	took := p.took
	slices.Sort(took[:])
	return took[paceAppends-1-paceIgnores]
}

// stuck reports whether an append has been under way for longer than patience.
func (p *pace) stuck(patience time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.began.IsZero() && time.Since(p.began) > patience
}
