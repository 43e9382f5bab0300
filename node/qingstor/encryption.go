package qingstor

import (
	"context"
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"net/http"

	"partstore/metadata"
)

// CustomerKey encrypts what a customer stores. It lives as long as the request
// that brought it: never kept, never logged.
type CustomerKey [32]byte

// What is kept of a key, with the headers of the object or upload. Clients are
// told of it with them.
const (
	algorithmHeader = "x-qs-encryption-customer-algorithm"
	keyMD5Header    = "x-qs-encryption-customer-key-md5"
	customerAES     = "AES256"
)

// The beginnings of the three headers that bring a key.
const (
	ownKey    = "X-Qs-Encryption-Customer-"
	sourceKey = "X-Qs-Copy-Source-Encryption-Customer-"
)

// readCustomerKey reads the key that a request brings, nil if it brings none. A
// key without an algorithm asks for nothing: clients are known to send one.
func readCustomerKey(h http.Header, prefix string) (*CustomerKey, error) {
	algorithm, given := h[prefix+"Algorithm"]
	if !given {
		return nil, nil
	}
	if algorithm[0] != customerAES {
		return nil, refuse(errInvalidArgument, "The algorithm of a customer key is %s", customerAES)
	}
	text, err := base64.StdEncoding.Strict().DecodeString(h.Get(prefix + "Key"))
	if err != nil || len(text) != len(CustomerKey{}) {
		return nil, refuse(errInvalidArgument, "The customer key is not the base64 of 32 bytes")
	}
	key := CustomerKey(text)
	if h.Get(prefix+"Key-Md5") != key.md5() {
		return nil, refuse(errInvalidArgument, "The MD5 of the customer key does not belong to it")
	}
	return &key, nil
}

func (k *CustomerKey) md5() string {
	sum := md5.Sum(k[:])
	return base64.StdEncoding.EncodeToString(sum[:])
}

// mark notes in the headers of an object or upload that it has this key.
func (k *CustomerKey) mark(headers metadata.Headers) {
	if k != nil {
		headers[algorithmHeader], headers[keyMD5Header] = customerAES, k.md5()
	}
}

// unmark takes such a note away.
func unmark(headers metadata.Headers) {
	delete(headers, algorithmHeader)
	delete(headers, keyMD5Header)
}

func encrypted(headers metadata.Headers) bool { return headers[algorithmHeader] != "" }

// fits judges a key, nil for none, against what was noted. A missing or another
// key is the given kind of error; a key for something plain is a mistake.
func (k *CustomerKey) fits(headers metadata.Headers, kind error) error {
	switch {
	case k == nil && !encrypted(headers):
		return nil
	case k == nil:
		return refuse(kind, "The object or upload is encrypted: the customer key is missing")
	case !encrypted(headers):
		return refuse(errInvalidArgument, "A customer key was given for something that is not encrypted")
	case subtle.ConstantTimeCompare([]byte(k.md5()), []byte(headers[keyMD5Header])) != 1:
		return refuse(kind, "The customer key is not the one it was encrypted with")
	}
	return nil
}

// tellKey says in an answer with which key something is encrypted.
func tellKey(h http.Header, headers metadata.Headers) {
	if encrypted(headers) {
		h.Set(algorithmHeader, headers[algorithmHeader])
		h.Set(keyMD5Header, headers[keyMD5Header])
	}
}

// checkKeyUse refuses a key where the operation would store plain bytes in
// spite of it.
func (c *call) checkKeyUse() error {
	switch c.route.op {
	case "append_object", "fetch_object", "post_object", "process_image":
		if len(c.r.Header[ownKey+"Algorithm"]) > 0 {
			return refuse(errInvalidArgument, "Encryption with a customer key is not supported here")
		}
	}
	return nil
}

// uploadKey is the key of a part, which must be that of its upload. The answer
// tells of it only to who has it.
func (c *call) uploadKey(ctx context.Context, ref metadata.UploadRef) (*CustomerKey, error) {
	key, err := readCustomerKey(c.r.Header, ownKey)
	if err != nil {
		return nil, err
	}
	u, err := c.Registry.UploadOpen(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := key.fits(u.Headers, errInvalidArgument); err != nil {
		return nil, err
	}
	tellKey(c.w.Header(), u.Headers)
	return key, nil
}

// unlock gives an object the key that the request brings for it.
func (c *call) unlock(o Object, prefix string) error {
	key, err := readCustomerKey(c.r.Header, prefix)
	if err == nil {
		err = key.fits(o.Info().Headers, errPermissionDenied)
	}
	if key != nil {
		o.Unlock(key)
	}
	return err
}
