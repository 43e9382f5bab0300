package qingstor

import (
	"context"
	"net/http"

	"partstore/metadata"
)

// Pages of List Objects and List Multipart Uploads.
const (
	defaultKeys = 200
	maxKeys     = 1000
)

type objectList struct {
	Name           string       `json:"name"`
	Prefix         string       `json:"prefix"`
	Delimiter      string       `json:"delimiter"`
	Limit          int          `json:"limit"`
	Marker         string       `json:"marker"`
	NextMarker     string       `json:"next_marker"`
	HasMore        bool         `json:"has_more"`
	Owner          listOwner    `json:"owner"`
	Keys           []objectItem `json:"keys"`
	CommonPrefixes []string     `json:"common_prefixes"`
}

type listOwner struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type objectItem struct {
	Key          string `json:"key"`
	Size         int64  `json:"size"`
	ETag         string `json:"etag"` // with quotes
	MimeType     string `json:"mime_type"`
	Created      string `json:"created"`
	Modified     int64  `json:"modified"` // Unix seconds
	Encrypted    bool   `json:"encrypted"`
	StorageClass string `json:"storage_class"`
}

func (c *call) listObjects(ctx context.Context) error {
	limit, err := c.query.limit(defaultKeys, maxKeys)
	if err != nil {
		return err
	}
	q := metadata.ListQuery{
		Prefix:    c.query.get("prefix"),
		Delimiter: c.query.get("delimiter"),
		Marker:    c.query.get("marker"),
		Limit:     limit,
	}
	page, err := c.Registry.Objects(ctx, c.bucket.Name, q)
	if err != nil {
		return err
	}
	list := objectList{
		Name:           c.bucket.Name,
		Prefix:         q.Prefix,
		Delimiter:      q.Delimiter,
		Limit:          limit,
		Marker:         q.Marker,
		NextMarker:     page.Next,
		HasMore:        page.Next != "",
		Owner:          listOwner{ID: c.bucket.Owner, Name: c.bucket.Owner},
		Keys:           []objectItem{},
		CommonPrefixes: append([]string{}, page.CommonPrefixes...),
	}
	for _, o := range page.Objects {
		list.Keys = append(list.Keys, objectItem{
			Key:          o.Key,
			Size:         o.Size,
			ETag:         quoted(o.ETag),
			MimeType:     contentType(o.Headers),
			Created:      jsonTime(o.Modified),
			Modified:     o.Modified.Unix(),
			Encrypted:    encrypted(o.Headers),
			StorageClass: storageClass(o.Headers),
		})
	}
	return c.json(http.StatusOK, list)
}
