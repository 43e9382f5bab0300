package qingstor

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"partstore/metadata"
)

// fetchObject makes an object of what another server has.
func (c *call) fetchObject(ctx context.Context) error {
	if c.fetch == nil {
		return errNotImplemented
	}
	if err := c.noBody(); err != nil {
		return err
	}
	headers, err := readHeaders(c.r.Header)
	if err != nil {
		return err
	}
	source, err := fetchURL(c.r.Header.Get(fetchSource))
	if err != nil {
		return err
	}
	body, err := c.fetch.open(ctx, source)
	if err != nil {
		return err
	}
	defer body.Close()
	if unmodifiedSince := c.r.Header.Get("X-Qs-Fetch-If-Unmodified-Since"); body.changedAfter(unmodifiedSince) {
		return errPreconditionFailed
	}
	if body.size > metadata.MaxPartSize {
		return ErrBodyTooLarge
	}
	if headers["content-type"] == "" {
		if err := keep(headers, "content-type", http.Header{"Content-Type": body.header["Content-Type"]}); err != nil {
			return err
		}
	}
	object, err := c.Data.PutObject(ctx, c.bucket.Name, c.addr.key, headers, Payload{Body: body, Size: body.size})
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoted(object.ETag))
	return c.empty(http.StatusCreated)
}

// fetchURL reads where to fetch from: a URL, percent-encoded as a whole or not,
// http if it does not say.
func fetchURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = decodeLeniently(text)
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	text, _, _ = strings.Cut(text, "#") // what follows is for browsers
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, refuse(errInvalidArgument, "The source is not an http URL without a user")
	}
	return u, nil
}
