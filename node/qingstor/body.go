package qingstor

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"partstore/metadata"
)

// Bounds of what is read and thrown away after an error, so that a client that
// sends everything before it listens still hears the answer.
const (
	lingerBytes = 64 << 20
	lingerTime  = 5 * time.Second
	// smallRest is what net/http throws away by itself.
	smallRest = 128 << 10
)

// requestBody is the body of a request, counted while it is read.
type requestBody struct {
	r         *http.Request
	announced int64 // -1: chunked
	read      int64
	ended     bool // by its end or by an error
}

func newRequestBody(r *http.Request) *requestBody {
	return &requestBody{r: r, announced: r.ContentLength, ended: r.ContentLength == 0}
}

// Read implements io.Reader. Whatever keeps the body from arriving in full is
// the client's or its connection's doing, hence ErrIncompleteBody.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.r.Body.Read(p)
	b.read += int64(n)
	if b.read > metadata.MaxPartSize {
		return n, ErrBodyTooLarge
	}
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF), b.announced >= 0 && b.read < b.announced:
		err = fmt.Errorf("%w: %d bytes read: %w", ErrIncompleteBody, b.read, err)
	}
	b.ended = true
	return n, err
}

// payload checks what the headers say of the body and prepares it for Data. It
// reads nothing.
func (b *requestBody) payload() (Payload, error) {
	if b.announced > metadata.MaxPartSize {
		return Payload{}, ErrBodyTooLarge
	}
	digest, err := parseContentMD5(b.r.Header)
	if err != nil {
		return Payload{}, err
	}
	return Payload{Body: b, Size: b.announced, MD5: digest}, nil
}

// all reads a body of at most limit bytes.
func (b *requestBody) all(limit int64) ([]byte, error) {
	tooLarge := refuse(errInvalidRequest, "The body is larger than %d bytes", limit)
	if b.announced > limit {
		return nil, tooLarge
	}
	text, err := io.ReadAll(io.LimitReader(b, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(text)) > limit:
		return nil, tooLarge
	}
	return text, nil
}

// parseJSON reads a request's body, whatever its Content-Type says. Members
// that are not known are left alone.
func parseJSON(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	if wrongType := new(json.UnmarshalTypeError); errors.As(err, &wrongType) {
		return refuse(errInvalidRequest, "The member %q has the wrong type", wrongType.Field)
	}
	if err != nil {
		return errInvalidJSON
	}
	return nil
}

// parseContentMD5 reads a digest in base64, as HTTP has it, or in hex, as some
// clients send it; nil if there is none.
func parseContentMD5(h http.Header) (*metadata.ETag, error) {
	text := h.Get("Content-Md5")
	if text == "" {
		return nil, nil
	}
	digest, err := hex.DecodeString(text)
	if len(text) != hex.EncodedLen(md5.Size) {
		digest, err = base64.StdEncoding.Strict().DecodeString(text)
	}
	if err != nil || len(digest) != md5.Size {
		return nil, refuse(ErrBadDigest, "Content-MD5 is neither the base64 nor the hex form of an MD5")
	}
	return (*metadata.ETag)(digest), nil
}

// leave answers a request whose body will not be used. A rest too long for
// net/http to swallow is read on after the answer, for a while: closing the
// connection under a client that is still sending would cost it the answer.
func (b *requestBody) leave(w *response, answer func()) {
	if !b.lingers() {
		answer()
		return
	}
	rc := http.NewResponseController(w)
	if rc.EnableFullDuplex() != nil {
		answer()
		return
	}
	w.Header().Set("Connection", "close")
	answer()
	if rc.Flush() == nil && rc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, b.r.Body, lingerBytes)
	}
}

// lingers reports whether the client is still sending a long body. One that
// waits for "100 Continue" and never got it is not.
func (b *requestBody) lingers() bool {
	waiting := b.read == 0 && strings.EqualFold(b.r.Header.Get("Expect"), "100-continue")
	small := b.announced >= 0 && b.announced-b.read <= smallRest
	return b.r.ProtoMajor == 1 && !b.ended && !waiting && !small
}
