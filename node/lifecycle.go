package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/qingstor"
)

const (
	lifecycleInterval = time.Hour            // between two passes; rules count in days
	lifecyclePace     = 5 * time.Millisecond // between two commands: at most 200 a second
	lifecyclePage     = 1000
	day               = 24 * time.Hour
)

// lifecycle applies the lifecycle rules of all buckets while this node leads.
// It decides by the leader's clock and the times in the records; each command
// names what was seen, so an object that was replaced meanwhile stays, and a
// pass that another leader repeats does no harm.
type lifecycle struct {
	registry metadata.Registry
	leads    func() bool
	now      func() time.Time
	pace     time.Duration
	log      *slog.Logger

	expired, aborted atomic.Int64 // since the node started
	passed           atomic.Int64 // Unix time when the last whole pass ended; 0: none

	mu     sync.Mutex
	began  time.Time // of the pass under way; zero: none is
	bucket string    // that it is at
	failed int       // buckets the last pass left out, or this one so far
}

// status is how far the worker has come.
func (w *lifecycle) status() admin.Lifecycle {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := admin.Lifecycle{Began: w.began, Bucket: w.bucket, Failed: w.failed, Expired: w.expired.Load(), Aborted: w.aborted.Load()}
	if passed := w.passed.Load(); passed != 0 {
		s.Passed = time.Unix(passed, 0)
	}
	return s
}

// at notes that the pass is at a bucket; "" is before the first.
func (w *lifecycle) at(bucket string, failed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.began.IsZero() {
		w.began = w.now()
	}
	w.bucket, w.failed = bucket, failed
}

// ended notes that no pass is under way.
func (w *lifecycle) ended(failed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began, w.bucket, w.failed = time.Time{}, "", failed
}

// run makes a pass now and then.
func (w *lifecycle) run(ctx context.Context) error {
	tick := time.NewTicker(lifecycleInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !w.leads() {
			continue
		}
		if err := w.pass(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "lifecycle pass", "err", err)
		}
	}
}

// errNotLeading ends a pass: another node makes the next one.
var errNotLeading = errors.New("not leading any more")

// pass applies every rule once. A bucket that fails does not keep the others
// waiting.
func (w *lifecycle) pass(ctx context.Context) error {
	var failed []error
	w.at("", 0)
	defer func() { w.ended(len(failed)) }()
	documents, err := w.registry.BucketsWith(ctx, metadata.SettingLifecycle)
	if err != nil {
		return err
	}
	for _, bucket := range slices.Sorted(maps.Keys(documents)) {
		w.at(bucket, len(failed))
		rules, err := qingstor.LifecycleRules(documents[bucket], w.now())
		for _, r := range rules {
			err = errors.Join(err, w.apply(ctx, bucket, r))
		}
		if ctx.Err() != nil || errors.Is(err, errNotLeading) {
			return err
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	w.passed.Store(w.now().Unix())
	return nil
}

func (w *lifecycle) apply(ctx context.Context, bucket string, r qingstor.LifecycleRule) (err error) {
	if r.ExpireDays > 0 {
		err = w.expire(ctx, bucket, r.Prefix, w.now().Add(-time.Duration(r.ExpireDays)*day))
	} else {
		err = w.abort(ctx, bucket, r.Prefix, w.now().Add(-time.Duration(r.AbortDays)*day))
	}
	if errors.Is(err, metadata.ErrBucketNotFound) {
		return nil // deleted meanwhile, its rules too
	}
	return err
}

// expire deletes the objects last modified at that time or before.
func (w *lifecycle) expire(ctx context.Context, bucket, prefix string, since time.Time) error {
	q := metadata.ListQuery{Prefix: prefix, Limit: lifecyclePage}
	for {
		page, err := w.registry.Objects(ctx, bucket, q)
		if err != nil {
			return err
		}
		for _, o := range page.Objects {
			if o.Modified.After(since) {
				continue
			}
			if err := w.wait(ctx); err != nil {
				return err
			}
			switch err := w.registry.ExpireObject(ctx, o); {
			case err == nil:
				w.expired.Add(1)
			case !errors.Is(err, metadata.ErrObjectNotFound): // else it is another one by now
				return err
			}
		}
		if q.Marker = page.Next; q.Marker == "" {
			return nil
		}
	}
}

// abort aborts the uploads initiated at that time or before.
func (w *lifecycle) abort(ctx context.Context, bucket, prefix string, since time.Time) error {
	q, afterID := metadata.ListQuery{Prefix: prefix, Limit: lifecyclePage}, ""
	for {
		page, err := w.registry.Uploads(ctx, bucket, q, afterID)
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			if u.Created.After(since) {
				continue
			}
			if err := w.wait(ctx); err != nil {
				return err
			}
			if err := w.registry.AbortUpload(ctx, u.UploadRef); err != nil {
				return err
			}
			w.aborted.Add(1)
		}
		if q.Marker, afterID = page.NextKey, page.NextID; q.Marker == "" {
			return nil
		}
	}
}

// wait bounds the rate of commands, and ends a pass that is no longer ours.
func (w *lifecycle) wait(ctx context.Context) error {
	if !w.leads() {
		return errNotLeading
	}
	select {
	case <-time.After(w.pace):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
