package admin

import (
	"context"
	"errors"
	"io"
	"net/http"

	"partstore/metadata"
)

// RegistryCapacity is how full one node's copy of the registry is.
type RegistryCapacity struct {
	Node NodeRef            `json:"node"`
	Rows metadata.RowCounts `json:"rows"`

	MaxParts      int     `json:"max_parts"`      // what one registry was measured to hold
	PercentFull   float64 `json:"percent_full"`   // parts of max_parts
	RowsBytes     int64   `json:"rows_bytes"`     // on disk
	LogBytes      int64   `json:"log_bytes"`      // on disk; this file never shrinks
	LogEntries    uint64  `json:"log_entries"`    // in it
	Snapshots     int     `json:"snapshots"`      // kept
	SnapshotBytes int64   `json:"snapshot_bytes"` // most of them shared with the rows
	MemoryBytes   int64   `json:"memory_bytes"`   // of the rows: caches, and what is not on disk yet
	AppliedIndex  uint64  `json:"applied_index"`
}

func (h *handler) registryCapacity(r *http.Request) (any, error) {
	return h.service.RegistryCapacity(r.Context())
}

// registryBackup streams a backup. Once its first bytes are gone no error can
// be answered: the connection is cut, and the backup lacks its end.
func (h *handler) registryBackup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	out := &started{w: w}
	switch err := h.service.RegistryBackup(r.Context(), out); {
	case err == nil:
	case !out.yes:
		h.writeError(w, r, err)
	default:
		h.log.WarnContext(r.Context(), "backup cut off", "err", err)
		panic(http.ErrAbortHandler)
	}
}

// started is a writer that knows whether anything was written.
type started struct {
	w   io.Writer
	yes bool
}

func (s *started) Write(p []byte) (int, error) {
	s.yes = true
	return s.w.Write(p)
}

// RegistryCapacity asks how full the node's copy of the registry is.
func (c *Client) RegistryCapacity(ctx context.Context) (r RegistryCapacity, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/registry/capacity", nil, &r)
	return r, err
}

// RegistryBackup writes a backup of the registry to w. After an error, what was
// written is no backup.
func (c *Client) RegistryBackup(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, http.MethodGet, "/v1/registry/backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out := &failing{w: w}
	if _, err := io.Copy(out, resp.Body); err != nil {
		if out.err != nil {
			return out.err
		}
		return unreachable(ctx, err)
	}
	return nil
}

// failing is a writer that remembers its error, which io.Copy mixes with those
// of the reader.
type failing struct {
	w   io.Writer
	err error
}

func (f *failing) Write(p []byte) (n int, err error) {
	n, err = f.w.Write(p)
	f.err = errors.Join(f.err, err)
	return n, err
}
