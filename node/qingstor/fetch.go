package qingstor

import (
	"context"
	"errors"
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
	if err := c.checkReplaced(ctx); err != nil {
		return err
	}
	body, err := c.fetch.open(ctx, source)
	if err != nil {
		return err
	}
	defer body.Close()
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

// checkReplaced judges the one condition of a fetch. It is on the object that
// will be replaced, not on the source, and does not hold where there is none.
// What comes in while the source is read is not looked at again.
func (c *call) checkReplaced(ctx context.Context) error {
	date := c.r.Header.Get("X-Qs-Fetch-If-Unmodified-Since")
	if _, err := http.ParseTime(date); err != nil {
		return nil // as with other dates, one that cannot be read does not count
	}
	o, err := c.Registry.Object(ctx, c.bucket.Name, c.addr.key)
	if errors.Is(err, metadata.ErrObjectNotFound) || err == nil && modifiedSince(date, o, false) {
		return errPreconditionFailed
	}
	return err
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
