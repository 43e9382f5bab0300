package metadata

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// Both listings walk rows that are ordered by key, and step over everything
// below a common prefix with one seek.
type listing struct {
	base   []byte                                 // what all rows of the bucket begin with
	encode func(b []byte, key string) []byte      // appends a key or a prefix of one
	decode func(row []byte) (key string, ok bool) // reads the key of a row without base
	after  []byte                                 // the first row is the smallest above it; nil: none set
}

// walk visits rows and common prefixes in order until one of them returns false.
func (l listing) walk(rows pebble.Reader, q ListQuery, row func(value []byte, key string) (bool, error), group func(prefix string) bool) (err error) {
	first := l.encode(bytes.Clone(l.base), q.Prefix)
	upper := successor(first)
	it, err := rows.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	ok := it.First()
	if l.after != nil && bytes.Compare(l.after, first) > 0 {
		ok = it.SeekGE(l.after)
	}
	for ok {
		key, valid := l.decode(it.Key()[len(l.base):])
		if !valid {
			return errMalformed
		}
		prefix, grouped := commonPrefix(key, q)
		if !grouped {
			if more, err := row(it.Value(), key); !more || err != nil {
				return err
			}
			ok = it.Next()
			continue
		}
		// A marker inside a group, or the group itself as marker, has shown it.
		if prefix > q.Marker && !group(prefix) {
			return nil
		}
		above := successor(l.encode(bytes.Clone(l.base), prefix))
		ok = above != nil && it.SeekGE(above)
	}
	return it.Error()
}

// commonPrefix is the key up to and including the first delimiter after the
// query's prefix.
func commonPrefix(key string, q ListQuery) (string, bool) {
	if q.Delimiter == "" {
		return "", false
	}
	rest := key[len(q.Prefix):]
	i := strings.Index(rest, q.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(q.Prefix)+i+len(q.Delimiter)], true
}

// Objects implements Registry.
func (r *Raft) Objects(ctx context.Context, bucket string, q ListQuery) (page ObjectPage, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		page, err = listObjects(rows, bucket, q)
		return err
	})
	return page, err
}

func listObjects(rows pebble.Reader, bucket string, q ListQuery) (page ObjectPage, err error) {
	if err := find(rows, bucketKey(bucket), nil, ErrBucketNotFound); err != nil || q.Limit <= 0 {
		return page, err
	}
	l := listing{
		base:   objectsPrefix(bucket),
		encode: func(b []byte, key string) []byte { return append(b, key...) },
		decode: func(row []byte) (string, bool) { return string(row), true },
	}
	if q.Marker != "" {
		l.after = append(objectKey(bucket, q.Marker), 0) // the key right after the marker
	}
	last := ""
	full := func() bool { return len(page.Objects)+len(page.CommonPrefixes) == q.Limit }
	err = l.walk(rows, q, func(value []byte, key string) (bool, error) {
		if full() {
			page.Next = last
			return false, nil
		}
		var o Object
		err := decodeValue(value, o.code)
		page.Objects, last = append(page.Objects, o), key
		return true, err
	}, func(prefix string) bool {
		if full() {
			page.Next = last
			return false
		}
		page.CommonPrefixes, last = append(page.CommonPrefixes, prefix), prefix
		return true
	})
	return page, err
}

// Uploads implements Registry.
func (r *Raft) Uploads(ctx context.Context, bucket string, q ListQuery, afterID string) (page UploadPage, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		page, err = listUploads(rows, bucket, q, afterID)
		return err
	})
	return page, err
}

func listUploads(rows pebble.Reader, bucket string, q ListQuery, afterID string) (page UploadPage, err error) {
	if err := find(rows, bucketKey(bucket), nil, ErrBucketNotFound); err != nil || q.Limit <= 0 {
		return page, err
	}
	l := listing{base: listingsPrefix(bucket), encode: appendEscaped, decode: unescape}
	if q.Marker != "" {
		if l.after, err = afterUpload(rows, bucket, q.Marker, afterID); err != nil {
			return page, err
		}
	}
	var lastKey, lastID string
	full := func() bool {
		if len(page.Uploads)+len(page.CommonPrefixes) < q.Limit {
			return false
		}
		page.NextKey, page.NextID = lastKey, lastID
		return true
	}
	err = l.walk(rows, q, func(value []byte, key string) (bool, error) {
		if full() {
			return false, nil
		}
		var id layout.UploadID
		var u uploadRow
		if err := decodeValue(value, func(c *coder) { c.fixed(id[:]) }); err != nil {
			return false, err
		}
		if err := find(rows, uploadKey(id), u.code, errMalformed); err != nil {
			return false, err
		}
		page.Uploads, lastKey, lastID = append(page.Uploads, u.Upload), key, id.String()
		return true, nil
	}, func(prefix string) bool {
		if full() {
			return false
		}
		page.CommonPrefixes, lastKey, lastID = append(page.CommonPrefixes, prefix), prefix, ""
		return true
	})
	return page, err
}

// afterUpload is where a listing goes on: behind the given upload of the key,
// even if it has ended since, or else behind all uploads of the key.
func afterUpload(rows pebble.Reader, bucket, key, afterID string) ([]byte, error) {
	behindKey := append(appendEscaped(listingsPrefix(bucket), key), 0, 2)
	id, err := layout.ParseUploadID(afterID)
	if err != nil {
		return behindKey, nil
	}
	var open uploadRow
	if found, err := getRow(rows, uploadKey(id), open.code); found || err != nil {
		return listingKey(bucket, key, open.seq+1), err
	}
	var done doneRow
	if found, err := getRow(rows, doneKey(id), done.code); found || err != nil {
		return listingKey(bucket, key, done.seq+1), err
	}
	return behindKey, nil
}
