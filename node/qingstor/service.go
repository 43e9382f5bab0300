package qingstor

import (
	"context"
	"errors"
	"io"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Errors about a request's body that Data passes on or detects.
var (
	// ErrBadDigest reports a payload that differs from its Content-MD5.
	ErrBadDigest = errors.New("payload differs from Content-MD5")
	// ErrIncompleteBody reports a body that ended before its announced length.
	ErrIncompleteBody = errors.New("body shorter than announced")
	// ErrTooManyParts reports an object that no more can be appended to.
	ErrTooManyParts = errors.New("too many parts")
	// ErrBodyTooLarge reports a body that grew past the allowed size.
	ErrBodyTooLarge = errors.New("body too large")
)

// Payload is the body of a PUT.
type Payload struct {
	// Body yields the payload. Its errors wrap ErrIncompleteBody or
	// ErrBodyTooLarge where they apply. Reading it may make the server send
	// "100 Continue", so nothing reads it before the request is known to be
	// good; nor after the call that was given the Payload has returned.
	Body io.Reader
	// Size is the announced length in bytes, or -1 for chunked transfer coding.
	Size int64
	// MD5 is the digest the client promised, or nil.
	MD5 *metadata.ETag
	// Key is the customer's key that the payload is to be encrypted with, or nil.
	Key *CustomerKey
}

// Data moves payloads. The node implements it; node/put.go and node/get.go are
// the story behind it. Errors wrap the sentinels of metadata, layout, erasure
// and this package; errors.go maps them to the wire.
type Data interface {
	// PutPart stores one part of an open upload and commits its record. The
	// caller has found the upload; the registry decides again at commit.
	PutPart(ctx context.Context, ref metadata.UploadRef, number layout.PartNumber, p Payload) (metadata.ETag, error)

	// PutObject stores an object in one piece. The caller has found the
	// bucket; the registry decides again at commit.
	PutObject(ctx context.Context, bucket, key string, headers metadata.Headers, p Payload) (metadata.Object, error)

	// AppendObject extends an appendable object of the size position, or
	// creates one, and returns it as it is then.
	AppendObject(ctx context.Context, bucket, key string, position int64, headers metadata.Headers, p Payload) (metadata.Object, error)

	// OpenObject finds an object and its parts, as of one instant.
	OpenObject(ctx context.Context, bucket, key string) (Object, error)
}

// Object is an object opened for reading.
type Object interface {
	Info() metadata.Object

	// Unlock gives the key of an encrypted object, before Range.
	Unlock(key *CustomerKey)

	// Range returns length payload bytes from offset on, 0 <= offset,
	// offset+length <= Size. It returns only when the first stripe is in hand,
	// so an error here can still become a status. The reader yields exactly
	// those bytes or an error, never a short clean end.
	Range(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}

// Credential is what an access key stands for.
type Credential struct {
	Secret string
	Owner  string // user ID, such as "usr-root"
}

// Keyring finds access keys.
type Keyring interface {
	// Credential returns the credential of an access key ID; ok is false if
	// there is no such key.
	Credential(ctx context.Context, accessKeyID string) (c Credential, ok bool, err error)
}
