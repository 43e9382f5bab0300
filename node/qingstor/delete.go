package qingstor

import (
	"context"
	"crypto/md5"
	"net/http"
	"slices"
	"sync"
)

const (
	maxDeletes    = 1000
	maxDeleteBody = 8 << 20 // as many keys of 1,023 bytes, each byte escaped
	deletesAtOnce = 64      // they travel together, in few log entries
)

type deleteRequest struct {
	Quiet   bool `json:"quiet"`
	Objects []struct {
		Key *string `json:"key"`
	} `json:"objects"`
}

type deleteList struct {
	Deleted []deletedItem `json:"deleted,omitzero"` // nil: the client does not want to know
	Errors  []deleteError `json:"errors"`
}

type deletedItem struct {
	Key string `json:"key"`
}

type deleteError struct {
	Key     string `json:"key"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// deleteObjects deletes objects one by one, each with its own outcome. A key
// without an object counts as deleted.
func (c *call) deleteObjects(ctx context.Context) error {
	promised, err := parseContentMD5(c.r.Header)
	if err != nil {
		return err
	}
	if promised == nil {
		return refuse(errInvalidArgument, "The header content-md5 is required")
	}
	text, err := c.body.all(maxDeleteBody)
	if err != nil {
		return err
	}
	if md5.Sum(text) != *promised {
		return ErrBadDigest
	}
	keys, quiet, err := parseDelete(text)
	if err != nil {
		return err
	}
	list := c.deleteKeys(ctx, keys)
	if !slices.ContainsFunc(list.Errors, func(e deleteError) bool { return e.Code != "permission_denied" }) && len(list.Errors) == len(keys) {
		return errPermissionDenied
	}
	if quiet {
		list.Deleted = nil
	}
	return c.json(http.StatusOK, list)
}

// parseDelete reads the keys to be deleted, and whether only failures are to be
// told.
func parseDelete(text []byte) (keys []string, quiet bool, err error) {
	if n := longestList(text); n > maxDeletes {
		return nil, false, refuse(errTooManyObjects, "The request names %d objects; the most is %d", n, maxDeletes)
	}
	var req deleteRequest
	if err := parseJSON(text, &req); err != nil {
		return nil, false, err
	}
	if len(req.Objects) == 0 {
		return nil, false, refuse(errInvalidRequest, "objects is missing or empty")
	}
	for _, o := range req.Objects {
		if o.Key == nil {
			return nil, false, refuse(errInvalidRequest, "An object has no key")
		}
		keys = append(keys, *o.Key)
	}
	return keys, req.Quiet, nil
}

// deleteKey deletes one object. Policies speak of keys, so each is judged.
func (c *call) deleteKey(ctx context.Context, key string) error {
	if err := c.may(c.bucket, key, "delete_multiple_objects", writer); err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return err
	}
	return c.Registry.DeleteObject(ctx, c.bucket.Name, key)
}

// deleteKeys deletes a few at a time and reports in the order of keys.
func (c *call) deleteKeys(ctx context.Context, keys []string) deleteList {
	outcomes := make([]error, len(keys))
	var deletes sync.WaitGroup
	slots := make(chan struct{}, deletesAtOnce)
	for i, key := range keys {
		slots <- struct{}{}
		deletes.Go(func() {
			defer func() { <-slots }()
			outcomes[i] = c.deleteKey(ctx, key)
		})
	}
	deletes.Wait()
	list := deleteList{Deleted: []deletedItem{}, Errors: []deleteError{}}
	for i, key := range keys {
		if err := outcomes[i]; err != nil {
			row := rowOf(err)
			list.Errors = append(list.Errors, deleteError{Key: key, Code: row.code, Message: messageOf(err, row)})
			c.Logger.InfoContext(ctx, "delete one of many", "request_id", c.id, "key", key, "err", err)
			continue
		}
		list.Deleted = append(list.Deleted, deletedItem{Key: key})
	}
	return list
}
