package qingstor

import (
	"context"
	"encoding/hex"
	"net/http"

	"partstore/internal/layout"
	"partstore/metadata"
)

// maxParts is both the default and the most parts of one page of List Parts.
const maxParts = 1000

type partList struct {
	Count int        `json:"count"` // of the upload, not of the page
	Parts []partItem `json:"object_parts"`
}

type partItem struct {
	Number  layout.PartNumber `json:"part_number"`
	Size    int64             `json:"size"`
	Created string            `json:"created"`
	ETag    string            `json:"etag"` // without quotes, unlike in List Objects
}

func (c *call) listParts(ctx context.Context) error {
	id, err := c.uploadID()
	if err != nil {
		return err
	}
	after, err := c.query.number("part_number_marker", -1, int(layout.MaxPartNumber))
	if err != nil {
		return err
	}
	limit, err := c.query.limit(maxParts, maxParts)
	if err != nil {
		return err
	}
	ref, err := c.uploadRef(id)
	if err != nil {
		return err
	}
	page, err := c.Registry.Parts(ctx, ref, after, limit)
	if err != nil {
		return err
	}
	list := partList{Count: page.Total, Parts: []partItem{}}
	for _, p := range page.Parts {
		list.Parts = append(list.Parts, partItem{
			Number:  p.Number,
			Size:    p.Size,
			Created: jsonTime(p.Modified),
			ETag:    hexETag(p.ETag),
		})
	}
	return c.json(http.StatusOK, list)
}

type uploadList struct {
	Name               string       `json:"name"`
	Prefix             string       `json:"prefix"`
	Delimiter          string       `json:"delimiter"`
	Limit              int          `json:"limit"`
	Marker             string       `json:"marker"` // an older name of key_marker
	KeyMarker          string       `json:"key_marker"`
	UploadIDMarker     string       `json:"upload_id_marker"`
	NextKeyMarker      string       `json:"next_key_marker"`
	NextUploadIDMarker string       `json:"next_upload_id_marker"`
	HasMore            bool         `json:"has_more"`
	Uploads            []uploadItem `json:"uploads"`
	CommonPrefixes     []string     `json:"common_prefixes"`
}

type uploadItem struct {
	Key      string `json:"key"`
	UploadID string `json:"upload_id"`
	Created  string `json:"created"`
}

func (c *call) listUploads(ctx context.Context) error {
	limit, err := c.query.limit(defaultKeys, maxKeys)
	if err != nil {
		return err
	}
	afterID := c.query.get("upload_id_marker")
	q := metadata.ListQuery{
		Prefix:    c.query.get("prefix"),
		Delimiter: c.query.get("delimiter"),
		Marker:    c.query.get("key_marker"),
		Limit:     limit,
	}
	list := uploadList{
		Name:           c.bucket.Name,
		Prefix:         q.Prefix,
		Delimiter:      q.Delimiter,
		Limit:          limit,
		Marker:         q.Marker,
		KeyMarker:      q.Marker,
		UploadIDMarker: afterID,
		Uploads:        []uploadItem{},
	}
	if q.Marker == "" {
		afterID = "" // means nothing without the key it belongs to
	}
	if _, err := layout.ParseUploadID(afterID); afterID != "" && err != nil {
		return refuse(errInvalidArgument, "The parameter upload_id_marker is not an upload ID")
	}
	page, err := c.Registry.Uploads(ctx, c.bucket.Name, q, afterID)
	if err != nil {
		return err
	}
	list.NextKeyMarker, list.NextUploadIDMarker, list.HasMore = page.NextKey, page.NextID, page.NextKey != ""
	list.CommonPrefixes = append([]string{}, page.CommonPrefixes...)
	for _, u := range page.Uploads {
		list.Uploads = append(list.Uploads, uploadItem{Key: u.Key, UploadID: u.ID.String(), Created: jsonTime(u.Created)})
	}
	return c.json(http.StatusOK, list)
}

func hexETag(e metadata.ETag) string { return hex.EncodeToString(e[:]) }
