package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// progress keeps one line on a terminal up to date. Elsewhere it is silent.
type progress struct {
	w  io.Writer
	on bool
}

func newProgress(w io.Writer, on bool) progress { return progress{w, on} }

// watch runs until ctx ends.
func (p progress) watch(ctx context.Context, l *load) {
	if !p.on {
		return
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	began, lastBytes := time.Now(), int64(0)
	for {
		select {
		case <-ctx.Done():
			fmt.Fprint(p.w, "\r\x1b[K")
			return
		case <-tick.C:
			count, bytes, errors := l.stats.totals()
			_, _, found := l.findings.snapshot()
			fmt.Fprintf(p.w, "\r\x1b[K%s %4.0fs  %d operations  %.1f MiB/s  %d errors  %d findings",
				l.cfg.workload, time.Since(began).Seconds(), count, float64(bytes-lastBytes)/(1<<19), errors, found)
			lastBytes = bytes
		}
	}
}
