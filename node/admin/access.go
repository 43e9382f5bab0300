package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// User describes a user of the client API.
type User struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

// UserList is the answer to "user list".
type UserList struct {
	Users []User `json:"users"`
}

// Key describes an access key. Its secret is shown once, when it is made.
type Key struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	// Stale keys are not sealed with the first sealing key of the answering node.
	Stale bool `json:"stale"`
}

// NewKey is an access key that was just made.
type NewKey struct {
	Key
	Secret string `json:"secret"`
}

// KeyList is the answer to "key list".
type KeyList struct {
	Keys []Key `json:"keys"`
}

// Resealed is the answer to "key reseal".
type Resealed struct {
	Keys int `json:"keys"` // that were sealed anew
}

func (h *handler) users(r *http.Request) (any, error) {
	users, err := h.service.Users(r.Context())
	return UserList{Users: list(users)}, err
}

func (h *handler) createUser(r *http.Request) (any, error) {
	q := r.URL.Query()
	return h.service.CreateUser(r.Context(), q.Get("id"), q.Get("name"))
}

func (h *handler) deleteUser(r *http.Request) (any, error) {
	id, err := parseID(r)
	if err != nil {
		return nil, err
	}
	return nil, h.service.DeleteUser(r.Context(), id)
}

func (h *handler) keys(r *http.Request) (any, error) {
	keys, err := h.service.Keys(r.Context())
	return KeyList{Keys: list(keys)}, err
}

func (h *handler) createKey(r *http.Request) (any, error) {
	return h.service.CreateKey(r.Context(), r.URL.Query().Get("user"))
}

func (h *handler) setKey(r *http.Request) (any, error) {
	id, err := parseID(r)
	if err != nil {
		return nil, err
	}
	disabled, err := strconv.ParseBool(r.URL.Query().Get("disabled"))
	if err != nil {
		return nil, fmt.Errorf("%w: disabled is neither true nor false", ErrInvalid)
	}
	return nil, h.service.SetKey(r.Context(), id, disabled)
}

func (h *handler) deleteKey(r *http.Request) (any, error) {
	id, err := parseID(r)
	if err != nil {
		return nil, err
	}
	return nil, h.service.DeleteKey(r.Context(), id)
}

func (h *handler) resealKeys(r *http.Request) (any, error) {
	n, err := h.service.ResealKeys(r.Context())
	return Resealed{Keys: n}, err
}

func idParams(id string) url.Values { return url.Values{"id": {id}} }

func parseID(r *http.Request) (string, error) {
	id := r.URL.Query().Get("id")
	if id == "" {
		return "", fmt.Errorf("%w: id is required", ErrInvalid)
	}
	return id, nil
}

// Users lists the users of the client API.
func (c *Client) Users(ctx context.Context) (l UserList, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/users", nil, &l)
	return l, err
}

// CreateUser makes a user; an empty ID has the node choose one.
func (c *Client) CreateUser(ctx context.Context, id, name string) (u User, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/users", url.Values{"id": {id}, "name": {name}}, &u)
	return u, err
}

// DeleteUser ends a user who has neither access keys nor buckets.
func (c *Client) DeleteUser(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/user", idParams(id), nil)
}

// Keys lists the access keys of all users.
func (c *Client) Keys(ctx context.Context) (l KeyList, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/keys", nil, &l)
	return l, err
}

// CreateKey makes an access key of a user.
func (c *Client) CreateKey(ctx context.Context, user string) (k NewKey, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/keys", url.Values{"user": {user}}, &k)
	return k, err
}

// SetKey disables or enables an access key.
func (c *Client) SetKey(ctx context.Context, id string, disabled bool) error {
	v := idParams(id)
	v.Set("disabled", strconv.FormatBool(disabled))
	return c.call(ctx, http.MethodPost, "/v1/key", v, nil)
}

// DeleteKey ends an access key for good.
func (c *Client) DeleteKey(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/key", idParams(id), nil)
}

// ResealKeys seals every key anew that the node's first sealing key did not seal.
func (c *Client) ResealKeys(ctx context.Context) (r Resealed, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/keys/reseal", nil, &r)
	return r, err
}
