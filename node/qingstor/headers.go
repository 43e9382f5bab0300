package qingstor

import (
	"net/http"
	"strings"

	"partstore/metadata"
)

// Limits on what is kept with an object.
const (
	maxMetaName    = 512  // bytes of one name, without the prefix
	maxMetaTotal   = 2048 // bytes of all names and values
	maxContentType = 255
	maxHeader      = 4096 // any other standard header
)

const (
	metaPrefix         = "x-qs-meta-"
	storageClassHeader = "x-qs-storage-class"
	standardClass      = "STANDARD"
	defaultContentType = "application/octet-stream"
)

// keptHeaders are the standard headers that stay with an object.
var keptHeaders = []string{"cache-control", "content-disposition", "content-encoding", "content-type", "expires"}

// readHeaders collects what a request wants kept with its object.
func readHeaders(h http.Header) (metadata.Headers, error) {
	kept := metadata.Headers{}
	for _, name := range keptHeaders {
		if err := keep(kept, name, h); err != nil {
			return nil, err
		}
	}
	class, err := readStorageClass(h)
	if err != nil {
		return nil, err
	}
	if class != "" {
		kept[storageClassHeader] = class
	}
	return kept, readUserMetadata(kept, h)
}

// readStorageClass is the class a request asks for, "" if it does not say.
func readStorageClass(h http.Header) (string, error) {
	switch class := h.Get(storageClassHeader); class {
	case "", standardClass, "STANDARD_IA":
		return class, nil
	}
	return "", refuse(errInvalidRequest, "The storage class is neither STANDARD nor STANDARD_IA")
}

// keep copies one standard header, if there.
func keep(kept metadata.Headers, name string, h http.Header) error {
	value, most := h.Get(name), maxHeader
	if name == "content-type" {
		most = maxContentType
	}
	if len(value) > most {
		return refuse(errInvalidArgument, "The header %s is longer than %d bytes", name, most)
	}
	if value != "" {
		kept[name] = value
	}
	return nil
}

func readUserMetadata(kept metadata.Headers, h http.Header) error {
	total := 0
	for header, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(header), metaPrefix)
		if !ok || len(values) == 0 {
			continue
		}
		value := values[0]
		total += len(name) + len(value)
		switch {
		case len(name) > maxMetaName || total > maxMetaTotal:
			return errMetadataTooLarge
		case !validMetaName(name):
			return refuse(errInvalidArgument, "A user metadata name has only letters, digits, dash, underscore and dot")
		case strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) >= 0:
			return refuse(errInvalidArgument, "The value of %s is not printable ASCII", metaPrefix+name)
		}
		kept[metaPrefix+name] = value
	}
	return nil
}

// validMetaName judges a name in lower case.
func validMetaName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}) < 0
}

func contentType(kept metadata.Headers) string {
	if t := kept["content-type"]; t != "" {
		return t
	}
	return defaultContentType
}

func storageClass(kept metadata.Headers) string {
	if class := kept[storageClassHeader]; class != "" {
		return class
	}
	return standardClass
}

// writeHeaders puts what was kept with an object into an answer.
func writeHeaders(h http.Header, o metadata.Object) {
	for name, value := range o.Headers {
		h.Set(name, value)
	}
	h.Set("Content-Type", contentType(o.Headers))
	h.Set(storageClassHeader, storageClass(o.Headers))
	h.Set("ETag", quoted(o.ETag))
	h.Set("Last-Modified", o.Modified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
}

// overrideParams let a reader choose headers of its answer.
var overrideParams = map[string]string{
	"response-cache-control":       "Cache-Control",
	"response-content-disposition": "Content-Disposition",
	"response-content-encoding":    "Content-Encoding",
	"response-content-language":    "Content-Language",
	"response-content-type":        "Content-Type",
	"response-expires":             "Expires",
}

// readOverrides reads the response- parameters. Only a signed request may have
// them, else anyone could make a public object look like something else.
func (c *call) readOverrides() (http.Header, error) {
	overrides := http.Header{}
	for _, p := range c.query {
		header, ok := overrideParams[p.key]
		switch {
		case !ok || p.value == "":
			continue
		case c.caller == nil:
			return nil, errPermissionDenied
		case len(p.value) > maxHeader || strings.ContainsFunc(p.value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return nil, refuse(errInvalidArgument, "The value of %s is no header value", p.key)
		}
		overrides.Set(header, p.value)
	}
	return overrides, nil
}
