package qingstor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"partstore/metadata"
)

// maxSettingBody leaves room for what is written more tersely when it is kept.
const maxSettingBody = 2 * metadata.MaxSettingSize

// setting is a document of a bucket: how it is judged, and what is shown of it.
type setting struct {
	check func(c *call, text []byte) (document any, err error)
	show  func(ctx context.Context, c *call, document []byte) (any, error)
}

// settings is every setting that is kept as one document, by its sub-resource.
var settings = map[string]setting{
	"acl":          {checkACL, showACL},
	"cors":         {checkCORS, showOr(`{"cors_rules":[]}`)},
	"policy":       {checkPolicy, showOr(`{"statement":[]}`)},
	"lifecycle":    {checkLifecycle, showLifecycle},
	"notification": {checkNotification, showOr(`{"notifications":[]}`)},
	"mirror":       {checkMirror, showOr(`{"source_site":""}`)},
	"logging":      {checkLogging, showOr(`{"target_bucket":"","target_prefix":""}`)},
	"replication":  {checkReplication, showOr(`{"rules":[]}`)},
	"versioning":   {checkVersioning, showOr(`{"status":"DISABLED"}`)},
}

// showOr shows what was set, or instead of nothing the given answer: a setting
// that was never set is not an error.
func showOr(unset string) func(context.Context, *call, []byte) (any, error) {
	return func(_ context.Context, _ *call, document []byte) (any, error) {
		if len(document) == 0 {
			return json.RawMessage(unset), nil
		}
		return json.RawMessage(document), nil
	}
}

func (c *call) setting() setting { return settings[c.route.params] }

func (c *call) getSetting(ctx context.Context) error {
	document, err := c.Registry.Setting(ctx, c.bucket.Name, metadata.Setting(c.route.params))
	if err != nil {
		return err
	}
	answer, err := c.setting().show(ctx, c, document)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) putSetting(ctx context.Context) error {
	text, err := c.body.all(maxSettingBody)
	if err != nil {
		return err
	}
	document, err := c.setting().check(c, text)
	if err != nil {
		return err
	}
	kept, err := json.Marshal(document)
	if err != nil {
		return err
	}
	if len(kept) > metadata.MaxSettingSize {
		return refuse(errInvalidRequest, "The document is larger than %d bytes", metadata.MaxSettingSize)
	}
	if err := c.Registry.ChangeSetting(ctx, c.bucket.Name, metadata.Setting(c.route.params), kept); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

func (c *call) deleteSetting(ctx context.Context) error {
	if err := c.Registry.ChangeSetting(ctx, c.bucket.Name, metadata.Setting(c.route.params), nil); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// readBody reads a JSON object from a client. Members nobody knows are ignored,
// and a null member counts as absent.
func readBody[T any](text []byte) (v T, err error) {
	if longestList(text) > maxKeptRules {
		return v, refuse(errInvalidRequest, "A list in the body has more than %d items", maxKeptRules)
	}
	if err := parseJSON(text, &v); err != nil {
		return v, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return v, refuse(errInvalidRequest, "The body is not a JSON object")
	}
	return v, nil
}

// readStored reads what putSetting kept.
func readStored[T any](document []byte) (v T, err error) {
	if err := json.Unmarshal(document, &v); err != nil {
		return v, fmt.Errorf("stored setting: %w", err)
	}
	return v, nil
}
