package peer

import (
	"errors"
	"net/http"

	"partstore/chunkstore"
)

// Errors of this package. A remote Store wraps them in chunkstore.ErrUnavailable.
var (
	// ErrUnreachable reports a node that could not be asked, or whose answer
	// was lost: the request may or may not have been carried out.
	ErrUnreachable = errors.New("node unreachable")
	// ErrUnauthorized reports a node that does not share our cluster secret.
	ErrUnauthorized = errors.New("cluster secret refused")
	// ErrWrongCluster reports a node of another cluster, or of none.
	ErrWrongCluster = errors.New("node of another cluster")
	// ErrWrongNode reports an address where another node lives now.
	ErrWrongNode = errors.New("another node at this address")
	// ErrUnknownStore reports a node that does not hold the store.
	ErrUnknownStore = errors.New("store not on this node")
	// ErrUnknownService reports a Call of a service the node does not offer.
	ErrUnknownService = errors.New("unknown service")
	// ErrTooLarge reports a Call whose request or answer exceeds MaxCallSize.
	ErrTooLarge = errors.New("message too large")
	// ErrBadRequest reports a message that breaks the protocol.
	ErrBadRequest = errors.New("malformed peer message")
)

// codes is the only place where an error becomes a code on the wire, and a
// code an error again. The first row that matches wins; an error with no row
// travels as codeInternal. Codes are part of the protocol and must not change.
// The status is for people with a packet dump: only the code is ever looked at.
var codes = []struct {
	code   string
	err    error
	status int
}{
	{"not_found", chunkstore.ErrNotFound, http.StatusNotFound},
	{"exists", chunkstore.ErrExists, http.StatusConflict},
	{"corrupt", chunkstore.ErrCorrupt, http.StatusUnprocessableEntity},
	{"full", chunkstore.ErrFull, http.StatusInsufficientStorage},
	{"fenced", chunkstore.ErrFenced, http.StatusServiceUnavailable},
	{"unauthorized", ErrUnauthorized, http.StatusUnauthorized},
	{"wrong_cluster", ErrWrongCluster, http.StatusMisdirectedRequest},
	{"wrong_node", ErrWrongNode, http.StatusMisdirectedRequest},
	{"unknown_store", ErrUnknownStore, http.StatusMisdirectedRequest},
	{"unknown_service", ErrUnknownService, http.StatusNotImplemented},
	{"too_large", ErrTooLarge, http.StatusRequestEntityTooLarge},
	{"bad_request", ErrBadRequest, http.StatusBadRequest},
	{"unavailable", chunkstore.ErrUnavailable, http.StatusServiceUnavailable},
}

const codeInternal = "internal"

func codeOf(err error) (code string, status int) {
	for _, row := range codes {
		if errors.Is(err, row.err) {
			return row.code, row.status
		}
	}
	return codeInternal, http.StatusInternalServerError
}

// errorOf is the error that a peer reported. A code from a newer peer, which
// we do not know, says no more than that we got no answer.
func errorOf(code, text string) error {
	for _, row := range codes {
		if row.code == code {
			return &reported{text: text, err: row.err}
		}
	}
	return &reported{text: code + ": " + text, err: ErrUnreachable}
}

// reported is an error of a peer: its words, our sentinel.
type reported struct {
	text string
	err  error
}

func (e *reported) Error() string { return e.text }
func (e *reported) Unwrap() error { return e.err }

// RemoteError is the error of a Handler as its caller sees it. A Handler that
// wants the caller to know more than "internal" returns one, wrapped or not.
type RemoteError struct {
	Code string // short and stable, such as "no_leader": lower-case letters, digits and _
	Text string // for people
}

func (e *RemoteError) Error() string {
	if e.Text == "" {
		return e.Code
	}
	return e.Code + ": " + e.Text
}
