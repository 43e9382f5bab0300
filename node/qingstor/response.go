package qingstor

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// errorHelp is the url member of error bodies: where the codes are explained.
const errorHelp = "http://docs.qingcloud.com/qingstor/api/common/error_code.html"

// statusClientGone is what the Observer hears when the client left before the
// answer. It is never sent.
const statusClientGone = 499

// Times as they stand in JSON bodies.
const (
	timeMillis  = "2006-01-02T15:04:05.000Z"
	timeSeconds = "2006-01-02T15:04:05Z"
)

// response notes what became of the answer.
type response struct {
	http.ResponseWriter
	status int  // that went out, 0 while none did
	gone   bool // the client no longer takes it
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.gone = w.gone || err != nil
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// clientGone reports whether nobody waits for the answer any more.
func (c *call) clientGone() bool { return c.w.gone || c.r.Context().Err() != nil }

// outcome is the status for the Observer.
func (c *call) outcome() int {
	if c.clientGone() {
		return statusClientGone
	}
	return c.w.status
}

// empty answers without a body.
func (c *call) empty(status int) error {
	if status != http.StatusNoContent && status != http.StatusNotModified {
		c.w.Header().Set("Content-Length", "0")
	}
	c.w.WriteHeader(status)
	return nil
}

// json answers with v. The content type is exact and the length is given,
// because clients compare the one and do not read bodies without the other.
func (c *call) json(status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // response notes an error
	return nil
}

// fail answers an error, or resets the connection if an answer has begun.
func (c *call) fail(err error) {
	row := rowOf(err)
	ctx := c.r.Context()
	switch {
	case c.clientGone(): // nobody is to blame
	case row.status == http.StatusInternalServerError:
		c.Logger.ErrorContext(ctx, "request failed", "request_id", c.id, "op", c.op(), "err", err)
	case row.status == http.StatusServiceUnavailable || c.w.status != 0:
		c.Logger.WarnContext(ctx, "request failed", "request_id", c.id, "op", c.op(), "err", err)
	}
	if c.w.status != 0 {
		c.w.status = row.status // for the Observer; the client sees a reset
		panic(http.ErrAbortHandler)
	}
	header := c.w.Header()
	switch row.status {
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "1")
	case http.StatusMethodNotAllowed:
		header.Set("Allow", allowedMethods(c.addr.level))
	}
	c.body.leave(c.w, func() { c.answerError(row, messageOf(err, row)) })
}

func (c *call) answerError(row errorRow, message string) {
	if c.r.Method == http.MethodHead {
		// A type beside no body makes SDKs try to parse it.
		_ = c.empty(row.status)
		return
	}
	_ = c.json(row.status, map[string]string{
		"code":       row.code,
		"message":    message,
		"request_id": c.id,
		"url":        errorHelp,
	})
}

func jsonTime(t time.Time) string { return t.UTC().Format(timeMillis) }

func quoted(etag string) string { return `"` + etag + `"` }
