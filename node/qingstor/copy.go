package qingstor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"partstore/metadata"
)

// maxCopyTries bounds how often a copy is judged anew because its source
// changed meanwhile.
const maxCopyTries = 8

func (c *call) copyObject(ctx context.Context) error {
	headersOf, err := c.copiedHeaders()
	if err != nil {
		return err
	}
	key, err := readCustomerKey(c.r.Header, ownKey)
	if err != nil {
		return err
	}
	from, err := readCustomerKey(c.r.Header, sourceKey)
	if err != nil {
		return err
	}
	return c.copyFrom(ctx, copySource, func(source metadata.Object) (metadata.Object, error) {
		if source.Size > metadata.MaxPartSize {
			return source, refuse(ErrBodyTooLarge, "The source is larger than 5 GiB: copy it in parts")
		}
		if err := from.fits(source.Headers, errPermissionDenied); err != nil {
			return source, err
		}
		kept := headersOf(source)
		unmark(kept)
		key.mark(kept)
		switch {
		case c.isTarget(source) && maps.Equal(kept, source.Headers):
			return source, nil // nothing would change
		case source.Appendable, key != nil, from != nil:
			return c.copyBytes(ctx, source, kept, key)
		}
		return c.Registry.CopyObject(ctx, metadata.CopyObject{
			Source: source, Bucket: c.bucket.Name, Key: c.addr.key, Headers: kept, Modified: c.Now(),
		})
	})
}

// moveObject gives an object another key, with everything it has. It is modified
// by that: whoever has seen another object under the key must notice.
func (c *call) moveObject(ctx context.Context) error {
	return c.copyFrom(ctx, moveSource, func(source metadata.Object) (metadata.Object, error) {
		if c.isTarget(source) {
			return source, nil
		}
		return c.Registry.CopyObject(ctx, metadata.CopyObject{
			Source: source, Bucket: c.bucket.Name, Key: c.addr.key, Headers: source.Headers, Modified: c.Now(), Move: true,
		})
	})
}

// copyFrom finds and judges the source and has it copied: all of it again, if it
// was changed in between.
func (c *call) copyFrom(ctx context.Context, header string, copy func(source metadata.Object) (metadata.Object, error)) error {
	if err := c.noBody(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		source, err := findSource(ctx, c, header, c.Registry.Object)
		if err != nil {
			return err
		}
		if err := sourceHolds(c.r.Header, header, source); err != nil {
			return err
		}
		object, err := copy(source)
		if errors.Is(err, metadata.ErrObjectChanged) && try < maxCopyTries {
			continue
		}
		if err != nil {
			return err
		}
		c.w.Header().Set("ETag", quoted(object.ETag))
		tellKey(c.w.Header(), object.Headers)
		return c.empty(http.StatusCreated)
	}
}

func (c *call) isTarget(source metadata.Object) bool {
	return source.Bucket == c.bucket.Name && source.Key == c.addr.key
}

// copiedHeaders reads what the request says of the headers of the copy. It
// replaces all of them, or none but the storage class, which is STANDARD unless
// the request names one. An object that is copied to itself keeps its own.
func (c *call) copiedHeaders() (of func(source metadata.Object) metadata.Headers, err error) {
	switch strings.ToUpper(c.r.Header.Get("X-Qs-Metadata-Directive")) {
	case "REPLACE":
		headers, err := readHeaders(c.r.Header)
		return func(metadata.Object) metadata.Headers { return headers }, err
	case "", "COPY":
	default:
		return nil, refuse(errInvalidArgument, "The header x-qs-metadata-directive is neither COPY nor REPLACE")
	}
	class, err := readStorageClass(c.r.Header)
	return func(source metadata.Object) metadata.Headers {
		kept := metadata.Headers{}
		maps.Copy(kept, source.Headers)
		switch {
		case class != "" && class != storageClass(kept):
			kept[storageClassHeader] = class
		case class == "" && !c.isTarget(source):
			delete(kept, storageClassHeader)
		}
		return kept
	}, err
}

// copyBytes copies an object whose parts cannot be shared, because they will be
// more by the next append, or because a copy has another key.
func (c *call) copyBytes(ctx context.Context, source metadata.Object, kept metadata.Headers, key *CustomerKey) (metadata.Object, error) {
	opened, err := c.Data.OpenObject(ctx, source.Bucket, source.Key)
	if err != nil {
		return metadata.Object{}, err
	}
	if now := opened.Info(); now.ID != source.ID || now.ETag != source.ETag {
		return metadata.Object{}, metadata.ErrObjectChanged
	}
	if err := c.unlock(opened, sourceKey); err != nil {
		return metadata.Object{}, err
	}
	body, err := openSpan(ctx, opened, span{0, source.Size})
	if err != nil {
		return metadata.Object{}, err
	}
	defer body.Close()
	return c.Data.PutObject(ctx, c.bucket.Name, c.addr.key, kept, Payload{Body: body, Size: source.Size, Key: key})
}

// copyPart makes a part of an upload of bytes that are here already. They are
// written anew: a part is on other stores than any other.
func (c *call) copyPart(ctx context.Context) error {
	if err := c.noBody(); err != nil {
		return err
	}
	ref, number, err := c.partRef()
	if err != nil {
		return err
	}
	source, err := findSource(ctx, c, copySource, c.Data.OpenObject)
	if err != nil {
		return err
	}
	if err := sourceHolds(c.r.Header, copySource, source.Info()); err != nil {
		return err
	}
	if err := c.unlock(source, sourceKey); err != nil {
		return err
	}
	key, err := c.uploadKey(ctx, ref)
	if err != nil {
		return err
	}
	size := source.Info().Size
	wanted := span{0, size}
	if text := c.r.Header.Get("X-Qs-Copy-Range"); text != "" {
		var ok bool
		if wanted, ok = parseRange(text, size); !ok {
			return errInvalidRange
		}
		c.w.Header().Set("X-Qs-Content-Copy-Range", contentRange(wanted, size))
	}
	if wanted.length > metadata.MaxPartSize {
		return refuse(ErrBodyTooLarge, "A part cannot be larger than 5 GiB")
	}
	body, err := openSpan(ctx, source, wanted)
	if err != nil {
		return err
	}
	defer body.Close()
	etag, err := c.Data.PutPart(ctx, ref, number, Payload{Body: body, Size: wanted.length, Key: key})
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoted(hexETag(etag)))
	return c.empty(http.StatusCreated)
}

// openSpan is Range for a span that may be empty.
func openSpan(ctx context.Context, o Object, s span) (io.ReadCloser, error) {
	if s.length == 0 {
		return http.NoBody, nil
	}
	return o.Range(ctx, s.offset, s.length)
}

func contentRange(s span, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.offset, s.offset+s.length-1, size)
}
