package metadata

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// accessModel is users, keys, settings and domains as maps.
type accessModel struct {
	owners   map[string]string // of buckets
	users    map[string]User
	keys     map[string]AccessKey
	settings map[[2]string]string
	domains  map[string]string // the bucket of each
}

func newAccessModel() accessModel {
	return accessModel{
		owners: map[string]string{"b": "me"}, users: map[string]User{}, keys: map[string]AccessKey{},
		settings: map[[2]string]string{}, domains: map[string]string{},
	}
}

func (a *accessModel) forget(bucket string) {
	delete(a.owners, bucket)
	maps.DeleteFunc(a.settings, func(k [2]string, _ string) bool { return k[0] == bucket })
	maps.DeleteFunc(a.domains, func(_, of string) bool { return of == bucket })
}

func (m *model) applyAccess(cmd command) error {
	a := &m.access
	switch x := cmd.(type) {
	case *createUser:
		return m.once(x.Request, func() error {
			if _, ok := a.users[x.User.ID]; ok {
				return ErrUserExists
			}
			a.users[x.User.ID] = x.User
			return nil
		})
	case *deleteUser:
		return m.once(x.Request, func() error { return a.deleteUser(x.ID) })
	case *createKey:
		return m.once(x.Request, func() error {
			if _, ok := a.users[x.Key.User]; !ok {
				return ErrUserNotFound
			}
			if _, ok := a.keys[x.Key.ID]; ok {
				return ErrKeyExists
			}
			a.keys[x.Key.ID] = x.Key
			return nil
		})
	case *changeKey:
		return m.once(x.Request, func() error { return a.changeKey(x) })
	case *deleteKey:
		return m.once(x.Request, func() error {
			if _, ok := a.keys[x.ID]; !ok {
				return ErrKeyNotFound
			}
			delete(a.keys, x.ID)
			return nil
		})
	case *changeSetting:
		return m.once(x.Request, func() error {
			if !m.buckets[x.Bucket] {
				return ErrBucketNotFound
			}
			at := [2]string{x.Bucket, string(x.Setting)}
			if a.settings[at] = string(x.Document); len(x.Document) == 0 {
				delete(a.settings, at)
			}
			return nil
		})
	case *bindDomain:
		return m.once(x.Request, func() error {
			of, taken := a.domains[x.Domain.Name]
			switch {
			case !m.buckets[x.Domain.Bucket]:
				return ErrBucketNotFound
			case taken && of != x.Domain.Bucket:
				return ErrDomainTaken
			}
			a.domains[x.Domain.Name] = x.Domain.Bucket
			return nil
		})
	case *unbindDomain:
		return m.once(x.Request, func() error {
			if !m.buckets[x.Bucket] {
				return ErrBucketNotFound
			}
			if a.domains[x.Name] == x.Bucket {
				delete(a.domains, x.Name)
			}
			return nil
		})
	}
	panic(fmt.Sprintf("%T", cmd))
}

func (a *accessModel) deleteUser(id string) error {
	if _, ok := a.users[id]; !ok {
		return ErrUserNotFound
	}
	for _, k := range a.keys {
		if k.User == id {
			return ErrUserInUse
		}
	}
	for _, owner := range a.owners {
		if owner == id {
			return ErrUserInUse
		}
	}
	delete(a.users, id)
	return nil
}

func (a *accessModel) changeKey(x *changeKey) error {
	k, ok := a.keys[x.Key.ID]
	if !ok {
		return ErrKeyNotFound
	}
	is, err := digest16(k.code)
	switch {
	case err != nil:
		return err
	case is != x.Was:
		return ErrKeyChanged
	case k.User != x.Key.User:
		return ErrInvalid
	}
	a.keys[x.Key.ID] = x.Key
	return nil
}

func (a *accessModel) compare(t *testing.T, b *bench) {
	t.Helper()
	users, keys, settings, domains := map[string]User{}, map[string]AccessKey{}, map[[2]string]string{}, map[string]string{}
	err := scan(b.db, nil, func(k, v []byte) error {
		switch k[0] {
		case rowUser:
			var u User
			defer func() { users[string(k[1:])] = u }()
			return decodeValue(v, u.code)
		case rowAccess:
			var key AccessKey
			defer func() { keys[string(k[1:])] = key }()
			return decodeValue(v, key.code)
		case rowDomain:
			var d Domain
			defer func() { domains[string(k[1:])] = d.Bucket }()
			return decodeValue(v, d.code)
		case rowSetting:
			var document []byte
			bucket, name, _ := strings.Cut(string(k[1:]), "\x00")
			defer func() { settings[[2]string{bucket, name}] = string(document) }()
			return decodeValue(v, codeSetting(&document))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(users, a.users) || !maps.Equal(settings, a.settings) || !maps.Equal(domains, a.domains) {
		t.Fatalf("users %v, settings %v, domains %v; want %v, %v, %v", users, settings, domains, a.users, a.settings, a.domains)
	}
	same := func(x, y AccessKey) bool { return fmt.Sprint(x) == fmt.Sprint(y) }
	if !maps.EqualFunc(keys, a.keys, same) {
		t.Fatalf("keys %v, want %v", keys, a.keys)
	}
}

func (g *generator) user() string { return []string{"me", "usr-1", "usr-2"}[g.IntN(3)] }

// access makes a command about who may do what.
func (g *generator) access(id uint64) command {
	request := testRequest(id)
	key := AccessKey{
		ID: []string{"K1", "K2", "K3"}[g.IntN(3)], User: g.user(), Disabled: g.IntN(2) == 0,
		Created: time.Unix(0, 0).UTC(), Sealed: []byte{byte(g.IntN(3))},
	}
	domain := []string{"a.example", "b.example"}[g.IntN(2)]
	switch g.IntN(9) {
	case 0:
		return &createUser{Request: request, User: User{ID: g.user(), Created: time.Unix(int64(id), 0).UTC()}}
	case 1:
		return &deleteUser{Request: request, ID: g.user()}
	case 2:
		return &createKey{Request: request, Key: key}
	case 3:
		was := key
		was.Disabled, was.Sealed = g.IntN(2) == 0, []byte{byte(g.IntN(3))}
		digest, err := digest16(was.code)
		if err != nil {
			panic(err)
		}
		return &changeKey{Request: request, Was: digest, Key: key}
	case 4:
		return &deleteKey{Request: request, ID: key.ID}
	case 5:
		document := []byte([]string{"", "{}", "[1]"}[g.IntN(3)])
		return &changeSetting{Request: request, Bucket: g.bucket(), Setting: []Setting{SettingACL, SettingCORS}[g.IntN(2)], Document: document}
	case 6:
		return &bindDomain{Request: request, Domain: Domain{Name: domain, Bucket: g.bucket()}}
	case 7:
		return &unbindDomain{Request: request, Bucket: g.bucket(), Name: domain}
	default:
		from := objectVersion{Bucket: g.bucket(), Key: g.key()}
		if len(g.seen) > 0 && g.IntN(3) > 0 {
			from = g.seen[g.IntN(len(g.seen))]
		}
		return &expireObject{Request: request, From: from}
	}
}
