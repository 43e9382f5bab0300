package qingstor

import (
	"context"
	"net/http"
)

func (c *call) putObject(ctx context.Context) error {
	headers, err := readHeaders(c.r.Header)
	if err != nil {
		return err
	}
	payload, err := c.body.payload()
	if err != nil {
		return err
	}
	if payload.Key, err = readCustomerKey(c.r.Header, ownKey); err != nil {
		return err
	}
	payload.Key.mark(headers)
	tellKey(c.w.Header(), headers)
	object, err := c.Data.PutObject(ctx, c.bucket.Name, c.addr.key, headers, payload)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoted(object.ETag))
	return c.empty(http.StatusCreated)
}

func (c *call) deleteObject(ctx context.Context) error {
	if err := c.Registry.DeleteObject(ctx, c.bucket.Name, c.addr.key); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
