package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// cleanupTimeout bounds how long a client may tidy up after its last operation.
const cleanupTimeout = 30 * time.Second

// load is one run.
type load struct {
	cfg       config
	http      *http.Client
	endpoints []endpoint
	findings  *findings
	stats     *stats       // of the measured time; replaced when it begins
	spent     atomic.Int64 // operations that succeeded in the measured time
	deadline  time.Time    // zero: none

	objects []stored // made by prepare for get and range
	listed  *upload  // made by prepare for list-parts
}

func newLoad(cfg config) *load {
	l := &load{cfg: cfg, findings: &findings{counts: make(map[string]int64)}, stats: newStats()}
	l.http = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: cfg.clients * cfg.parallel,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
		DisableCompression:  true,
	}}
	for _, url := range cfg.endpoints {
		l.endpoints = append(l.endpoints, endpoint{cfg.rules.open(cfg, url, l.http), url})
	}
	return l
}

// client is one of the parallel clients of a run. It does one thing at a time.
type client struct {
	*load
	id      int
	rng     *rand.Rand
	serial  int      // of the uploads it opened
	retried bool     // the last operation took more than one try
	held    []stored // objects kept for a while to be read again
}

func (l *load) newClient(id int) *client {
	return &client{load: l, id: id, rng: rand.New(rand.NewPCG(l.cfg.seed, uint64(id)))}
}

// more reports whether the run goes on.
func (c *client) more(ctx context.Context) bool {
	switch {
	case ctx.Err() != nil:
		return false
	case c.cfg.ops > 0 && c.spent.Load() >= c.cfg.ops:
		return false
	}
	return c.deadline.IsZero() || time.Now().Before(c.deadline)
}

// run prepares, measures and cleans up. The report is of the measured time. An
// error means that the run could not be done, not that it found something.
func (l *load) run(ctx context.Context, p progress) (_ *report, err error) {
	defer l.http.CloseIdleConnections()
	w := workloads[l.cfg.workload]
	setup := l.newClient(-1)
	if err := setup.createBucket(ctx); err != nil {
		return nil, err
	}
	if w.cleanup != nil {
		defer func() {
			err = errors.Join(err, tidy(ctx, func(ctx context.Context) error { return w.cleanup(ctx, setup) }))
		}()
	}
	if w.prepare != nil {
		if err := w.prepare(ctx, setup); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
	}
	usage, err := startUsage(l.cfg.serverPIDs)
	if err != nil {
		return nil, err
	}
	if err := l.measure(ctx, w, p); err != nil {
		return nil, err
	}
	return l.report(usage, ctx.Err() != nil)
}

// measure runs the clients until the run's time or number of operations is up.
func (l *load) measure(ctx context.Context, w *workload, p progress) error {
	l.stats = newStats()
	l.spent.Store(0)
	if l.cfg.duration > 0 {
		l.deadline = time.Now().Add(l.cfg.duration)
	}
	runCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var clients, watcher sync.WaitGroup
	watchCtx, endWatch := context.WithCancel(ctx)
	watcher.Go(func() { p.watch(watchCtx, l) })
	for id := range l.cfg.clients {
		clients.Go(func() {
			if err := l.newClient(id).loop(runCtx, w); err != nil {
				stop(err)
			}
		})
	}
	clients.Wait()
	endWatch()
	watcher.Wait()
	if err := context.Cause(runCtx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// loop runs sessions. Findings and operations that were given up do not end it:
// they are counted, and the next session starts afresh. A refusal does: it means
// that the run makes no sense.
func (c *client) loop(ctx context.Context, w *workload) error {
	for c.more(ctx) {
		err := w.session(ctx, c)
		var refused *refusal
		if errors.As(err, &refused) {
			return err
		}
	}
	return tidy(ctx, c.dropHeld)
}

// tidy runs f with time of its own, even if the run was interrupted.
func tidy(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return f(ctx)
}
