package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// read shows look the rows of one instant that lies between call and return.
func (r *Raft) read(ctx context.Context, look func(pebble.Reader) error) error {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	if err := r.sync(ctx); err != nil {
		return err
	}
	return r.view(look)
}

// view shows look the rows of this node as they are. What is there was there
// once; what is missing may only not have arrived.
func (r *Raft) view(look func(pebble.Reader) error) error {
	g, ok := r.state.acquire()
	if !ok {
		return fmt.Errorf("%w: %w", ErrUnavailable, errClosed)
	}
	defer r.state.release(g)
	rows := g.db.NewSnapshot()
	err := rowsError(errors.Join(look(rows), rows.Close()))
	if errors.Is(err, ErrDamaged) || isFault(err) {
		r.fail(err)
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// inService reports, as ErrUnavailable, a copy that must not be used.
func (r *Raft) inService() error {
	if r.ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(r.ctx))
	}
	return nil
}

// find is getRow with an error for "not found".
func find(rows pebble.Reader, key []byte, code func(*coder), absent error) error {
	found, err := getRow(rows, key, code)
	if err == nil && !found {
		return absent
	}
	return err
}

// Bucket implements Registry.
func (r *Raft) Bucket(ctx context.Context, name string) (b Bucket, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		return find(rows, bucketKey(name), b.code, ErrBucketNotFound)
	})
	return b, err
}

// Usage implements Registry.
func (r *Raft) Usage(ctx context.Context, bucket string) (u Usage, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		if err := find(rows, bucketKey(bucket), nil, ErrBucketNotFound); err != nil {
			return err
		}
		_, err := getRow(rows, usageKey(bucket), u.code) // no row: nothing was ever in it
		return err
	})
	return u, err
}

// asTheyAre looks at this node's rows as they are.
func (r *Raft) asTheyAre(look func(pebble.Reader) error) error {
	if err := r.inService(); err != nil {
		return err
	}
	return r.view(look)
}

// Buckets implements Registry.
func (r *Raft) Buckets(ctx context.Context, owner string, offset, limit int) (page []Bucket, total int, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		return scan(rows, []byte{rowBucket}, func(_, v []byte) error {
			var b Bucket
			if err := decodeValue(v, b.code); err != nil || owner != "" && b.Owner != owner {
				return err
			}
			if total >= offset && len(page) < limit {
				page = append(page, b)
			}
			total++
			return nil
		})
	})
	return page, total, err
}

// Upload implements Registry.
func (r *Raft) Upload(ctx context.Context, ref UploadRef) (u Upload, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		row, err := findUpload(rows, ref)
		u = row.Upload
		return err
	})
	return u, err
}

// UploadOpen implements Registry.
func (r *Raft) UploadOpen(ctx context.Context, ref UploadRef) (u Upload, err error) {
	err = r.asTheyAre(func(rows pebble.Reader) error {
		row, err := findUpload(rows, ref)
		u = row.Upload
		return err
	})
	if err == nil {
		return u, nil
	}
	return r.Upload(ctx, ref) // only the cluster can say that it is not there
}

func findUpload(rows pebble.Reader, ref UploadRef) (u uploadRow, err error) {
	if err := find(rows, bucketKey(ref.Bucket), nil, ErrBucketNotFound); err != nil {
		return u, err
	}
	if err := find(rows, uploadKey(ref.ID), u.code, ErrUploadNotFound); err != nil {
		return u, err
	}
	if u.UploadRef != ref {
		return uploadRow{}, ErrUploadNotFound
	}
	return u, nil
}

// Parts implements Registry.
func (r *Raft) Parts(ctx context.Context, ref UploadRef, after, limit int) (page PartPage, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		page, err = listParts(rows, ref, after, limit)
		return err
	})
	return page, err
}

func listParts(rows pebble.Reader, ref UploadRef, after, limit int) (page PartPage, err error) {
	if _, err := findUpload(rows, ref); err != nil {
		return page, err
	}
	if _, err := getRow(rows, countKey(ref.ID), codePartCount(&page.Total)); err != nil {
		return page, err
	}
	page.Parts, err = appendParts(make([]Part, 0, max(0, min(limit, page.Total))), rows, ref.ID, after, limit)
	return page, err
}

// appendParts reads up to limit part rows with numbers above after.
func appendParts(parts []Part, rows pebble.Reader, id layout.UploadID, after, limit int) ([]Part, error) {
	if limit <= 0 {
		return parts, nil
	}
	err := scanParts(rows, id, after+1, nil, false, func(value []byte) (bool, error) {
		parts = append(parts, Part{})
		limit--
		return limit > 0, decodeValue(value, parts[len(parts)-1].code)
	})
	return parts, err
}

// Object implements Registry.
func (r *Raft) Object(ctx context.Context, bucket, key string) (o Object, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		o, err = findObject(rows, bucket, key)
		return err
	})
	return o, err
}

func findObject(rows pebble.Reader, bucket, key string) (o Object, err error) {
	if err := find(rows, bucketKey(bucket), nil, ErrBucketNotFound); err != nil {
		return o, err
	}
	err = find(rows, objectKey(bucket, key), o.code, ErrObjectNotFound)
	return o, err
}

// ObjectParts implements Registry.
func (r *Raft) ObjectParts(ctx context.Context, bucket, key string) (o Object, parts []Part, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		if o, err = findObject(rows, bucket, key); err != nil {
			return err
		}
		parts, err = objectParts(rows, &o)
		return err
	})
	return o, parts, err
}

func objectParts(rows pebble.Reader, o *Object) ([]Part, error) {
	kept, err := keptParts(rows, o.ID)
	if err != nil {
		return nil, err
	}
	parts := make([]Part, 0, o.Parts)
	err = scanParts(rows, o.ID, 0, kept, kept != nil, func(value []byte) (bool, error) {
		parts = append(parts, Part{})
		return true, decodeValue(value, parts[len(parts)-1].code)
	})
	if err == nil && len(parts) != o.Parts {
		err = fmt.Errorf("object %q has %d part records of %d", o.Key, len(parts), o.Parts)
	}
	return parts, err
}

// Topology implements Registry.
func (r *Raft) Topology(ctx context.Context) (Topology, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	if err := r.sync(ctx); err != nil {
		return Topology{}, err
	}
	t, _ := r.LocalTopology()
	return t, nil
}
