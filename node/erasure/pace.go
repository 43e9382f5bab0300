package erasure

import (
	"sync"
	"time"
)

// pace is how long a step usually takes, learned from the latest ones the way
// TCP learns its round trips. What takes several times as long is late.
type pace struct {
	factor time.Duration // times the usual is late
	least  time.Duration // the shortest delay, as a fraction of the longest: 1/least

	mu              sync.Mutex
	samples         int
	mean, deviation time.Duration
}

// minSamples is how many steps must be known before any is called late early.
const minSamples = 16

// learn takes note of a step.
func (p *pace) learn(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.samples++; p.samples == 1 {
		p.mean, p.deviation = took, took/2
		return
	}
	p.deviation += ((took - p.mean).Abs() - p.deviation) / 4
	p.mean += (took - p.mean) / 8
}

// late is how long to wait for a step, at most most.
func (p *pace) late(most time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.samples < minSamples {
		return most
	}
	return min(max(p.factor*(p.mean+4*p.deviation), most/p.least), most)
}
