package peer

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"partstore/internal/layout"
)

// serveCall finds the service first, because it decides who may enter.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request) {
	service := r.PathValue("service")
	door := door{anyNode: true}
	h, ok := s.cfg.Calls[service]
	if !ok {
		if h, ok = s.cfg.FormationCalls[service]; ok {
			door.formation = true
		}
	}
	s.handle(door, func(w http.ResponseWriter, r *http.Request, from layout.NodeID) error {
		if !ok {
			return fmt.Errorf("%w: %q", ErrUnknownService, service)
		}
		return runCall(w, r, from, h)
	})(w, r)
}

func runCall(w http.ResponseWriter, r *http.Request, from layout.NodeID, h Handler) error {
	request, err := readRequest(r)
	if err != nil {
		return err
	}
	answer, err := h(r.Context(), from, request)
	if err != nil {
		if remote := (*RemoteError)(nil); errors.As(err, &remote) {
			return remote
		}
		return &RemoteError{Code: codeInternal, Text: err.Error()}
	}
	if len(answer) > MaxCallSize {
		return fmt.Errorf("answer of %d bytes: %w", len(answer), ErrTooLarge)
	}
	_, _ = w.Write(answer) // the asker may have gone
	return nil
}

func readRequest(r *http.Request) ([]byte, error) {
	if r.ContentLength > MaxCallSize {
		return nil, fmt.Errorf("request of %d bytes: %w", r.ContentLength, ErrTooLarge)
	}
	request, err := io.ReadAll(io.LimitReader(r.Body, MaxCallSize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	if len(request) > MaxCallSize {
		return nil, fmt.Errorf("request: %w", ErrTooLarge)
	}
	return request, nil
}
