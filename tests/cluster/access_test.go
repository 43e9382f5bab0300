package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/node"
	"partstore/node/admin"
)

// An access key that one node made works on every node at once, and stops
// working on every node once it is disabled or deleted, no later than a second
// after that was decided.
func TestAccessKeysOnEveryNode(t *testing.T) {
	c := testcluster.Start(t, 3, layout.Scheme{Data: 1, Parity: 2}, func(cfg *node.Config) {
		cfg.AdminToken = "sesame"
	})
	ctx := t.Context()
	operator, err := admin.NewClient("http://"+c.Addrs(1).Admin, "sesame")
	c.Must(err)
	user, err := operator.CreateUser(ctx, "", "William")
	c.Must(err, "create user")
	key, err := operator.CreateKey(ctx, user.ID)
	c.Must(err, "create key")
	as := func(i int, id, secret string) *qsclient.Client {
		client := c.Client(i)
		client.AccessKeyID, client.SecretAccessKey = id, secret
		return client
	}
	refused := func(err error, status int) bool {
		var answer *qsclient.Error
		return errors.As(err, &answer) && answer.Status == status
	}
	c.Must(as(1, key.ID, key.Secret).CreateBucket(ctx, "williams"), "create bucket")
	for i := 1; i <= c.Nodes; i++ {
		put := func(client *qsclient.Client) error {
			return client.PutObject(ctx, "williams", "k", bytes.NewReader([]byte("v")), 1)
		}
		c.Must(put(as(i, key.ID, key.Secret)), "put by the owner")
		if err := put(as(i, key.ID, "not it")); !refused(err, 401) {
			t.Errorf("node %d, wrong secret: %v, want 401", i, err)
		}
		if err := put(c.Client(i)); !refused(err, 403) {
			t.Errorf("node %d, another user: %v, want 403", i, err)
		}
	}
	if err := operator.DeleteUser(ctx, user.ID); !errors.Is(err, admin.ErrRefused) {
		t.Errorf("delete a user who has a key and a bucket: %v", err)
	}
	other, err := operator.CreateKey(ctx, user.ID)
	c.Must(err, "create another key")
	c.Must(operator.SetKey(ctx, key.ID, true), "disable")
	c.Must(operator.DeleteKey(ctx, other.ID), "delete")
	for i := 1; i <= c.Nodes; i++ {
		for _, k := range []admin.NewKey{key, other} {
			c.Await("a key that ended is refused", func() error {
				body, err := as(i, k.ID, k.Secret).GetObject(ctx, "williams", "k", "")
				if err == nil {
					body.Close()
				}
				if !refused(err, 401) {
					return errors.Join(fmt.Errorf("node %d", i), err)
				}
				return nil
			})
		}
	}
	c.Must(operator.SetKey(ctx, key.ID, false), "enable")
	for i := 1; i <= c.Nodes; i++ {
		c.Await("an enabled key works", func() error {
			return as(i, key.ID, key.Secret).PutObject(ctx, "williams", "k", bytes.NewReader([]byte("v")), 1)
		})
	}
	resealed, err := operator.ResealKeys(ctx)
	if err != nil || resealed.Keys != 0 {
		t.Errorf("reseal with the same key: %+v, %v", resealed, err)
	}
}
