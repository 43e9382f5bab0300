package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"partstore/metadata"
)

// maxAnswer bounds an answer, in bytes. The largest is the report of an object
// of 10,000 parts with 32 chunks each, about 100 MB.
const maxAnswer = 256 << 20

// Client calls the admin API of one node. Its errors wrap the sentinels of this
// package, or the context's error.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// NewClient returns a client of the API at base, such as
// "http://127.0.0.1:7073". The token may be empty.
func NewClient(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%w: address %q: want http://HOST:PORT", ErrInvalid, base)
	}
	return &Client{base: strings.TrimRight(base, "/"), token: token, http: &http.Client{}}, nil
}

// Status asks how the cluster is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Nodes lists the nodes.
func (c *Client) Nodes(ctx context.Context) (l NodeList, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/nodes", nil, &l)
	return l, err
}

// Members lists the members of the registry.
func (c *Client) Members(ctx context.Context) (l MemberList, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/members", nil, &l)
	return l, err
}

// ChangeMembers records a decision about the membership.
func (c *Client) ChangeMembers(ctx context.Context, change metadata.MembersChange) error {
	return c.call(ctx, http.MethodPost, "/v1/members", membersParams(change), nil)
}

// Uploads lists open uploads.
func (c *Client) Uploads(ctx context.Context, q UploadQuery) (l UploadList, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/uploads", q.params(), &l)
	return l, err
}

// Upload describes an open upload.
func (c *Client) Upload(ctx context.Context, ref metadata.UploadRef) (d UploadDetail, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/upload", uploadParams(ref), &d)
	return d, err
}

// AbortUpload ends an open upload.
func (c *Client) AbortUpload(ctx context.Context, ref metadata.UploadRef) error {
	return c.call(ctx, http.MethodDelete, "/v1/upload", uploadParams(ref), nil)
}

// InspectObject has every chunk of an object read and verified.
func (c *Client) InspectObject(ctx context.Context, bucket, key string) (r ObjectReport, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/object", keyParams(bucket, key), &r)
	return r, err
}

// Ready returns nil if the node can serve.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, nil)
}

// call makes one request and decodes the answer into v, unless v is nil.
func (c *Client) call(ctx context.Context, method, path string, params url.Values, v any) error {
	resp, err := c.send(ctx, method, path, params)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(v); err != nil {
		return fmt.Errorf("answer of %s: %w", path, unreachable(ctx, err))
	}
	return nil
}

// send makes one request. The caller closes the body of the answer, which is
// no error.
func (c *Client) send(ctx context.Context, method, path string, params url.Values) (*http.Response, error) {
	target := c.base + path
	if len(params) > 0 {
		target += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		err := parseError(resp.StatusCode, io.LimitReader(resp.Body, maxAnswer))
		return nil, errors.Join(err, resp.Body.Close())
	}
	return resp, nil
}

// unreachable marks err as ErrUnavailable, unless the caller ended the call.
func unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// parseError reads an error answer. One that is not ours, of a proxy say, is
// known by its status alone.
func parseError(status int, body io.Reader) error {
	e := &Error{status: status}
	if err := json.NewDecoder(io.LimitReader(body, 64<<10)).Decode(e); err != nil {
		*e = Error{status: status}
	}
	return e
}
