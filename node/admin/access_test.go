package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"partstore/node/admin"
)

var (
	aUser = admin.User{ID: "usr-1", Name: "Will & Mary", Created: time.Unix(1700000000, 0).UTC()}
	aKey  = admin.Key{ID: "KEY", User: "usr-1", Disabled: true, Created: time.Unix(1700000001, 0).UTC(), Stale: true}
)

func (f *fakeService) Users(context.Context) ([]admin.User, error) {
	return []admin.User{aUser}, f.err
}

func (f *fakeService) CreateUser(_ context.Context, id, name string) (admin.User, error) {
	f.asked = [2]string{id, name}
	return aUser, f.err
}

func (f *fakeService) DeleteUser(_ context.Context, id string) error {
	f.asked = id
	return f.err
}

func (f *fakeService) Keys(context.Context) ([]admin.Key, error) { return []admin.Key{aKey}, f.err }

func (f *fakeService) CreateKey(_ context.Context, user string) (admin.NewKey, error) {
	f.asked = user
	return admin.NewKey{Key: aKey, Secret: "secret"}, f.err
}

func (f *fakeService) SetKey(_ context.Context, id string, disabled bool) error {
	f.asked = [2]any{id, disabled}
	return f.err
}

func (f *fakeService) DeleteKey(_ context.Context, id string) error {
	f.asked = id
	return f.err
}

func (f *fakeService) ResealKeys(context.Context) (int, error) { return 7, f.err }

func TestUsersAndKeysOverTheWire(t *testing.T) {
	f := &fakeService{}
	base := serve(t, f, "sesame")
	client, ctx := dial(t, base, "sesame"), t.Context()
	asked := func(what string, want any) {
		t.Helper()
		same(t, what+" asked for", f.asked, nil, want)
		f.asked = nil
	}
	users, err := client.Users(ctx)
	same(t, "Users", users, err, admin.UserList{Users: []admin.User{aUser}})
	user, err := client.CreateUser(ctx, "usr-1", "Will & Mary")
	same(t, "CreateUser", user, err, aUser)
	asked("CreateUser", [2]string{"usr-1", "Will & Mary"})
	same(t, "DeleteUser", nil, client.DeleteUser(ctx, "usr-1"), any(nil))
	asked("DeleteUser", "usr-1")
	keys, err := client.Keys(ctx)
	same(t, "Keys", keys, err, admin.KeyList{Keys: []admin.Key{aKey}})
	key, err := client.CreateKey(ctx, "usr-1")
	same(t, "CreateKey", key, err, admin.NewKey{Key: aKey, Secret: "secret"})
	asked("CreateKey", "usr-1")
	same(t, "SetKey", nil, client.SetKey(ctx, "KEY", true), any(nil))
	asked("SetKey", [2]any{"KEY", true})
	same(t, "DeleteKey", nil, client.DeleteKey(ctx, "KEY"), any(nil))
	asked("DeleteKey", "KEY")
	resealed, err := client.ResealKeys(ctx)
	same(t, "ResealKeys", resealed, err, admin.Resealed{Keys: 7})

	for _, call := range []func() error{
		func() error { return client.DeleteUser(ctx, "") },
		func() error { return client.DeleteKey(ctx, "") },
		func() error { return client.SetKey(ctx, "", true) },
	} {
		if err := call(); !errors.Is(err, admin.ErrInvalid) || f.asked != nil {
			t.Errorf("without an ID: %v, asked %v", err, f.asked)
		}
	}
	for _, route := range []string{"GET /v1/users", "POST /v1/users", "DELETE /v1/user?id=x", "GET /v1/keys", "POST /v1/keys", "POST /v1/keys/reseal", "POST /v1/key?id=x&disabled=true", "DELETE /v1/key?id=x"} {
		if got := statusWithout(t, base, route); got != http.StatusUnauthorized {
			t.Errorf("%s without the token = %d", route, got)
		}
	}
}

// statusWithout sends a request without the token.
func statusWithout(t *testing.T, base, route string) int {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
