package main

import (
	"context"
	"io"
	"net/http"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
)

// store is one endpoint of the system under load, in the dialect it speaks. An
// answer that is not the operation's success is a *qsclient.Error.
type store interface {
	CreateBucket(ctx context.Context, bucket string) error
	Initiate(ctx context.Context, bucket, key string) (uploadID string, err error)
	// PutPart takes part numbers from 0 on and returns the ETag without quotes.
	PutPart(ctx context.Context, bucket, key, uploadID string, number int, body io.Reader, size int64) (etag string, err error)
	// ListParts returns up to limit parts with numbers above after. Their Count
	// is -1 where the dialect does not tell the number of all parts.
	ListParts(ctx context.Context, bucket, key, uploadID string, after, limit int) (qsclient.PartPage, error)
	Complete(ctx context.Context, bucket, key, uploadID string, parts []qsclient.Part) error
	Abort(ctx context.Context, bucket, key, uploadID string) error
	// Get opens an object; byteRange is a Range header value, or "" for the
	// whole. The caller closes the body.
	Get(ctx context.Context, bucket, key, byteRange string) (body io.ReadCloser, requestID string, err error)
	DeleteObject(ctx context.Context, bucket, key string) error
}

// endpoint is a store and where it is.
type endpoint struct {
	store
	url string
}

// dialect is how a kind of store is spoken to, and what differs in its rules.
type dialect struct {
	open        func(cfg config, url string, client *http.Client) store
	minPartSize int64 // of a part that is not the last one listed
	lastPart    int   // highest part number, counted from 0
}

// dialects are the kinds of store by name.
var dialects = map[string]dialect{
	"qingstor": {openQingStor, 4 << 20, int(layout.MaxPartNumber)},
	"s3":       {openS3, 5 << 20, 9999},
}

// qingstor is a store that speaks the QingStor API, as Partstore does.
type qingstor struct{ *qsclient.Client }

func openQingStor(cfg config, url string, client *http.Client) store {
	return qingstor{&qsclient.Client{Endpoint: url, AccessKeyID: cfg.accessKeyID, SecretAccessKey: cfg.secretAccessKey, HTTP: client}}
}

// Get implements store.
func (q qingstor) Get(ctx context.Context, bucket, key, byteRange string) (io.ReadCloser, string, error) {
	request, want := qsclient.Request{Method: http.MethodGet, Bucket: bucket, Key: key}, http.StatusOK
	if byteRange != "" {
		request.Header, want = http.Header{"Range": {byteRange}}, http.StatusPartialContent
	}
	resp, err := q.Do(ctx, request)
	if err != nil {
		return nil, "", err
	}
	id := resp.Header.Get("X-Qs-Request-Id")
	if resp.StatusCode == want {
		return resp.Body, id, nil
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return nil, id, err
	}
	return nil, id, &qsclient.Error{Status: resp.StatusCode, RequestID: id}
}
