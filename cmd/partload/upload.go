package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"partstore/internal/qsclient"
)

// upload is an upload the harness opened, and what it must hold.
type upload struct {
	key   string
	id    string
	parts map[int]*part
}

// part is a part the cluster acknowledged.
type part struct {
	content
	etag     string // "" if not known
	doubtful bool   // an earlier try may still arrive, so it must not be overwritten
}

// numbers lists the upload's part numbers, ascending.
func (u *upload) numbers() []int { return slices.Sorted(maps.Keys(u.parts)) }

// object is what Complete makes of all parts.
func (u *upload) object() (o object) {
	for _, n := range u.numbers() {
		o = append(o, u.parts[n].content)
	}
	return o
}

func (c *client) createBucket(ctx context.Context) error {
	return c.do(ctx, operation{name: "create_bucket", send: func(ctx context.Context, to endpoint) (int64, error) {
		err := to.CreateBucket(ctx, c.cfg.bucket)
		if isStatus(err, http.StatusConflict) {
			return 0, nil
		}
		return 0, err
	}})
}

// initiate opens an upload under a key of its own.
func (c *client) initiate(ctx context.Context) (*upload, error) {
	c.serial++
	u := &upload{key: fmt.Sprintf("partload/%016x/%d/%d", c.cfg.seed, c.id, c.serial), parts: make(map[int]*part)}
	err := c.do(ctx, operation{name: "initiate", key: u.key, known: true, send: func(ctx context.Context, to endpoint) (_ int64, err error) {
		u.id, err = to.Initiate(ctx, c.cfg.bucket, u.key)
		return 0, err
	}})
	return u, err
}

// putPart sends one part. With check it holds the ETag against the MD5 of what
// was sent.
func (c *client) putPart(ctx context.Context, u *upload, number int, size int64, check bool) error {
	old := u.parts[number]
	p := &part{content: content{seed: c.rng.Uint64(), size: size}}
	err := c.do(ctx, operation{name: "put_part", key: u.key, upload: u.id, known: true, send: func(ctx context.Context, to endpoint) (int64, error) {
		body, sum := p.reader(), md5.New()
		if check {
			body = io.TeeReader(body, sum)
		}
		etag, err := to.PutPart(ctx, c.cfg.bucket, u.key, u.id, number, body, size)
		if err != nil {
			return 0, err
		}
		if want := hex.EncodeToString(sum.Sum(nil)); check && etag != want {
			return 0, &breach{kind: kindWrongBytes, detail: fmt.Sprintf("part %d has ETag %q, want %q", number, etag, want)}
		}
		p.etag = etag
		return size, nil
	}})
	if err != nil {
		return err
	}
	p.doubtful = c.retried || old != nil && old.doubtful
	u.parts[number] = p
	return nil
}

// pageLimit is how many parts a page of a listing holds.
const pageLimit = 1000

// list lists all parts and holds them against what was acknowledged.
func (c *client) list(ctx context.Context, u *upload) error {
	return c.do(ctx, operation{name: "list_parts", key: u.key, upload: u.id, known: true, send: func(ctx context.Context, to endpoint) (int64, error) {
		var got []qsclient.Part
		for after := -1; ; after = got[len(got)-1].Number {
			page, err := to.ListParts(ctx, c.cfg.bucket, u.key, u.id, after, pageLimit)
			if err != nil {
				return 0, err
			}
			if page.Count >= 0 && page.Count != len(u.parts) {
				return 0, &breach{kind: kindLostPart, detail: fmt.Sprintf("count is %d of %d parts", page.Count, len(u.parts))}
			}
			got = append(got, page.Parts...)
			if len(page.Parts) < pageLimit {
				return 0, u.compare(got)
			}
		}
	}})
}

// compare holds a full listing against the parts that were acknowledged.
func (u *upload) compare(got []qsclient.Part) error {
	for i, number := range u.numbers() {
		want := u.parts[number]
		if i >= len(got) || got[i].Number != number {
			return &breach{kind: kindLostPart, detail: fmt.Sprintf("part %d is not listed", number)}
		}
		if g := got[i]; g.Size != want.size || want.etag != "" && g.ETag != want.etag {
			return &breach{kind: kindLostPart, detail: fmt.Sprintf("part %d is listed with %d bytes and ETag %q, want %d and %q", number, g.Size, g.ETag, want.size, want.etag)}
		}
	}
	return nil
}

// complete turns all parts into an object.
func (c *client) complete(ctx context.Context, u *upload) error {
	var parts []qsclient.Part
	for _, n := range u.numbers() {
		parts = append(parts, qsclient.Part{Number: n, Size: u.parts[n].size, ETag: u.parts[n].etag})
	}
	return c.do(ctx, operation{name: "complete", key: u.key, upload: u.id, known: true, send: func(ctx context.Context, to endpoint) (int64, error) {
		err := to.Complete(ctx, c.cfg.bucket, u.key, u.id, parts)
		if isStatus(err, http.StatusBadRequest) {
			// All parts were acknowledged and named as they were.
			return 0, &breach{kind: kindLostPart, detail: err.Error()}
		}
		return 0, err
	}})
}

func (c *client) abort(ctx context.Context, u *upload) error {
	return c.do(ctx, operation{name: "abort", key: u.key, upload: u.id, known: true, send: func(ctx context.Context, to endpoint) (int64, error) {
		return 0, to.Abort(ctx, c.cfg.bucket, u.key, u.id)
	}})
}

// probe asks for an upload that does not exist. Any answer but 404 is a finding.
func (c *client) probe(ctx context.Context, u *upload, why string) error {
	put := c.rng.IntN(2) == 0
	return c.do(ctx, operation{name: "probe_" + why, key: u.key, upload: u.id, send: func(ctx context.Context, to endpoint) (int64, error) {
		var err error
		if put {
			_, err = to.PutPart(ctx, c.cfg.bucket, u.key, u.id, 1, nil, 0)
		} else {
			_, err = to.ListParts(ctx, c.cfg.bucket, u.key, u.id, -1, 1)
		}
		switch {
		case err == nil:
			return 0, &breach{kind: kindFalseHit, detail: why + " upload was found"}
		case isStatus(err, http.StatusNotFound):
			return 0, nil
		}
		return 0, err
	}})
}
