package metadata

import (
	"errors"
	"strings"
)

func (x *createBucket) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		name := x.Bucket.Name
		if name == "" || strings.IndexByte(name, 0) >= 0 {
			return refuse(ErrInvalid), nil
		}
		if found, err := m.has(bucketKey(name)); err != nil {
			return result{}, err
		} else if found {
			return refuse(ErrBucketExists), nil
		}
		return result{}, m.put(bucketKey(name), x.Bucket.code)
	})
}

func (x *deleteBucket) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if found, err := m.has(bucketKey(x.Name)); err != nil {
			return result{}, err
		} else if !found {
			return refuse(ErrBucketNotFound), nil
		}
		for _, prefix := range [][]byte{objectsPrefix(x.Name), listingsPrefix(x.Name)} {
			if none, err := empty(m.batch, prefix); err != nil {
				return result{}, err
			} else if !none {
				return refuse(ErrBucketNotEmpty), nil
			}
		}
		return result{}, errors.Join(m.forgetSettings(x.Name), m.delete(usageKey(x.Name)), m.delete(bucketKey(x.Name)))
	})
}
