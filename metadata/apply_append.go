package metadata

import (
	"crypto/md5" // the protocol's ETag; nothing rests on it being hard to collide
	"encoding/hex"
	"errors"
	"fmt"

	"partstore/internal/layout"
)

func (x *appendObject) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) { return x.append(m) })
}

func (x *appendObject) append(m *machine) (result, error) {
	if x.Key == "" || !m.partIsValid(&x.Part) {
		return refuse(ErrInvalid), nil
	}
	if found, err := m.has(bucketKey(x.Bucket)); err != nil {
		return result{}, err
	} else if !found {
		return refuse(ErrBucketNotFound), nil
	}
	if !m.attemptMayCommit(x.Part.Layout.Attempt) { // first: what is older than the memory of commands is never done again
		return refuse(ErrAttemptFenced), nil
	}
	if !m.forgetMoved(&x.Part.Layout) {
		return refuse(ErrSlotsMoved), nil
	}
	o, refusal, err := x.target(m)
	if err != nil {
		return result{}, err
	}
	if refusal != nil {
		return refuse(refusal), nil
	}
	if x.Part.Size > 0 || o.ETag == "" {
		if err := x.extend(m, &o); err != nil {
			return result{}, err
		}
	}
	payload, err := encodeValue(o.code)
	return result{payload: payload}, errors.Join(err, m.batch.Set(objectKey(o.Bucket, o.Key), payload, nil))
}

// target is the object as it is, without an ETag if it is yet to be created; or
// why nothing can be appended to it.
func (x *appendObject) target(m *machine) (o Object, refusal, err error) {
	found, err := m.get(objectKey(x.Bucket, x.Key), o.code)
	if err != nil {
		return o, nil, err
	}
	if !found && !x.Create {
		return o, ErrPosition, nil // its ID may be garbage by now
	}
	if !found {
		o = Object{Bucket: x.Bucket, Key: x.Key, ID: x.ID, Headers: x.Headers, Appendable: true}
		if used, err := m.used(x.ID); used || err != nil {
			return o, ErrInvalid, err
		}
	}
	switch {
	case !o.Appendable:
		return o, ErrNotAppendable, nil
	case found && x.Create || o.ID != x.ID || o.Size != x.Position:
		return o, ErrPosition, nil
	case o.Parts != int(x.Part.Number):
		return o, ErrInvalid, nil
	case o.Size+x.Part.Size > MaxObjectSize:
		return o, ErrObjectTooLarge, nil
	}
	return o, nil, nil
}

// used reports whether an upload ID has part rows, or is an open upload's.
func (m *machine) used(id layout.UploadID) (bool, error) {
	open, err := m.has(uploadKey(id))
	if open || err != nil {
		return open, err
	}
	none, err := empty(m.batch, partsPrefix(id))
	return !none, err
}

// extend puts the part's row, if it has chunks, and makes the object longer.
// The ETag is one over all appends, each mixed into the one before.
func (x *appendObject) extend(m *machine, o *Object) error {
	created := int64(0)
	if o.ETag == "" {
		created = 1
	}
	sum := md5.Sum(append([]byte(o.ETag), x.Part.ETag[:]...))
	if x.Part.Size > 0 {
		if err := m.put(partKey(o.ID, x.Part.Number), x.Part.code); err != nil {
			return err
		}
		o.Parts++
	}
	o.Size += x.Part.Size
	o.Modified = x.Part.Modified
	o.ETag = fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:]), o.Parts)
	return m.use(o.Bucket, created, x.Part.Size)
}
