package qingstor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"partstore/metadata"
)

// The headers that name where an operation takes its bytes from. What follows
// one, such as "-If-Match", speaks of the source too.
const (
	copySource  = "X-Qs-Copy-Source"
	moveSource  = "X-Qs-Move-Source"
	fetchSource = "X-Qs-Fetch-Source"
)

// checkSources refuses the name of a source that the operation would not look
// at: whoever sent it did not mean a plain upload.
func (c *call) checkSources() error {
	for _, name := range []string{copySource, moveSource, fetchSource} {
		if _, given := c.r.Header[name]; given && c.route.header != name {
			return refuse(errInvalidRequest, "The header %s has no meaning for this request", strings.ToLower(name))
		}
	}
	return nil
}

// sourceName is one reading of such a header.
type sourceName struct{ bucket, key string }

// sourceNames reads the name of a source. It should be percent-encoded, but
// clients send it raw too, or as a form would; so there are several readings,
// the likeliest first.
func sourceNames(header string) ([]sourceName, error) {
	var names []sourceName
	for _, text := range []string{
		decodeLeniently(header),
		header,
		decodeLeniently(strings.ReplaceAll(header, "+", " ")),
	} {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(text, "/"), "/")
		name := sourceName{bucket, key}
		if validBucketName(bucket) && checkKey(key) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, refuse(errInvalidArgument, "The source is not of the form /bucket/key")
	}
	return names, nil
}

// decodeLeniently decodes percent-encoding where it is well-formed and leaves
// everything else as it is.
func decodeLeniently(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, ok1 := hexDigit(s[i+1])
			low, ok2 := hexDigit(s[i+2])
			if ok1 && ok2 {
				b = append(b, high<<4|low)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case '0' <= b && b <= '9':
		return b - '0', true
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10, true
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}

// findSource opens the object that a header names, by the first reading under
// which there is one that the caller may read. Of its errors it returns the
// first: that of the likeliest reading.
func findSource[T any](ctx context.Context, c *call, header string, open func(ctx context.Context, bucket, key string) (T, error)) (object T, err error) {
	names, err := sourceNames(c.r.Header.Get(header))
	if err != nil {
		return object, err
	}
	var first error
	for _, name := range names {
		if err = c.authoriseSource(ctx, name); err == nil {
			object, err = open(ctx, name.bucket, name.key)
		}
		if err == nil {
			return object, nil
		}
		if first == nil {
			first = err
		}
		if !errors.Is(err, metadata.ErrObjectNotFound) && !errors.Is(err, metadata.ErrBucketNotFound) && !errors.Is(err, errPermissionDenied) {
			return object, err // it is not known whether there is one
		}
	}
	return object, first
}

// authoriseSource lets those in who may read the source, and delete it if it
// is moved.
func (c *call) authoriseSource(ctx context.Context, name sourceName) error {
	bucket, err := c.Registry.BucketRights(ctx, name.bucket)
	if err != nil {
		return err
	}
	if err := c.may(bucket, name.key, "get_object", reader); err != nil || c.route.op != "move_object" {
		return err
	}
	return c.may(bucket, name.key, "delete_object", writer)
}

// sourceHolds judges the conditions on a source. All that fail are 412, also
// those that would make a GET answer 304.
func sourceHolds(h http.Header, prefix string, o metadata.Object) error {
	if readConditions(h, prefix+"-").judge(o) != conditionsHold {
		return errPreconditionFailed
	}
	return nil
}

// noBody refuses a body where the source already has the bytes.
func (c *call) noBody() error {
	if c.body.announced != 0 {
		return refuse(errInvalidRequest, "The request has a source and must have no body")
	}
	return nil
}
