package qingstor

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"

	"partstore/internal/layout"
	"partstore/metadata"
)

// maxCompleteBody holds 10,001 parts with every field that clients echo, four
// times over.
const maxCompleteBody = 8 << 20

// maxGivenETag bounds the ETag a client may give to an object.
const maxGivenETag = 255

type completeRequest struct {
	Parts []struct {
		Number *int    `json:"part_number"`
		ETag   *string `json:"etag"`
	} `json:"object_parts"`
}

func (c *call) completeUpload(ctx context.Context) error {
	id, err := c.uploadID()
	if err != nil {
		return err
	}
	ref, err := c.uploadRef(id)
	if err != nil {
		return err
	}
	complete := metadata.CompleteUpload{UploadRef: ref, Headers: metadata.Headers{}, Modified: c.Now()}
	if complete.ETag, err = givenETag(c.r.Header.Get("ETag")); err != nil {
		return err
	}
	if err := keep(complete.Headers, "content-disposition", c.r.Header); err != nil {
		return err
	}
	text, err := c.body.all(maxCompleteBody)
	if err != nil {
		return err
	}
	if complete.Parts, err = parseComplete(text); err != nil {
		return err
	}
	object, err := c.Registry.CompleteUpload(ctx, complete)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoted(object.ETag))
	tellKey(c.w.Header(), object.Headers)
	return c.empty(http.StatusCreated)
}

// parseComplete reads the list of parts. It is never sorted for the client: an
// order other than ascending says that the client mixed something up.
func parseComplete(text []byte) ([]metadata.CompletePart, error) {
	if longestList(text) > int(layout.MaxPartNumber)+1 {
		return nil, refuse(errInvalidRequest, "object_parts has more parts than an upload")
	}
	var req completeRequest
	if err := parseJSON(text, &req); err != nil {
		return nil, err
	}
	if len(req.Parts) == 0 {
		return nil, refuse(errInvalidRequest, "object_parts is missing or empty")
	}
	parts := make([]metadata.CompletePart, 0, len(req.Parts))
	before := -1
	for _, p := range req.Parts {
		switch {
		case p.Number == nil:
			return nil, refuse(errInvalidRequest, "A part has no part_number")
		case *p.Number < int(layout.MinPartNumber) || *p.Number > int(layout.MaxPartNumber):
			return nil, refuse(errInvalidRequest, "The part_number %d is out of range", *p.Number)
		case *p.Number <= before:
			return nil, refuse(errInvalidRequest, "The part_number %d is not above the one before", *p.Number)
		}
		before = *p.Number
		etag, err := partETag(p.ETag)
		if err != nil {
			return nil, err
		}
		parts = append(parts, metadata.CompletePart{Number: layout.PartNumber(before), ETag: etag})
	}
	return parts, nil
}

// partETag reads the ETag of a listed part; empty or null is not given. What is
// no MD5 is no part's ETag.
func partETag(s *string) (*metadata.ETag, error) {
	if s == nil || *s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(unquote(*s))
	if err != nil || len(b) != len(metadata.ETag{}) {
		return nil, metadata.ErrPartMismatch
	}
	return (*metadata.ETag)(b), nil
}

// givenETag reads the ETag header, with or without quotes. It is kept, not
// verified; but it must come back as one entity tag.
func givenETag(s string) (string, error) {
	etag := unquote(s)
	bad := strings.IndexFunc(etag, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' })
	if bad >= 0 || len(etag) > maxGivenETag {
		return "", refuse(errInvalidArgument, "The ETag header is no entity tag of at most %d bytes", maxGivenETag)
	}
	return etag, nil
}
