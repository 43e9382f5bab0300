package metadata

import (
	"errors"
	"fmt"
	"strings"

	"partstore/internal/layout"
)

type createUser struct {
	Request layout.RequestID
	User    User
}

func (*createUser) kind() commandKind { return kindCreateUser }
func (x *createUser) code(c *coder) {
	c.fixed(x.Request[:])
	x.User.code(c)
}

func (x *createUser) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if x.User.ID == "" || strings.IndexByte(x.User.ID, 0) >= 0 {
			return refuse(ErrInvalid), nil
		}
		return m.create(userKey(x.User.ID), x.User.code, ErrUserExists)
	})
}

type deleteUser struct {
	Request layout.RequestID
	ID      string
}

func (*deleteUser) kind() commandKind { return kindDeleteUser }
func (x *deleteUser) code(c *coder) {
	c.fixed(x.Request[:])
	c.string(&x.ID, maxNameSize)
}

func (x *deleteUser) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if found, err := m.has(userKey(x.ID)); err != nil || !found {
			return refuse(ErrUserNotFound), err
		}
		used, err := m.userInUse(x.ID)
		if err != nil || used {
			return refuse(ErrUserInUse), err
		}
		return result{}, m.delete(userKey(x.ID))
	})
}

// errFound ends a scan early.
var errFound = errors.New("found")

// userInUse reports whether a key or a bucket is of the user. Users are deleted
// too rarely to keep an index for it.
func (m *machine) userInUse(id string) (bool, error) {
	err := errors.Join(
		scan(m.batch, []byte{rowAccess}, func(_, v []byte) error {
			var k AccessKey
			err := decodeValue(v, k.code)
			if err == nil && k.User == id {
				return errFound
			}
			return err
		}),
		scan(m.batch, []byte{rowBucket}, func(_, v []byte) error {
			var b Bucket
			err := decodeValue(v, b.code)
			if err == nil && b.Owner == id {
				return errFound
			}
			return err
		}),
	)
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

type createKey struct {
	Request layout.RequestID
	Key     AccessKey
}

func (*createKey) kind() commandKind { return kindCreateKey }
func (x *createKey) code(c *coder) {
	c.fixed(x.Request[:])
	x.Key.code(c)
}

func (x *createKey) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if x.Key.ID == "" {
			return refuse(ErrInvalid), nil
		}
		if found, err := m.has(userKey(x.Key.User)); err != nil || !found {
			return refuse(ErrUserNotFound), err
		}
		return m.create(accessKeyKey(x.Key.ID), x.Key.code, ErrKeyExists)
	})
}

// changeKey replaces a key that is still as the caller saw it.
type changeKey struct {
	Request layout.RequestID
	Was     [16]byte // digest of the row
	Key     AccessKey
}

func (*changeKey) kind() commandKind { return kindChangeKey }
func (x *changeKey) code(c *coder) {
	c.fixed(x.Request[:])
	c.fixed(x.Was[:])
	x.Key.code(c)
}

func (x *changeKey) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		var k AccessKey
		if found, err := m.get(accessKeyKey(x.Key.ID), k.code); err != nil || !found {
			return refuse(ErrKeyNotFound), err
		}
		is, err := digest16(k.code)
		if err != nil {
			return result{}, err
		}
		switch {
		case is != x.Was:
			return refuse(ErrKeyChanged), nil
		case k.User != x.Key.User:
			return refuse(ErrInvalid), nil
		}
		return result{}, m.put(accessKeyKey(x.Key.ID), x.Key.code)
	})
}

type deleteKey struct {
	Request layout.RequestID
	ID      string
}

func (*deleteKey) kind() commandKind { return kindDeleteKey }
func (x *deleteKey) code(c *coder) {
	c.fixed(x.Request[:])
	c.string(&x.ID, maxKeyIDSize)
}

func (x *deleteKey) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if found, err := m.has(accessKeyKey(x.ID)); err != nil || !found {
			return refuse(ErrKeyNotFound), err
		}
		return result{}, m.delete(accessKeyKey(x.ID))
	})
}

// create puts a row unless there is one.
func (m *machine) create(key []byte, code func(*coder), exists error) (result, error) {
	if found, err := m.has(key); err != nil {
		return result{}, fmt.Errorf("create: %w", err)
	} else if found {
		return refuse(exists), nil
	}
	return result{}, m.put(key, code)
}
