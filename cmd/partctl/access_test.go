package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"partstore/metadata"
	"partstore/node/admin"
)

// fakeAccess is the users and keys of a fakeCluster.
type fakeAccess struct {
	userList []admin.User
	keyList  []admin.Key
}

func (f *fakeAccess) Users(context.Context) ([]admin.User, error) { return f.userList, nil }

func (f *fakeAccess) CreateUser(_ context.Context, id, name string) (admin.User, error) {
	if id == "" {
		id = "usr-0123"
	}
	u := admin.User{ID: id, Name: name, Created: time.Unix(1700000000, 0).UTC()}
	f.userList = append(f.userList, u)
	return u, nil
}

func (f *fakeAccess) DeleteUser(_ context.Context, id string) error {
	if slices.ContainsFunc(f.keyList, func(k admin.Key) bool { return k.User == id }) {
		return metadata.ErrUserInUse
	}
	f.userList = slices.DeleteFunc(f.userList, func(u admin.User) bool { return u.ID == id })
	return nil
}

func (f *fakeAccess) Keys(context.Context) ([]admin.Key, error) { return f.keyList, nil }

func (f *fakeAccess) CreateKey(_ context.Context, user string) (admin.NewKey, error) {
	if !slices.ContainsFunc(f.userList, func(u admin.User) bool { return u.ID == user }) {
		return admin.NewKey{}, metadata.ErrUserNotFound
	}
	k := admin.Key{ID: "KEY" + string(rune('1'+len(f.keyList))), User: user, Stale: true}
	f.keyList = append(f.keyList, k)
	return admin.NewKey{Key: k, Secret: "the secret"}, nil
}

func (f *fakeAccess) key(id string) int {
	return slices.IndexFunc(f.keyList, func(k admin.Key) bool { return k.ID == id })
}

func (f *fakeAccess) SetKey(_ context.Context, id string, disabled bool) error {
	i := f.key(id)
	if i < 0 {
		return metadata.ErrKeyNotFound
	}
	f.keyList[i].Disabled = disabled
	return nil
}

func (f *fakeAccess) DeleteKey(_ context.Context, id string) error {
	i := f.key(id)
	if i < 0 {
		return metadata.ErrKeyNotFound
	}
	f.keyList = slices.Delete(f.keyList, i, i+1)
	return nil
}

func (f *fakeAccess) ResealKeys(context.Context) (n int, _ error) {
	for i := range f.keyList {
		if f.keyList[i].Stale {
			f.keyList[i].Stale, n = false, n+1
		}
	}
	return n, nil
}

// The life of a user and two keys, step by step.
func TestUsersAndKeys(t *testing.T) {
	f := newFakeCluster()
	for _, step := range []struct {
		args  string
		want  int
		shows string
	}{
		{"user create William", 0, "partctl key create usr-0123"},
		{"user create Mary --id usr-mary", 0, "usr-mary"},
		{"user list", 0, "William"},
		{"key create usr-nobody", 1, "user not found"},
		{"key create usr-0123", 0, "the secret"},
		{"key list", 0, "stale"},
		{"key reseal", 0, "Sealed 1 keys anew"},
		{"key list", 0, "current"},
		{"key disable KEY1", 0, "Disabled"},
		{"key list --user usr-0123", 0, "disabled"},
		{"key enable KEY1", 0, "Enabled"},
		{"key disable KEY9", 1, "access key not found"},
		{"key rotate KEY9", 1, "KEY9"},
		{"key rotate KEY1", 0, "partctl key disable KEY1"},
		{"key rotate KEY1 --disable-old", 0, "the secret"},
		{"key list", 0, "disabled"},
		{"user delete usr-0123 --yes", 1, "has access keys or buckets"},
		{"key delete KEY1", 0, "Nothing was done"},
		{"key delete KEY1 --yes", 0, "Deleted"},
		{"key delete KEY1 --yes", 1, "access key not found"},
		{"user delete usr-mary", 0, "Nothing was done"},
		{"user delete usr-mary --yes", 0, "Deleted"},
		{"user create", 2, "NAME"},
		{"key disable", 2, "KEY"},
	} {
		got, stdout, stderr := partctl(t, f, strings.Fields(step.args)...)
		if got != step.want || !strings.Contains(stdout+stderr, step.shows) {
			t.Errorf("partctl %s = %d, want %d and %q:\n%s%s", step.args, got, step.want, step.shows, stdout, stderr)
		}
	}
	if len(f.userList) != 1 || len(f.keyList) != 2 {
		t.Errorf("users %v and keys %v are left", f.userList, f.keyList)
	}
	_, stdout, _ := partctl(t, f, "key", "create", "usr-0123", "-o", "json")
	var k admin.NewKey
	if err := json.Unmarshal([]byte(stdout), &k); err != nil || k.Secret != "the secret" || k.User != "usr-0123" {
		t.Errorf("key create -o json = %q, %v", stdout, err)
	}
}
