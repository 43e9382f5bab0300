package metadata

import (
	"errors"

	"partstore/internal/layout"
)

func (x *createUpload) apply(m *machine) (result, error) {
	return m.firmly(refusalKey(x.Upload.ID), func() (result, error) { return x.create(m) })
}

func (x *createUpload) create(m *machine) (result, error) {
	id := x.Upload.ID
	if x.Upload.Key == "" {
		return refuse(ErrInvalid), nil
	}
	var open uploadRow
	if found, err := m.get(uploadKey(id), open.code); err != nil {
		return result{}, err
	} else if found && open.UploadRef != x.Upload.UploadRef {
		return refuse(ErrInvalid), nil
	} else if found {
		return result{}, nil
	}
	if ended, err := m.has(doneKey(id)); ended || err != nil {
		return result{}, err // a repeat that comes after the end
	}
	if found, err := m.has(bucketKey(x.Upload.Bucket)); err != nil {
		return result{}, err
	} else if !found {
		return refuse(ErrBucketNotFound), nil
	}
	row := uploadRow{Upload: x.Upload, seq: m.nextSequence()}
	return result{}, errors.Join(
		m.put(uploadKey(id), row.code),
		m.put(row.listingKey(), func(c *coder) { c.fixed(row.ID[:]) }),
	)
}

func (u *uploadRow) listingKey() []byte { return listingKey(u.Bucket, u.Key, u.seq) }

func (x *commitPart) apply(m *machine) (result, error) {
	if !m.partIsValid(&x.Part) {
		return refuse(ErrInvalid), nil
	}
	key := partKey(x.Upload, x.Part.Number)
	var old Part
	replaces, err := m.get(key, old.code)
	if err != nil {
		return result{}, err
	}
	if replaces && old.Layout.Attempt == x.Part.Layout.Attempt {
		return result{}, nil
	}
	// Committed before and superseded since: done, and not to be reinstated.
	if superseded, err := m.has(attemptKey(x.Part.Layout.Attempt)); superseded || err != nil {
		return result{}, err
	}
	var u uploadRow
	if open, err := m.get(uploadKey(x.Upload), u.code); err != nil {
		return result{}, err
	} else if !open || digestKey(u.Bucket, u.Key) != x.Key {
		return refuse(ErrUploadNotFound), nil
	}
	if !m.attemptMayCommit(x.Part.Layout.Attempt) {
		return refuse(ErrAttemptFenced), nil
	}
	if !m.forgetMoved(&x.Part.Layout) {
		return refuse(ErrSlotsMoved), nil
	}
	if replaces {
		err = m.discardPart(x.Upload, old)
	} else {
		err = m.countPart(x.Upload)
	}
	return result{}, errors.Join(err, m.put(key, x.Part.code))
}

// countPart counts one part more, so that no listing has to count them all.
func (m *machine) countPart(id layout.UploadID) error {
	count := 0
	if _, err := m.get(countKey(id), codePartCount(&count)); err != nil {
		return err
	}
	count++
	return m.put(countKey(id), codePartCount(&count))
}

func (x *abortUpload) apply(m *machine) (result, error) {
	var u uploadRow
	if open, err := m.get(uploadKey(x.Ref.ID), u.code); err != nil {
		return result{}, err
	} else if !open || u.UploadRef != x.Ref {
		return m.abortNothing(x.Ref)
	}
	return result{}, errors.Join(
		m.endUpload(&u, doneRow{seq: u.seq}),
		m.discardUpload(u.ID),
	)
}

// abortNothing answers the abort of an upload that is not open: done, if it
// ended or never was, unless there is no bucket either.
func (m *machine) abortNothing(ref UploadRef) (result, error) {
	if ended, err := m.has(doneKey(ref.ID)); ended || err != nil {
		return result{}, err
	}
	if found, err := m.has(bucketKey(ref.Bucket)); err != nil {
		return result{}, err
	} else if !found {
		return refuse(ErrBucketNotFound), nil
	}
	return result{}, nil
}

// endUpload takes an upload out of sight and remembers how it ended. Its part
// rows stay: they are the object's now, or garbage as a whole.
func (m *machine) endUpload(u *uploadRow, done doneRow) error {
	return errors.Join(
		m.delete(uploadKey(u.ID)),
		m.delete(countKey(u.ID)),
		m.delete(u.listingKey()),
		m.putFor(AttemptLifetime, doneKey(u.ID), done.code),
	)
}

// discardPart queues the chunks of a part whose row is about to go, and keeps
// in mind that its attempt was once committed.
func (m *machine) discardPart(id layout.UploadID, p Part) error {
	g := Garbage{Upload: id, Part: &p}
	return errors.Join(
		m.put(garbageKey(m.meta.time, m.nextSequence()), g.code),
		m.putFor(AttemptLifetime, attemptKey(p.Layout.Attempt), func(*coder) {}),
	)
}

// discardUpload queues all parts an upload has, in one row. Those that were in
// the queue before, as ones its object did not name, are among them.
func (m *machine) discardUpload(id layout.UploadID) error {
	g := Garbage{Upload: id}
	return errors.Join(m.forgetRest(id), m.put(garbageKey(m.meta.time, m.nextSequence()), g.code))
}

// discardRest queues all parts of an upload but those its object names, in one
// row however many they are. left says how many.
func (m *machine) discardRest(id layout.UploadID, named PartSet, left int) error {
	m.meta.format = restFormat
	g := Garbage{Upload: id, Kept: named, left: left}
	key := garbageKey(m.meta.time, m.nextSequence())
	return errors.Join(m.put(key, g.code), m.put(restKey(id), func(c *coder) { c.fixed(key[1:]) }))
}

// forgetRest takes the row of discardRest back, if there is one.
func (m *machine) forgetRest(id layout.UploadID) error {
	key := garbageKey(0, 0)
	found, err := m.get(restKey(id), func(c *coder) { c.fixed(key[1:]) })
	if !found || err != nil {
		return err
	}
	return errors.Join(m.delete(key), m.delete(restKey(id)))
}

// discardOthers queues each part of an upload but those its object names.
func (m *machine) discardOthers(id layout.UploadID, named PartSet) error {
	var others []Part
	err := scanParts(m.batch, id, 0, named, false, func(value []byte) (bool, error) {
		others = append(others, Part{})
		return true, decodeValue(value, others[len(others)-1].code)
	})
	for _, p := range others {
		err = errors.Join(err, m.discardPart(id, p), m.delete(partKey(id, p.Number)))
	}
	return err
}
