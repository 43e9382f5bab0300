package linearizability

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"partstore/internal/history"
	"partstore/internal/qsclient"
)

// errWrong reports an answer that is wrong whatever happened before.
var errWrong = errors.New("wrong answer")

// perform makes one request to node i and says what was answered. The error is
// about answers no history could excuse. Body is what PutPart and PutObject send.
func (c *cluster) perform(ctx context.Context, i int, in history.Input, body []byte) (history.Output, error) {
	r := qsclient.Request{Bucket: bucket, Key: in.Key, Query: url.Values{}}
	if in.Upload != "" {
		r.Query.Set("upload_id", in.Upload)
	}
	want := http.StatusOK
	switch in.Kind {
	case history.Initiate:
		r.Method = http.MethodPost
		r.Query.Set("uploads", "")
	case history.PutPart, history.PutObject:
		r.Method, r.Body, r.Size, want = http.MethodPut, bytes.NewReader(body), int64(len(body)), http.StatusCreated
		if in.Kind == history.PutPart {
			r.Query.Set("part_number", strconv.Itoa(in.Parts[0].Number))
		}
	case history.ListParts, history.GetObject:
		r.Method = http.MethodGet
	case history.HeadObject:
		r.Method = http.MethodHead
	case history.Complete:
		text := completeBody(in.Parts)
		r.Method, r.Body, r.Size, want = http.MethodPost, bytes.NewReader(text), int64(len(text)), http.StatusCreated
		r.Header = http.Header{"Content-Type": {"application/json"}}
	case history.Abort, history.DeleteObject:
		r.Method, want = http.MethodDelete, http.StatusNoContent
	}
	resp, err := c.client(i).Do(ctx, r)
	if errors.Is(err, syscall.ECONNREFUSED) && ctx.Err() == nil {
		// The node is down and nothing was sent, so another is asked: what nodes
		// that are away for long would leave open is too much to be decided.
		time.Sleep(10 * time.Millisecond)
		return c.perform(ctx, i%nodes+1, in, body)
	}
	if err != nil {
		return history.Output{}, nil // no answer
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return history.Output{}, nil // half an answer
	}
	if resp.StatusCode == want {
		return understand(in.Kind, resp, text)
	}
	if resp.StatusCode == http.StatusInsufficientStorage {
		// It comes at once. Whoever asked again at once would leave more open
		// than can be decided.
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	out, err := refusal(in, resp.StatusCode, text)
	if err != nil {
		err = fmt.Errorf("%s by node %d: %w (request %s)", in.Kind, i, err, resp.Header.Get("X-Qs-Request-Id"))
	}
	return out, err
}

func completeBody(parts []history.Part) []byte {
	list := make([]map[string]any, len(parts))
	for i, p := range parts {
		list[i] = map[string]any{"part_number": p.Number}
		if p.ETag != "" {
			list[i]["etag"] = p.ETag
		}
	}
	b, err := json.Marshal(map[string]any{"object_parts": list})
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// understand reads the answer of an operation that succeeded.
func understand(k history.Kind, resp *http.Response, text []byte) (out history.Output, err error) {
	out = history.Output{Outcome: history.OK, ETag: strings.Trim(resp.Header.Get("ETag"), `"`)}
	switch k {
	case history.Initiate:
		var answer struct {
			UploadID string `json:"upload_id"`
		}
		err = json.Unmarshal(text, &answer)
		out.Upload = answer.UploadID
	case history.ListParts:
		var page qsclient.PartPage
		err = json.Unmarshal(text, &page)
		if page.Count != len(page.Parts) {
			err = errors.Join(err, fmt.Errorf("count is %d of %d parts", page.Count, len(page.Parts)))
		}
		for _, p := range page.Parts {
			out.Parts = append(out.Parts, history.Part{Number: p.Number, Size: p.Size, ETag: p.ETag})
		}
	case history.GetObject:
		out.Parts, err = splitBodies(text)
	case history.HeadObject:
		out.Size = resp.ContentLength
	}
	if err != nil {
		err = fmt.Errorf("%w to %s: %w", errWrong, k, err)
	}
	return out, err
}

// refusal reads an answer other than success. Of a 5xx nothing is known, and
// each of the others must be the right one for the operation.
func refusal(in history.Input, status int, text []byte) (history.Output, error) {
	var answer struct{ Code, Message string }
	_ = json.Unmarshal(text, &answer) // answers to HEAD have no body
	absent := "object_not_exists"
	if in.Upload != "" {
		absent = "upload_not_exists"
	}
	switch {
	case status == http.StatusServiceUnavailable, status == http.StatusInsufficientStorage:
		return history.Output{}, nil
	case status == http.StatusNotFound && (answer.Code == absent || in.Kind == history.HeadObject):
		return history.Output{Outcome: history.NotFound}, nil
	case status == http.StatusBadRequest && in.Kind == history.Complete && (answer.Code == "invalid_argument" || answer.Code == "entity_too_small"):
		return history.Output{Outcome: history.Refused}, nil
	}
	return history.Output{}, fmt.Errorf("%w: status %d %s: %s", errWrong, status, answer.Code, answer.Message)
}
