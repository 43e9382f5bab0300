package metadata

import (
	"errors"

	"partstore/internal/layout"
)

// A copy moves no byte: it is one more object that names the part rows of an
// upload. They become garbage with the last of the objects that name them.

func (x *copyObject) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) { return x.copy(m) })
}

func (x *copyObject) copy(m *machine) (result, error) {
	if x.Key == "" {
		return refuse(ErrInvalid), nil
	}
	if found, err := m.has(bucketKey(x.Bucket)); err != nil {
		return result{}, err
	} else if !found {
		return refuse(ErrBucketNotFound), nil
	}
	o, found, err := m.seen(x.From)
	if err != nil {
		return result{}, err
	}
	if !found {
		return refuse(ErrObjectChanged), nil
	}
	if o.Appendable && !x.Move {
		return refuse(ErrInvalid), nil // its parts would be more than the copy's by the next append
	}
	o.Bucket, o.Key, o.Headers, o.Modified = x.Bucket, x.Key, x.Headers, x.Modified
	if err := m.addName(o.ID); err != nil { // before the target goes, which may have been the only one
		return result{}, err
	}
	r, err := m.createObject(&o)
	if err != nil || !x.Move || x.From.Bucket == x.Bucket && x.From.Key == x.Key {
		return r, err
	}
	return r, m.removeObject(x.From.Bucket, x.From.Key)
}

// names is how many objects name the part rows of an upload that has become an
// object. One is the rule, and has no row.
func (m *machine) names(id layout.UploadID) (n uint64, err error) {
	n = 1
	_, err = m.get(namesKey(id), func(c *coder) { c.uint(&n) })
	return n, err
}

func (m *machine) addName(id layout.UploadID) error {
	n, err := m.names(id)
	n++
	return errors.Join(err, m.put(namesKey(id), func(c *coder) { c.uint(&n) }))
}

// dropName is for an object that is about to go. With the last one the parts go
// too.
func (m *machine) dropName(id layout.UploadID) error {
	n, err := m.names(id)
	if err != nil {
		return err
	}
	switch n--; n {
	case 0:
		return m.discardUpload(id)
	case 1:
		return m.delete(namesKey(id))
	}
	return m.put(namesKey(id), func(c *coder) { c.uint(&n) })
}
