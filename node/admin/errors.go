package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Errors of the API, the same on both ends of the wire.
var (
	// ErrNotFound reports a bucket, upload, object, user or access key that does not exist. It is
	// a fact about the cluster.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable reports that the answer could not be had: no leader, no
	// quorum, no time, or a node that cannot be reached.
	ErrUnavailable = errors.New("unavailable")
	// ErrNotReady reports a node that cannot serve yet, or no longer.
	ErrNotReady = errors.New("not ready")
	// ErrUnauthorized reports a missing or wrong bearer token.
	ErrUnauthorized = errors.New("missing or wrong token")
	// ErrInvalid reports a request that makes no sense.
	ErrInvalid = errors.New("invalid request")
	// ErrConflict reports a change that was decided on an older membership:
	// somebody was faster. Look again, then decide again.
	ErrConflict = errors.New("changed meanwhile")
	// ErrRefused reports a change that would not be safe. The message says why.
	ErrRefused = errors.New("refused")
	// ErrInternal reports a failure of the node that is none of the above.
	ErrInternal = errors.New("internal error")
)

// errorTable is the only place where an error becomes a status and a code, and
// a code becomes an error again. The first row that matches wins; an error with
// no row is a 500 and is logged.
var errorTable = []struct {
	err    error
	status int
	code   string
	means  error // what the client makes of the code
}{
	{ErrUnauthorized, http.StatusUnauthorized, "unauthorized", ErrUnauthorized},
	{ErrInvalid, http.StatusBadRequest, "invalid_request", ErrInvalid},
	{layout.ErrBadID, http.StatusBadRequest, "invalid_request", ErrInvalid},
	{metadata.ErrInvalid, http.StatusBadRequest, "invalid_request", ErrInvalid},
	{metadata.ErrMembersChanged, http.StatusConflict, "members_changed", ErrConflict},
	{metadata.ErrMembersUnsafe, http.StatusConflict, "members_unsafe", ErrRefused},
	{metadata.ErrBucketNotFound, http.StatusNotFound, "bucket_not_found", ErrNotFound},
	{metadata.ErrUploadNotFound, http.StatusNotFound, "upload_not_found", ErrNotFound},
	{metadata.ErrObjectNotFound, http.StatusNotFound, "object_not_found", ErrNotFound},
	{metadata.ErrUserNotFound, http.StatusNotFound, "user_not_found", ErrNotFound},
	{metadata.ErrKeyNotFound, http.StatusNotFound, "key_not_found", ErrNotFound},
	{metadata.ErrUserExists, http.StatusConflict, "user_exists", ErrRefused},
	{metadata.ErrUserInUse, http.StatusConflict, "user_in_use", ErrRefused},
	{ErrMargin, http.StatusConflict, "no_margin", ErrMargin},
	{metadata.ErrDutyChanged, http.StatusConflict, "duty_changed", ErrConflict},
	{ErrRefused, http.StatusConflict, "refused", ErrRefused},
	{ErrNotFound, http.StatusNotFound, "not_found", ErrNotFound},
	{ErrNotReady, http.StatusServiceUnavailable, "not_ready", ErrNotReady},
	{metadata.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", ErrUnavailable},
	{ErrUnavailable, http.StatusServiceUnavailable, "unavailable", ErrUnavailable},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "unavailable", ErrUnavailable},
	{context.Canceled, http.StatusServiceUnavailable, "unavailable", ErrUnavailable},
}

func statusOf(err error) (status int, code string) {
	for _, row := range errorTable {
		if errors.Is(err, row.err) {
			return row.status, row.code
		}
	}
	return http.StatusInternalServerError, "internal_error"
}

// Error is an error answer, as the client got it. It wraps one of the
// sentinels above.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	status  int
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("status %d, code %q", e.status, e.Code)
	}
	return e.Message
}

// Unwrap returns the sentinel that the code stands for. A code this client does
// not know is judged by its status.
func (e *Error) Unwrap() error {
	for _, row := range errorTable {
		if row.code == e.Code {
			return row.means
		}
	}
	switch {
	case e.status == http.StatusServiceUnavailable:
		return ErrUnavailable
	case e.status >= 400 && e.status < 500:
		return ErrInvalid
	default:
		return ErrInternal
	}
}
