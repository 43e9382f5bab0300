package metadata

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// User is who access keys stand for and buckets belong to.
type User struct {
	ID      string
	Name    string
	Created time.Time
}

// AccessKey is a credential of a user. Its secret is sealed before it comes
// here, by a key that no registry holds.
type AccessKey struct {
	ID       string
	User     string // user ID
	Disabled bool   // refused like an unknown key until it is enabled again
	Created  time.Time
	Sealed   []byte
}

const (
	maxKeyIDSize  = 128
	maxSealedSize = 512
)

func (u *User) code(c *coder) {
	c.string(&u.ID, maxNameSize)
	c.string(&u.Name, maxNameSize)
	c.time(&u.Created)
}

func (k *AccessKey) code(c *coder) {
	c.string(&k.ID, maxKeyIDSize)
	c.string(&k.User, maxNameSize)
	c.bool(&k.Disabled)
	c.time(&k.Created)
	c.bytes(&k.Sealed, maxSealedSize)
}

func userKey(id string) []byte      { return rowKey(rowUser, []byte(id)) }
func accessKeyKey(id string) []byte { return rowKey(rowAccess, []byte(id)) }

// CreateUser implements Registry.
func (r *Raft) CreateUser(ctx context.Context, u User) error {
	_, err := r.propose(ctx, &createUser{Request: layout.NewRequestID(), User: u})
	return err
}

// DeleteUser implements Registry.
func (r *Raft) DeleteUser(ctx context.Context, id string) error {
	_, err := r.propose(ctx, &deleteUser{Request: layout.NewRequestID(), ID: id})
	return err
}

// Users implements Registry.
func (r *Raft) Users(ctx context.Context) (users []User, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		return scan(rows, []byte{rowUser}, func(_, v []byte) error {
			var u User
			err := decodeValue(v, u.code)
			users = append(users, u)
			return err
		})
	})
	return users, err
}

// CreateKey implements Registry.
func (r *Raft) CreateKey(ctx context.Context, k AccessKey) error {
	_, err := r.propose(ctx, &createKey{Request: layout.NewRequestID(), Key: k})
	return err
}

// ChangeKey implements Registry.
func (r *Raft) ChangeKey(ctx context.Context, was, k AccessKey) error {
	digest, err := digest16(was.code)
	if err != nil {
		return err
	}
	_, err = r.propose(ctx, &changeKey{Request: layout.NewRequestID(), Was: digest, Key: k})
	return err
}

// DeleteKey implements Registry.
func (r *Raft) DeleteKey(ctx context.Context, id string) error {
	_, err := r.propose(ctx, &deleteKey{Request: layout.NewRequestID(), ID: id})
	return err
}

// Keys implements Registry.
func (r *Raft) Keys(ctx context.Context) (keys []AccessKey, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		return scan(rows, []byte{rowAccess}, func(_, v []byte) error {
			var k AccessKey
			err := decodeValue(v, k.code)
			keys = append(keys, k)
			return err
		})
	})
	return keys, err
}

// Key implements Registry.
func (r *Raft) Key(ctx context.Context, id string) (k AccessKey, err error) {
	look := func(rows pebble.Reader) error {
		return find(rows, accessKeyKey(id), k.code, ErrKeyNotFound)
	}
	err = r.recent(ctx, ErrKeyNotFound, look)
	return k, err
}

// RightsAge bounds how long ago the rows may have been true by which somebody
// is let in: a key that was disabled, or a right that was taken, counts nowhere
// any more after this long.
const RightsAge = time.Second

// recent is read, but the instant of the rows may lie up to RightsAge before
// the call, unless look finds something absent: that only the cluster can say.
// A node that could not ask the others for longer answers nothing.
func (r *Raft) recent(ctx context.Context, absent error, look func(pebble.Reader) error) error {
	synced := r.synced.Load()
	if synced != 0 && r.cfg.elapsed()-time.Duration(synced-1) <= RightsAge {
		if err := r.asTheyAre(look); err == nil || !errors.Is(err, absent) {
			return err
		}
	}
	return r.read(ctx, look)
}

// noteSync remembers that the rows include everything before began.
func (r *Raft) noteSync(began time.Duration) {
	for at := int64(began) + 1; ; { // 0 is never
		last := r.synced.Load()
		if last >= at || r.synced.CompareAndSwap(last, at) {
			return
		}
	}
}
