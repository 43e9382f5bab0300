package qingstor

import (
	"context"
	"net/http"

	"partstore/internal/layout"
	"partstore/metadata"
)

type uploadCreated struct {
	Bucket   string `json:"bucket"`
	Key      string `json:"key"`
	UploadID string `json:"upload_id"`
}

func (c *call) initiateUpload(ctx context.Context) error {
	headers, err := readHeaders(c.r.Header)
	if err != nil {
		return err
	}
	key, err := readCustomerKey(c.r.Header, ownKey)
	if err != nil {
		return err
	}
	key.mark(headers)
	u := metadata.Upload{
		UploadRef: metadata.UploadRef{Bucket: c.bucket.Name, Key: c.addr.key, ID: layout.NewUploadID()},
		Created:   c.Now(),
		Headers:   headers,
	}
	if err := c.Registry.CreateUpload(ctx, u); err != nil {
		return err
	}
	tellKey(c.w.Header(), headers)
	return c.json(http.StatusOK, uploadCreated{Bucket: u.Bucket, Key: u.Key, UploadID: u.ID.String()})
}

func (c *call) uploadPart(ctx context.Context) error {
	ref, number, err := c.partRef()
	if err != nil {
		return err
	}
	payload, err := c.body.payload()
	if err != nil {
		return err
	}
	if payload.Key, err = c.uploadKey(ctx, ref); err != nil {
		return err
	}
	etag, err := c.Data.PutPart(ctx, ref, number, payload)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoted(hexETag(etag)))
	return c.empty(http.StatusCreated)
}

// partRef names the part that a request uploads.
func (c *call) partRef() (ref metadata.UploadRef, number layout.PartNumber, err error) {
	id, err := c.uploadID()
	if err != nil {
		return ref, 0, err
	}
	if number, err = c.partNumber(); err != nil {
		return ref, 0, err
	}
	ref, err = c.uploadRef(id)
	return ref, number, err
}

// abortUpload succeeds whether or not there is such an upload, so that a client
// that is unsure may always ask.
func (c *call) abortUpload(ctx context.Context) error {
	id, err := c.uploadID()
	if err != nil {
		return err
	}
	if ref, err := c.uploadRef(id); err == nil {
		if err := c.Registry.AbortUpload(ctx, ref); err != nil {
			return err
		}
	}
	return c.empty(http.StatusNoContent)
}

// uploadID is the upload_id as given. An empty one is a mistake of the caller,
// not an unknown upload.
func (c *call) uploadID() (string, error) {
	id := c.query.get("upload_id")
	if id == "" {
		return "", refuse(errInvalidArgument, "The parameter upload_id is missing or empty")
	}
	return id, nil
}

// uploadRef names the upload a request is about. No upload ever had an
// ill-formed ID, so the registry need not be asked about one.
func (c *call) uploadRef(id string) (metadata.UploadRef, error) {
	parsed, err := layout.ParseUploadID(id)
	if err != nil {
		return metadata.UploadRef{}, metadata.ErrUploadNotFound
	}
	return metadata.UploadRef{Bucket: c.bucket.Name, Key: c.addr.key, ID: parsed}, nil
}

func (c *call) partNumber() (layout.PartNumber, error) {
	n, ok := decimal(c.query.get("part_number"), int(layout.MaxPartNumber)+1)
	if !ok || n > int(layout.MaxPartNumber) {
		return 0, refuse(errInvalidArgument, "The parameter part_number is not a decimal number from %d to %d",
			layout.MinPartNumber, layout.MaxPartNumber)
	}
	return layout.PartNumber(n), nil
}
