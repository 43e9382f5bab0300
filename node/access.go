package node

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/qingstor"
)

// rootOwner is the user ID of the operator's access key, which is in the
// configuration and not in the registry.
const rootOwner = "usr-root"

// accessKeys finds access keys: the operator's, and those of the registry. It
// keeps nothing, so a key that is disabled counts no longer than the registry's
// rows may be old (metadata.RightsAge).
type accessKeys struct {
	rootID, rootSecret string
	registry           metadata.Registry
	ring               keyRing
}

// Credential implements qingstor.Keyring.
func (k accessKeys) Credential(ctx context.Context, id string) (c qingstor.Credential, ok bool, err error) {
	if id == k.rootID {
		return qingstor.Credential{Secret: k.rootSecret, Owner: rootOwner}, true, nil
	}
	key, err := k.registry.Key(ctx, id)
	switch {
	case errors.Is(err, metadata.ErrKeyNotFound), err == nil && key.Disabled:
		return c, false, nil
	case err != nil:
		return c, false, err
	}
	secret, err := k.ring.open(id, key.Sealed)
	if errors.Is(err, errNoSealingKey) {
		// The key may well be good: it is this node that lacks something.
		err = fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	return qingstor.Credential{Secret: secret, Owner: key.User}, err == nil, err
}

// Users implements admin.Service.
func (o operator) Users(ctx context.Context) (list []admin.User, err error) {
	if !o.n.isOpen() {
		return nil, errStarting
	}
	users, err := o.n.registry.Users(ctx)
	for _, u := range users {
		list = append(list, admin.User{ID: u.ID, Name: u.Name, Created: u.Created})
	}
	return list, err
}

// CreateUser implements admin.Service.
func (o operator) CreateUser(ctx context.Context, id, name string) (admin.User, error) {
	switch {
	case !o.n.isOpen():
		return admin.User{}, errStarting
	case id == rootOwner:
		return admin.User{}, metadata.ErrUserExists
	case id == "":
		id = "usr-" + randomHex(8)
	case !strings.HasPrefix(id, "usr-") || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return admin.User{}, fmt.Errorf("%w: a user ID begins with usr- and has no blanks", admin.ErrInvalid)
	}
	u := metadata.User{ID: id, Name: name, Created: time.Now()}
	return admin.User{ID: u.ID, Name: u.Name, Created: u.Created}, o.n.registry.CreateUser(ctx, u)
}

// DeleteUser implements admin.Service.
func (o operator) DeleteUser(ctx context.Context, id string) error {
	if !o.n.isOpen() {
		return errStarting
	}
	return o.n.registry.DeleteUser(ctx, id)
}

// Keys implements admin.Service.
func (o operator) Keys(ctx context.Context) (list []admin.Key, err error) {
	if !o.n.isOpen() {
		return nil, errStarting
	}
	keys, err := o.n.registry.Keys(ctx)
	for _, k := range keys {
		list = append(list, o.describeKey(k))
	}
	return list, err
}

func (o operator) describeKey(k metadata.AccessKey) admin.Key {
	return admin.Key{ID: k.ID, User: k.User, Disabled: k.Disabled, Created: k.Created, Stale: !o.n.ring.sealedByFirst(k.Sealed)}
}

// CreateKey implements admin.Service.
func (o operator) CreateKey(ctx context.Context, user string) (admin.NewKey, error) {
	if !o.n.isOpen() {
		return admin.NewKey{}, errStarting
	}
	id, secret := "PS"+base32.StdEncoding.EncodeToString(randomBytes(12))[:18], base64.RawURLEncoding.EncodeToString(randomBytes(30))
	sealed, err := o.n.ring.seal(id, secret)
	if errors.Is(err, errNoSealingKey) {
		err = fmt.Errorf("%w: this node has no sealing_keys", admin.ErrRefused)
	}
	if err != nil {
		return admin.NewKey{}, err
	}
	k := metadata.AccessKey{ID: id, User: user, Created: time.Now(), Sealed: sealed}
	if err := o.n.registry.CreateKey(ctx, k); err != nil {
		return admin.NewKey{}, err
	}
	return admin.NewKey{Key: o.describeKey(k), Secret: secret}, nil
}

// SetKey implements admin.Service.
func (o operator) SetKey(ctx context.Context, id string, disabled bool) error {
	if !o.n.isOpen() {
		return errStarting
	}
	return o.changeKey(ctx, id, func(k *metadata.AccessKey) error {
		k.Disabled = disabled
		return nil
	})
}

// changeKey changes a key, however often somebody else changes it meanwhile.
func (o operator) changeKey(ctx context.Context, id string, change func(*metadata.AccessKey) error) error {
	for {
		keys, err := o.n.registry.Keys(ctx)
		if err != nil {
			return err
		}
		err = metadata.ErrKeyNotFound
		for _, was := range keys {
			if was.ID != id {
				continue
			}
			k := was
			if err := change(&k); err != nil {
				return err
			}
			err = o.n.registry.ChangeKey(ctx, was, k)
		}
		if !errors.Is(err, metadata.ErrKeyChanged) {
			return err
		}
	}
}

// DeleteKey implements admin.Service.
func (o operator) DeleteKey(ctx context.Context, id string) error {
	if !o.n.isOpen() {
		return errStarting
	}
	return o.n.registry.DeleteKey(ctx, id)
}

// ResealKeys implements admin.Service.
func (o operator) ResealKeys(ctx context.Context) (n int, err error) {
	if !o.n.isOpen() {
		return 0, errStarting
	}
	keys, err := o.n.registry.Keys(ctx)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		if o.n.ring.sealedByFirst(k.Sealed) {
			continue
		}
		err := o.changeKey(ctx, k.ID, func(k *metadata.AccessKey) error {
			secret, err := o.n.ring.open(k.ID, k.Sealed)
			if err == nil {
				k.Sealed, err = o.n.ring.seal(k.ID, secret)
			}
			return err
		})
		if errors.Is(err, metadata.ErrKeyNotFound) {
			continue // deleted meanwhile
		}
		if errors.Is(err, errNoSealingKey) {
			err = fmt.Errorf("%w: %w", admin.ErrRefused, err)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func randomHex(n int) string { return hex.EncodeToString(randomBytes(n)) }
