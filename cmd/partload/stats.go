package main

import (
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is the largest latency the histograms tell from a larger one.
const maxLatency = 10 * time.Minute

// stats counts the operations of a run. Latencies are those a user sees: from
// the first try to success, retries included.
type stats struct {
	mu   sync.Mutex
	ops  map[string]*opStats
	last time.Time     // of any success; before the first, of the begin
	gap  time.Duration // longest between two of them
}

type opStats struct {
	latency *hdrhistogram.Histogram // microseconds, successes only
	bytes   int64
	errors  map[string]int64 // failed requests by status and code; may be retried
	failed  int64            // operations given up
}

func newStats() *stats { return &stats{ops: make(map[string]*opStats), last: time.Now()} }

// op must be called with mu held.
func (s *stats) op(name string) *opStats {
	o := s.ops[name]
	if o == nil {
		o = &opStats{latency: hdrhistogram.New(1, maxLatency.Microseconds(), 3), errors: make(map[string]int64)}
		s.ops[name] = o
	}
	return o
}

func (s *stats) succeeded(name string, took time.Duration, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gap = s.longestGap()
	s.last = time.Now()
	o := s.op(name)
	o.bytes += bytes
	// The value is inside the bounds, so it cannot be refused.
	_ = o.latency.RecordValue(min(max(took, time.Microsecond), maxLatency).Microseconds())
}

// longestGap is the longest time without any success so far. It must be called
// with mu held.
func (s *stats) longestGap() time.Duration { return max(s.gap, time.Since(s.last)) }

func (s *stats) erred(name, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.op(name).errors[code]++
}

func (s *stats) gaveUp(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.op(name).failed++
}

// totals sums up all operations, for the progress line.
func (s *stats) totals() (count, bytes, errors int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.ops {
		count += o.latency.TotalCount()
		bytes += o.bytes
		for _, n := range o.errors {
			errors += n
		}
	}
	return count, bytes, errors
}

// opReport is what the report says of one operation.
type opReport struct {
	Count       int64            `json:"count"`
	PerSecond   float64          `json:"per_second"`
	Bytes       int64            `json:"bytes"`
	BytesPerSec float64          `json:"bytes_per_second"`
	P50         float64          `json:"p50_ms"`
	P95         float64          `json:"p95_ms"`
	P99         float64          `json:"p99_ms"`
	Max         float64          `json:"max_ms"`
	Errors      map[string]int64 `json:"errors"`
	Failed      int64            `json:"failed"`
}

func (s *stats) report(took time.Duration) (ops map[string]opReport, gap time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]opReport)
	for name, o := range s.ops {
		ms := func(quantile float64) float64 { return float64(o.latency.ValueAtQuantile(quantile)) / 1000 }
		out[name] = opReport{
			Count:       o.latency.TotalCount(),
			PerSecond:   float64(o.latency.TotalCount()) / took.Seconds(),
			Bytes:       o.bytes,
			BytesPerSec: float64(o.bytes) / took.Seconds(),
			P50:         ms(50), P95: ms(95), P99: ms(99),
			Max:    float64(o.latency.Max()) / 1000,
			Errors: maps.Clone(o.errors),
			Failed: o.failed,
		}
	}
	return out, s.longestGap()
}
