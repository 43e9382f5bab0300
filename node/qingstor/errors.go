package qingstor

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/erasure"
)

// What this package itself refuses.
var (
	errInvalidArgument     = errors.New("invalid argument")
	errInvalidRequest      = errors.New("invalid request")
	errInvalidJSON         = errors.New("invalid JSON")
	errInvalidBucketName   = errors.New("invalid bucket name")
	errInvalidObjectName   = errors.New("invalid object name")
	errTooManyObjects      = errors.New("too many objects")
	errFormPolicyViolated  = errors.New("form policy violated")
	errMetadataTooLarge    = errors.New("metadata too large")
	errInvalidAccessKeyID  = errors.New("unknown access key")
	errSignatureNotMatched = errors.New("signature differs")
	errRequestExpired      = errors.New("request expired")
	errPermissionDenied    = errors.New("permission denied")
	errMethodNotAllowed    = errors.New("method not allowed")
	errPreconditionFailed  = errors.New("precondition failed")
	errInvalidRange        = errors.New("invalid range")
	errNotImplemented      = errors.New("not implemented")
	errCNAME               = errors.New("bad domain")
)

// errorRow says how an error looks on the wire.
type errorRow struct {
	err     error
	status  int
	code    string
	message string
}

// errorTable is the only place where an error becomes a status. The first row
// that matches wins; an error without a row is a bug of ours, internalError.
var errorTable = []errorRow{
	{errInvalidArgument, 400, "invalid_argument", "A parameter of the request is not valid"},
	{errInvalidRequest, 400, "invalid_request", "The request is not valid"},
	{errInvalidJSON, 400, "invalid_json", "The request body is not valid JSON"},
	{errInvalidBucketName, 400, "invalid_bucket_name", "The bucket name is not valid"},
	{errInvalidObjectName, 400, "invalid_object_name", "The object key is not valid"},
	{errTooManyObjects, 400, "too_many_objects", "The request names more than 1000 objects"},
	{errFormPolicyViolated, 400, "form_policy_violated", "The form is not as its policy has it"},
	{errMetadataTooLarge, 400, "metadata_too_large", "The user metadata is too large"},
	{errCNAME, 400, "cname_error", "The domain is not valid"},
	{metadata.ErrTooManyDomains, 400, "cname_error", "The bucket has too many domains"},
	{metadata.ErrDomainTaken, 400, "domain_occupied", "The domain is bound to another bucket"},
	{ErrBadDigest, 400, "bad_digest", "Content-MD5 differs from the MD5 of the received body"},
	{ErrIncompleteBody, 400, "incomplete_body", "The body is shorter than announced"},
	{ErrBodyTooLarge, 400, "entity_too_large", "The body is larger than 5 GiB"},
	{metadata.ErrObjectTooLarge, 400, "entity_too_large", "The object would be larger than 50 TiB"},
	{metadata.ErrNotAppendable, 400, "invalid_object_state", "The object is not appendable"},
	{metadata.ErrPosition, 400, "invalid_argument", "The position is not the end of the object"},
	{ErrTooManyParts, 400, "max_parts_exceeded", "The object has been appended to 10001 times; copy it to begin anew"},
	{metadata.ErrPartTooSmall, 400, "entity_too_small", "A part other than the last is smaller than 4 MiB"},
	{metadata.ErrPartNotFound, 400, "invalid_argument", "A listed part was never uploaded"},
	{metadata.ErrPartMismatch, 400, "invalid_argument", "A listed part has another ETag"},
	{errInvalidAccessKeyID, 401, "invalid_access_key_id", "The access key does not exist"},
	{errSignatureNotMatched, 401, "signature_not_matched", "The signature does not match the request"},
	{errRequestExpired, 403, "request_expired", "The request is expired, or the clock of the client differs by more than 15 minutes"},
	{errPermissionDenied, 403, "permission_denied", "You have no permission for this request"},
	{metadata.ErrBucketNotFound, 404, "bucket_not_exists", "The bucket does not exist"},
	{metadata.ErrUploadNotFound, 404, "upload_not_exists", "The upload does not exist"},
	{metadata.ErrObjectNotFound, 404, "object_not_exists", "The object does not exist"},
	{errMethodNotAllowed, 405, "method_not_allowed", "The method is not allowed on this resource"},
	{metadata.ErrBucketExists, 409, "bucket_already_exists", "The bucket already exists"},
	{metadata.ErrBucketNotEmpty, 409, "bucket_not_empty", "The bucket holds objects or unfinished uploads"},
	{errFetchInProcess, 409, "fetch_in_process", "The source is being fetched already"},
	{errPreconditionFailed, 412, "precondition_failed", "A condition of the request does not hold"},
	{errInvalidRange, 416, "invalid_range", "The range is not valid for this object"},
	{errFetchThrottled, 429, "fetch_throttled", "This node is fetching too much already"},
	{errUpstream, 503, "upstream_failed", "The source failed, or does not say how long it is"},
	{errNotImplemented, 501, "not_implemented", "This operation is not supported"},
	// Nothing is known or nothing can be done now; the client may try again.
	{metadata.ErrFull, 507, "insufficient_storage", "There is no room for more; deletes and aborts go on"},
	{metadata.ErrUnavailable, 503, "service_unavailable", "The service is temporarily unavailable"},
	{metadata.ErrObjectChanged, 503, "service_unavailable", "The source changed again and again while it was copied"},
	{metadata.ErrSlotsMoved, 503, "service_unavailable", "The stores of the payload were replaced while it was written"},
	{metadata.ErrAttemptFenced, 503, "service_unavailable", "The upload took too long or this node restarted"},
	{layout.ErrNoMargin, 503, "service_unavailable", "Too few stores are up to take data safely"},
	{erasure.ErrWriteQuorum, 503, "service_unavailable", "Too few stores took the data"},
	{erasure.ErrBusy, 503, "service_unavailable", "This node has too much in hand"},
	{errPicturesBusy, 503, "service_unavailable", "This node is processing too many pictures already"},
	{erasure.ErrTooFewShards, 503, "service_unavailable", "Too few stores have the data at hand"},
	{context.DeadlineExceeded, 503, "service_unavailable", "The request took too long"},
	{context.Canceled, 503, "service_unavailable", "The request was given up"},
}

var internalError = errorRow{nil, http.StatusInternalServerError, "internal_error", "An internal error occurred"}

func rowOf(err error) errorRow {
	for _, row := range errorTable {
		if errors.Is(err, row.err) {
			return row
		}
	}
	return internalError
}

// refusal is an error of a known kind with a message fit for the client.
type refusal struct {
	kind    error
	message string
}

func (e *refusal) Error() string { return fmt.Sprintf("%v: %s", e.kind, e.message) }
func (e *refusal) Unwrap() error { return e.kind }

// refuse says no, and why, in words for the client.
func refuse(kind error, format string, args ...any) error {
	return &refusal{kind: kind, message: fmt.Sprintf(format, args...)}
}

// messageOf is what the client is told. Only refusals speak for themselves:
// other errors name things inside that are none of the client's business.
func messageOf(err error, row errorRow) string {
	if own := new(refusal); errors.As(err, &own) && errors.Is(own.kind, row.err) {
		return own.message
	}
	return row.message
}
