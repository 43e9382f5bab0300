package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

// lifecycleRegistry is what a pass asks of the registry, in pages of two.
type lifecycleRegistry struct {
	metadata.Registry // nil; everything else

	documents map[string][]byte
	objects   []metadata.Object // by key
	uploads   []metadata.Upload // by key
	listed    func(bucket string)
	broken    string // bucket whose objects cannot be listed
	replaced  string // key of an object that is another one by the time it is to expire
}

func (r *lifecycleRegistry) BucketsWith(context.Context, metadata.Setting) (map[string][]byte, error) {
	return r.documents, nil
}

func (r *lifecycleRegistry) Objects(_ context.Context, bucket string, q metadata.ListQuery) (page metadata.ObjectPage, err error) {
	if r.listed != nil {
		r.listed(bucket)
	}
	if bucket == r.broken {
		return page, metadata.ErrUnavailable
	}
	if bucket == "gone" {
		return page, metadata.ErrBucketNotFound
	}
	for _, o := range r.objects {
		if o.Bucket != bucket || !strings.HasPrefix(o.Key, q.Prefix) || o.Key <= q.Marker {
			continue
		}
		if len(page.Objects) == 2 {
			page.Next = page.Objects[1].Key
			break
		}
		page.Objects = append(page.Objects, o)
	}
	return page, nil
}

func (r *lifecycleRegistry) ExpireObject(_ context.Context, o metadata.Object) error {
	if o.Key == r.replaced {
		return metadata.ErrObjectNotFound
	}
	r.objects = slices.DeleteFunc(r.objects, func(other metadata.Object) bool { return other.Bucket == o.Bucket && other.Key == o.Key })
	return nil
}

func (r *lifecycleRegistry) Uploads(_ context.Context, bucket string, q metadata.ListQuery, _ string) (page metadata.UploadPage, err error) {
	for _, u := range r.uploads {
		if u.Bucket != bucket || !strings.HasPrefix(u.Key, q.Prefix) || u.Key <= q.Marker {
			continue
		}
		if len(page.Uploads) == 2 {
			page.NextKey, page.NextID = page.Uploads[1].Key, page.Uploads[1].ID.String()
			break
		}
		page.Uploads = append(page.Uploads, u)
	}
	return page, nil
}

func (r *lifecycleRegistry) AbortUpload(_ context.Context, ref metadata.UploadRef) error {
	r.uploads = slices.DeleteFunc(r.uploads, func(u metadata.Upload) bool { return u.UploadRef == ref })
	return nil
}

func (r *lifecycleRegistry) left() (keys []string) {
	for _, o := range r.objects {
		keys = append(keys, o.Bucket+"/"+o.Key)
	}
	for _, u := range r.uploads {
		keys = append(keys, u.Bucket+"/"+u.Key+" upload")
	}
	return keys
}

func TestLifecycle(t *testing.T) {
	now := time.Unix(1700000000, 0)
	r := &lifecycleRegistry{replaced: "tmp/3"}
	rules := `{"rule":[{"id":"e","status":"enabled","filter":{"prefix":"tmp/"},"expiration":{"days":3},"created":%d},` +
		`{"id":"a","status":"enabled","filter":{"prefix":""},"abort_incomplete_multipart_upload":{"days_after_initiation":2},"created":%[1]d},` +
		`{"id":"d","status":"disabled","filter":{"prefix":""},"expiration":{"days":1},"created":%[1]d}]}`
	r.documents = map[string][]byte{
		"gone":  fmt.Appendf(nil, rules, now.Add(-48*time.Hour).Unix()),
		"ruled": fmt.Appendf(nil, rules, now.Add(-24*time.Hour).Unix()),
		"young": fmt.Appendf(nil, rules, now.Add(-23*time.Hour).Unix()),
	}
	for _, bucket := range []string{"free", "ruled", "young"} {
		for n, days := range []int{3, 2, 30, 4, 3, 0, 10} {
			at := now.Add(-time.Duration(days) * day)
			key := fmt.Sprint("tmp/", n)
			r.objects = append(r.objects, metadata.Object{Bucket: bucket, Key: key, Modified: at})
			r.uploads = append(r.uploads, metadata.Upload{UploadRef: metadata.UploadRef{Bucket: bucket, Key: key, ID: layout.NewUploadID()}, Created: at})
		}
		r.objects = append(r.objects, metadata.Object{Bucket: bucket, Key: "z", Modified: now.Add(-99 * day)})
	}
	before := r.left()
	leads := false
	w := &lifecycle{registry: r, leads: func() bool { return leads }, now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler)}
	if err := w.pass(t.Context()); !errors.Is(err, errNotLeading) || !slices.Equal(r.left(), before) {
		t.Errorf("without leading: %v, left %v", err, r.left())
	}
	leads = true
	if err := w.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, key := range r.left() {
		if strings.HasPrefix(key, "ruled") {
			got = append(got, key)
		}
	}
	want := []string{"ruled/tmp/1", "ruled/tmp/3", "ruled/tmp/5", "ruled/z", "ruled/tmp/5 upload"}
	if !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if len(before)-len(r.left()) != 10 || w.expired.Load() != 4 || w.aborted.Load() != 6 || w.passed.Load() != now.Unix() {
		t.Errorf("%d are gone; counted %d expired, %d aborted, passed at %d", len(before)-len(r.left()), w.expired.Load(), w.aborted.Load(), w.passed.Load())
	}
}

func TestLifecycleStatus(t *testing.T) {
	now := time.Unix(1700000000, 0)
	rule := fmt.Appendf(nil, `{"rule":[{"id":"e","status":"enabled","filter":{"prefix":""},"expiration":{"days":3},"created":%d}]}`, now.Add(-48*time.Hour).Unix())
	r := &lifecycleRegistry{documents: map[string][]byte{"first": rule, "second": rule}, broken: "first"}
	r.objects = []metadata.Object{{Bucket: "second", Key: "old", Modified: now.Add(-9 * day)}}
	w := &lifecycle{registry: r, leads: func() bool { return true }, now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler)}
	if got := w.status(); got != (admin.Lifecycle{}) {
		t.Errorf("before any pass: %+v", got)
	}
	var seen []admin.Lifecycle
	r.listed = func(string) { seen = append(seen, w.status()) }
	if err := w.pass(t.Context()); !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("pass = %v", err)
	}
	if want := []admin.Lifecycle{{Began: now, Bucket: "first"}, {Began: now, Bucket: "second", Failed: 1}}; !slices.Equal(seen, want) {
		t.Errorf("on the way: %+v, want %+v", seen, want)
	}
	if got, want := w.status(), (admin.Lifecycle{Failed: 1, Expired: 1}); got != want {
		t.Errorf("after a pass that left one out: %+v, want %+v", got, want)
	}
	r.broken = ""
	if err := w.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.status(), (admin.Lifecycle{Passed: now, Expired: 1}); got != want {
		t.Errorf("after a whole pass: %+v, want %+v", got, want)
	}
}
