package qingstor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"partstore/metadata"
)

// copyBuffers are for objects whose reader does not write itself.
var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (c *call) getObject(ctx context.Context) error {
	overrides, err := c.readOverrides()
	if err != nil {
		return err
	}
	object, err := c.Data.OpenObject(ctx, c.bucket.Name, c.addr.key)
	if err != nil {
		return err
	}
	if err := c.unlock(object, ownKey); err != nil {
		return err
	}
	info := object.Info()
	if done, err := c.checkConditions(info); done || err != nil {
		return err
	}
	span, partial, err := c.wantedSpan(info)
	if err != nil {
		return err
	}
	body, err := openSpan(ctx, object, span)
	if err != nil {
		return err
	}
	defer body.Close()

	// The first stripe is in hand: from here on there is a status, and an
	// error can only cut the connection.
	header, status := c.w.Header(), http.StatusOK
	writeHeaders(header, info)
	for name := range overrides {
		header.Set(name, overrides.Get(name))
	}
	header.Set("Content-Length", strconv.FormatInt(span.length, 10))
	if partial {
		status = http.StatusPartialContent
		header.Set("Content-Range", contentRange(span, info.Size))
	}
	c.w.WriteHeader(status)
	return send(c.w, body, span.length)
}

// send copies exactly length bytes.
func send(w io.Writer, body io.Reader, length int64) error {
	buffer := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(buffer)
	n, err := io.CopyBuffer(w, body, buffer[:])
	if err != nil {
		return fmt.Errorf("send object: %w", err)
	}
	if n != length {
		return fmt.Errorf("send object: %d bytes of %d: %w", n, length, io.ErrUnexpectedEOF)
	}
	return nil
}

// headObject tells all of an object but its bytes, and touches none.
func (c *call) headObject(ctx context.Context) error {
	info, err := c.Registry.Object(ctx, c.bucket.Name, c.addr.key)
	if err != nil {
		return err
	}
	// The key need not be shown to see that there is one.
	if key, err := readCustomerKey(c.r.Header, ownKey); err != nil {
		return err
	} else if key != nil {
		if err := key.fits(info.Headers, errPermissionDenied); err != nil {
			return err
		}
	}
	if done, err := c.checkConditions(info); done || err != nil {
		return err
	}
	writeHeaders(c.w.Header(), info)
	writeAppendable(c.w.Header(), info)
	c.w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// wantedSpan is the bytes a GET asks for. A range that If-Range ties to another
// version of the object counts as not given.
func (c *call) wantedSpan(info metadata.Object) (s span, partial bool, err error) {
	text := c.r.Header.Get("Range")
	if text == "" || !rangeStillValid(c.r.Header.Get("If-Range"), info) {
		return span{0, info.Size}, false, nil
	}
	s, ok := parseRange(text, info.Size)
	if !ok {
		c.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
		return span{}, false, errInvalidRange
	}
	return s, true, nil
}
