package metadata

import (
	"bytes"
	"crypto/md5" // the protocol's ETag; nothing rests on it being hard to collide
	"encoding/hex"
	"errors"
	"fmt"
	"maps"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

func (x *completeUpload) apply(m *machine) (result, error) {
	return m.firmly(requestKey(x.Request), func() (result, error) { return x.complete(m) })
}

func (x *completeUpload) complete(m *machine) (result, error) {
	wish, err := digest16(x.codeWish)
	if err != nil {
		return result{}, err
	}
	if r, ended, err := m.repeated(x.ID, wish, ErrUploadNotFound); ended || err != nil {
		return r, err
	}
	if found, err := m.has(bucketKey(x.Bucket)); err != nil {
		return result{}, err
	} else if !found {
		return refuse(ErrBucketNotFound), nil
	}
	var u uploadRow
	if open, err := m.get(uploadKey(x.ID), u.code); err != nil {
		return result{}, err
	} else if !open || u.UploadRef != x.UploadRef {
		return refuse(ErrUploadNotFound), nil
	}
	chosen, err := m.chooseParts(x.ID, x.Parts)
	if err != nil {
		return result{}, err
	}
	if chosen.refusal != nil {
		return refuse(chosen.refusal), nil
	}
	o := x.object(&u, chosen)
	if _, err := encodeValue(o.code); err != nil {
		return refuse(ErrInvalid), nil // the headers of both commands together are too many
	}
	if err := m.leaveParts(x, chosen.numbers); err != nil {
		return result{}, err
	}
	if err := m.endUpload(&u, doneRow{seq: u.seq, wish: wish, object: &o}); err != nil {
		return result{}, err
	}
	return m.createObject(&o)
}

func (x *completeUpload) object(u *uploadRow, chosen chosenParts) Object {
	headers := maps.Clone(u.Headers)
	if headers == nil {
		headers = Headers{}
	}
	maps.Copy(headers, x.Headers)
	etag := x.ETag
	if etag == "" {
		etag = chosen.etag
	}
	return Object{
		Bucket: x.Bucket, Key: x.Key, ID: x.ID, Size: chosen.size, ETag: etag,
		Parts: len(x.Parts), Modified: x.Modified, Headers: headers,
	}
}

// leaveParts makes garbage of the parts that a Complete does not name.
func (m *machine) leaveParts(x *completeUpload, named PartSet) error {
	count := 0
	if _, err := m.get(countKey(x.ID), codePartCount(&count)); err != nil {
		return err
	}
	left := count - len(x.Parts)
	switch {
	case left == 0:
		return nil
	case x.byRow:
		return m.discardOthers(x.ID, named)
	}
	return m.discardRest(x.ID, named, left)
}

// chosenParts is what a Complete picked out of an upload's parts.
type chosenParts struct {
	size    int64
	etag    string
	numbers PartSet
	refusal error // why the list cannot become an object
}

// chooseParts reads the part rows that are wanted, in their order, and steps over
// the others.
func (m *machine) chooseParts(id layout.UploadID, want []CompletePart) (chosen chosenParts, err error) {
	for i := 1; i < len(want); i++ {
		if want[i-1].Number >= want[i].Number {
			chosen.refusal = ErrInvalid
		}
	}
	if len(want) == 0 {
		chosen.refusal = ErrInvalid
	}
	if chosen.refusal != nil {
		return chosen, nil
	}
	it, err := m.batch.NewIter(&pebble.IterOptions{
		LowerBound: partKey(id, want[0].Number), UpperBound: successor(partKey(id, want[len(want)-1].Number)),
	})
	if err != nil {
		return chosen, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	sums := md5.New()
	var p Part // one for all rows, so that each costs little: a Complete holds up what comes after it
	code := p.code
	it.First()
	for i, w := range want {
		key := partKey(id, w.Number)
		if it.Valid() && bytes.Compare(it.Key(), key) < 0 {
			it.SeekGE(key)
		}
		if !it.Valid() || !bytes.Equal(it.Key(), key) {
			chosen.refusal = ErrPartNotFound
			return chosen, it.Error()
		}
		p = Part{}
		if err := decodeValue(it.Value(), code); err != nil {
			return chosen, fmt.Errorf("row %q: %w", key, err)
		}
		chosen.size += p.Size
		switch {
		case w.ETag != nil && *w.ETag != p.ETag:
			chosen.refusal = ErrPartMismatch
		case i < len(want)-1 && p.Size < MinPartSize:
			chosen.refusal = ErrPartTooSmall
		case chosen.size > MaxObjectSize:
			chosen.refusal = ErrObjectTooLarge
		}
		if chosen.refusal != nil {
			return chosen, nil
		}
		sums.Write(p.ETag[:])
		chosen.numbers = chosen.numbers.with(p.Number)
		it.Next()
	}
	chosen.etag = fmt.Sprintf("%s-%d", hex.EncodeToString(sums.Sum(nil)), len(want))
	return chosen, nil
}

func (x *putObject) apply(m *machine) (result, error) {
	return m.firmly(refusalKey(x.ID), func() (result, error) { return x.put(m) })
}

func (x *putObject) put(m *machine) (result, error) {
	wish, err := digest16(x.code)
	if err != nil {
		return result{}, err
	}
	if r, repeat, err := m.repeated(x.ID, wish, ErrInvalid); repeat || err != nil {
		return r, err
	}
	part := x.Part
	part.Number = layout.MinPartNumber
	if x.Key == "" || !m.partIsValid(&part) {
		return refuse(ErrInvalid), nil
	}
	if taken, err := m.has(uploadKey(x.ID)); err != nil {
		return result{}, err
	} else if taken {
		return refuse(ErrInvalid), nil
	}
	if found, err := m.has(bucketKey(x.Bucket)); err != nil {
		return result{}, err
	} else if !found {
		return refuse(ErrBucketNotFound), nil
	}
	if !m.attemptMayCommit(part.Layout.Attempt) {
		return refuse(ErrAttemptFenced), nil
	}
	if !m.forgetMoved(&part.Layout) {
		return refuse(ErrSlotsMoved), nil
	}
	o := Object{
		Bucket: x.Bucket, Key: x.Key, ID: x.ID, Size: part.Size, ETag: hex.EncodeToString(part.ETag[:]),
		Parts: 1, Modified: part.Modified, Headers: x.Headers,
	}
	done := doneRow{wish: wish, object: &o}
	err = errors.Join(
		m.put(partKey(x.ID, part.Number), part.code),
		m.putFor(AttemptLifetime, doneKey(x.ID), done.code),
	)
	if err != nil {
		return result{}, err
	}
	return m.createObject(&o)
}

// repeated answers a command whose upload has already ended: with the object,
// if it is the command that made it, else with the refusal.
func (m *machine) repeated(id layout.UploadID, wish [16]byte, refusal error) (r result, ended bool, err error) {
	var done doneRow
	ended, err = m.get(doneKey(id), done.code)
	if !ended || err != nil {
		return result{}, false, err
	}
	if done.object == nil || done.wish != wish {
		return refuse(refusal), true, nil
	}
	r.payload, err = encodeValue(done.object.code)
	return r, true, err
}

// createObject puts the object's row in place of what is under its key.
func (m *machine) createObject(o *Object) (result, error) {
	payload, err := encodeValue(o.code)
	if err != nil {
		return result{}, err
	}
	if err := errors.Join(m.discardObject(o.Bucket, o.Key), m.use(o.Bucket, 1, o.Size)); err != nil {
		return result{}, err
	}
	return result{payload: payload}, m.batch.Set(objectKey(o.Bucket, o.Key), payload, nil)
}

// seen finds an object that is as somebody has seen it: the same payload and
// the same headers, and nothing was appended.
func (m *machine) seen(v objectVersion) (o Object, found bool, err error) {
	found, err = m.get(objectKey(v.Bucket, v.Key), o.code)
	if !found || err != nil {
		return o, false, err
	}
	now, err := versionOf(o)
	return o, now == v, err
}

// discardObject makes the object under a key, if there is one, name no parts.
func (m *machine) discardObject(bucket, key string) error {
	var old Object
	if found, err := m.get(objectKey(bucket, key), old.code); !found || err != nil {
		return err
	}
	return errors.Join(m.dropName(old.ID), m.use(bucket, -1, -old.Size))
}

// use counts what is in a bucket.
func (m *machine) use(bucket string, objects, bytes int64) error {
	var u Usage
	_, err := m.get(usageKey(bucket), u.code)
	u.Objects, u.Bytes = u.Objects+objects, u.Bytes+bytes
	return errors.Join(err, m.put(usageKey(bucket), u.code))
}

func (m *machine) removeObject(bucket, key string) error {
	return errors.Join(m.discardObject(bucket, key), m.delete(objectKey(bucket, key)))
}

func (x *deleteObject) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if found, err := m.has(bucketKey(x.Bucket)); err != nil {
			return result{}, err
		} else if !found {
			return refuse(ErrBucketNotFound), nil
		}
		return result{}, m.removeObject(x.Bucket, x.Key)
	})
}

func (x *expireObject) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if _, found, err := m.seen(x.From); err != nil || !found {
			return refuse(ErrObjectNotFound), err
		}
		return result{}, m.removeObject(x.From.Bucket, x.From.Key)
	})
}
