package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"partstore/internal/qsclient"
)

// errGaveUp reports an operation whose outcome is unknown: every try ended in a
// 503 or a broken connection.
var errGaveUp = errors.New("gave up")

// refusal is a 4xx answer the harness cannot explain: its credential is wrong,
// or it or the server has a bug.
type refusal struct {
	op  string
	err error
}

func (r *refusal) Error() string { return fmt.Sprintf("%s refused: %v", r.op, r.err) }
func (r *refusal) Unwrap() error { return r.err }

// operation is one thing a user does. It may take several requests.
type operation struct {
	name   string
	key    string
	upload string
	known  bool // what it names exists: 404 is a finding
	send   func(ctx context.Context, to endpoint) (bytes int64, err error)
}

// do sends an operation to one random endpoint after another until it succeeds,
// is refused, or breaks a promise. Only success returns nil.
func (c *client) do(ctx context.Context, o operation) error {
	began := time.Now()
	for try := 0; ; try++ {
		to := c.endpoints[c.rng.IntN(len(c.endpoints))]
		c.retried = try > 0
		bytes, err := c.try(ctx, to, o)
		if err == nil {
			c.stats.succeeded(o.name, time.Since(began), bytes)
			c.spent.Add(1)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if found := asBreach(o, err); found != nil {
			c.findings.add(finding{
				Kind: found.kind, Operation: o.name, Endpoint: to.url, RequestID: found.requestID,
				Key: o.key, UploadID: o.upload, Detail: found.detail,
			})
			return found
		}
		code, retry := classify(err)
		c.stats.erred(o.name, code)
		switch {
		case !retry:
			return &refusal{o.name, err}
		case try == c.cfg.retries:
			c.stats.gaveUp(o.name)
			return fmt.Errorf("%s: %w: %w", o.name, errGaveUp, err)
		}
		pause(ctx, min(50*time.Millisecond<<min(try, 5), time.Second))
	}
}

func (c *client) try(ctx context.Context, to endpoint, o operation) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.timeout)
	defer cancel()
	return o.send(ctx, to)
}

// asBreach returns the promise an error breaks, or nil.
func asBreach(o operation, err error) *breach {
	var b *breach
	if errors.As(err, &b) {
		return b
	}
	var e *qsclient.Error
	if o.known && errors.As(err, &e) && e.Status == http.StatusNotFound {
		return &breach{kind: kindFalse404, detail: err.Error(), requestID: e.RequestID}
	}
	return nil
}

// classify names an error for the report and says whether trying again may help.
func classify(err error) (code string, retry bool) {
	var e *qsclient.Error
	switch {
	case !errors.As(err, &e):
		if errors.Is(err, context.DeadlineExceeded) {
			return "timeout", true
		}
		return "connection", true
	case e.Code != "":
		code = strconv.Itoa(e.Status) + " " + e.Code
	default:
		code = strconv.Itoa(e.Status)
	}
	return code, e.Status >= 500 || e.Status == http.StatusTooManyRequests
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// isStatus reports whether err is an answer with that status.
func isStatus(err error, status int) bool {
	var e *qsclient.Error
	return errors.As(err, &e) && e.Status == status
}
