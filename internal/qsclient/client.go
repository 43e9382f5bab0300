// Package qsclient is a small QingStor client for this project's own harness
// and tests: signed requests in path style to one endpoint, no retries, every
// answer's status and request ID in the caller's hands. Applications want the
// official SDK.
package qsclient

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Client sends requests to one endpoint. It is safe for concurrent use.
type Client struct {
	Endpoint        string // such as "http://127.0.0.1:7070"
	AccessKeyID     string
	SecretAccessKey string
	HTTP            *http.Client // required
}

// Error is an answer with another status than the operation's success.
type Error struct {
	Status    int
	Code      string // QingStor's error code, "" if the answer had none
	Message   string
	RequestID string
}

func (e *Error) Error() string {
	return fmt.Sprintf("status %d %s: %s (request %s)", e.Status, e.Code, e.Message, e.RequestID)
}

// Request is one request. Body may be nil; Size is its length.
type Request struct {
	Method, Bucket, Key string
	Query               url.Values // a key with the value "" is sent as "key="
	Header              http.Header
	Body                io.Reader
	Size                int64
}

// Do signs and sends a request and returns any answer; the caller closes its body.
func (c *Client) Do(ctx context.Context, r Request) (*http.Response, error) {
	path := "/"
	if r.Bucket != "" {
		path += r.Bucket
		if r.Key != "" {
			path += "/" + escapeKey(r.Key)
		}
	}
	target := c.Endpoint + path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, r.Body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = r.Size
	if r.Size == 0 {
		req.Body = http.NoBody
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	req.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	mac := hmac.New(sha256.New, []byte(c.SecretAccessKey))
	mac.Write([]byte(stringToSign(req, path, r.Query)))
	req.Header.Set("Authorization", "QS "+c.AccessKeyID+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return c.HTTP.Do(req)
}

// signed are the query keys this client uses that take part in the signature.
var signed = []string{"append", "part_number", "position", "upload_id", "uploads"}

// stringToSign is the header scheme of QingStor's signature.
func stringToSign(req *http.Request, path string, query url.Values) string {
	var sub []string
	for _, key := range signed {
		if !query.Has(key) {
			continue
		}
		if v := query.Get(key); v != "" {
			key += "=" + v
		}
		sub = append(sub, key)
	}
	resource := path
	if len(sub) > 0 {
		resource += "?" + strings.Join(sub, "&")
	}
	h := req.Header
	return strings.Join([]string{req.Method, h.Get("Content-MD5"), h.Get("Content-Type"), h.Get("Date"), canonicalHeaders(h) + resource}, "\n")
}

func canonicalHeaders(h http.Header) string {
	var lines []string
	for name, values := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-qs-") {
			lines = append(lines, lower+":"+strings.TrimSpace(values[0])+"\n")
		}
	}
	// By name: a whole line would put "a-b:" before "a:".
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[:strings.IndexByte(a, ':')], b[:strings.IndexByte(b, ':')])
	})
	return strings.Join(lines, "")
}

func escapeKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~/=", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// maxAnswer bounds an answer that is read whole.
const maxAnswer = 16 << 20

// call sends a request whose success is status want, and decodes a JSON answer
// into out if out is not nil.
func (c *Client) call(ctx context.Context, want int, r Request, out any) (http.Header, error) {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != want {
		return nil, newError(resp, body)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(body, out)
	}
	return resp.Header, err
}

func newError(resp *http.Response, body []byte) error {
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Qs-Request-Id")}
	var answer struct{ Code, Message string }
	if json.Unmarshal(body, &answer) == nil {
		e.Code, e.Message = answer.Code, answer.Message
	}
	return e
}

// CreateBucket creates a bucket; one that exists is an *Error with status 409.
func (c *Client) CreateBucket(ctx context.Context, bucket string) error {
	_, err := c.call(ctx, http.StatusCreated, Request{Method: http.MethodPut, Bucket: bucket}, nil)
	return err
}

// DeleteBucket deletes an empty bucket.
func (c *Client) DeleteBucket(ctx context.Context, bucket string) error {
	_, err := c.call(ctx, http.StatusNoContent, Request{Method: http.MethodDelete, Bucket: bucket}, nil)
	return err
}

// Initiate opens an upload and returns its ID.
func (c *Client) Initiate(ctx context.Context, bucket, key string) (uploadID string, err error) {
	var answer struct {
		UploadID string `json:"upload_id"`
	}
	_, err = c.call(ctx, http.StatusOK, Request{Method: http.MethodPost, Bucket: bucket, Key: key, Query: url.Values{"uploads": {""}}}, &answer)
	return answer.UploadID, err
}

// PutPart sends one part and returns its ETag without quotes.
func (c *Client) PutPart(ctx context.Context, bucket, key, uploadID string, number int, body io.Reader, size int64) (etag string, err error) {
	h, err := c.call(ctx, http.StatusCreated, Request{
		Method: http.MethodPut, Bucket: bucket, Key: key, Body: body, Size: size,
		Query: url.Values{"upload_id": {uploadID}, "part_number": {strconv.Itoa(number)}},
	}, nil)
	return strings.Trim(h.Get("ETag"), `"`), err
}

// Part is a part as List Parts shows it, and as Complete names it.
type Part struct {
	Number int    `json:"part_number"`
	Size   int64  `json:"size"`
	ETag   string `json:"etag"`
}

// PartPage is one page of List Parts; Count is the number of all parts.
type PartPage struct {
	Count int    `json:"count"`
	Parts []Part `json:"object_parts"`
}

// ListParts returns up to limit parts with numbers above after (-1: all).
func (c *Client) ListParts(ctx context.Context, bucket, key, uploadID string, after, limit int) (page PartPage, err error) {
	query := url.Values{"upload_id": {uploadID}, "limit": {strconv.Itoa(limit)}}
	if after >= 0 {
		query.Set("part_number_marker", strconv.Itoa(after))
	}
	_, err = c.call(ctx, http.StatusOK, Request{Method: http.MethodGet, Bucket: bucket, Key: key, Query: query}, &page)
	return page, err
}

// Complete ends an upload with the given parts.
func (c *Client) Complete(ctx context.Context, bucket, key, uploadID string, parts []Part) error {
	body, err := json.Marshal(map[string]any{"object_parts": parts})
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.StatusCreated, Request{
		Method: http.MethodPost, Bucket: bucket, Key: key, Query: url.Values{"upload_id": {uploadID}},
		Header: http.Header{"Content-Type": {"application/json"}}, Body: bytes.NewReader(body), Size: int64(len(body)),
	}, nil)
	return err
}

// Abort ends an upload without an object.
func (c *Client) Abort(ctx context.Context, bucket, key, uploadID string) error {
	_, err := c.call(ctx, http.StatusNoContent, Request{Method: http.MethodDelete, Bucket: bucket, Key: key, Query: url.Values{"upload_id": {uploadID}}}, nil)
	return err
}

// PutObject stores an object in one piece.
func (c *Client) PutObject(ctx context.Context, bucket, key string, body io.Reader, size int64) error {
	_, err := c.call(ctx, http.StatusCreated, Request{Method: http.MethodPut, Bucket: bucket, Key: key, Body: body, Size: size}, nil)
	return err
}

// GetObject opens an object for reading; byteRange is a Range header value, or
// "" for the whole. The caller closes the reader.
func (c *Client) GetObject(ctx context.Context, bucket, key, byteRange string) (io.ReadCloser, error) {
	r, want := Request{Method: http.MethodGet, Bucket: bucket, Key: key}, http.StatusOK
	if byteRange != "" {
		r.Header, want = http.Header{"Range": {byteRange}}, http.StatusPartialContent
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what there is helps
		return nil, newError(resp, body)
	}
	return resp.Body, nil
}

// DeleteObject deletes an object; one that is absent is no error.
func (c *Client) DeleteObject(ctx context.Context, bucket, key string) error {
	_, err := c.call(ctx, http.StatusNoContent, Request{Method: http.MethodDelete, Bucket: bucket, Key: key}, nil)
	return err
}
