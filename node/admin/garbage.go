package admin

import (
	"context"
	"net/http"

	"partstore/internal/layout"
)

// Amount is a number of chunks and the payload bytes in them.
type Amount struct {
	Chunks int   `json:"chunks"`
	Bytes  int64 `json:"bytes"`
}

// GarbageStatus is what waits to be freed, by the answering node's copy of the
// registry.
type GarbageStatus struct {
	GraceSeconds  float64        `json:"grace_seconds"` // how long everything waits
	Entries       int            `json:"entries"`       // of the queue: whole uploads, and single parts
	Parts         int            `json:"parts"`
	Waiting       Amount         `json:"waiting"`
	Due           Amount         `json:"due"`            // of those, past the grace period
	OldestSeconds float64        `json:"oldest_seconds"` // how long the first entry has waited
	Stores        []GarbageShare `json:"stores"`         // by node
}

// GarbageShare is one store's share.
type GarbageShare struct {
	Store   layout.StoreID `json:"store"`
	Node    NodeRef        `json:"node"`
	Waiting Amount         `json:"waiting"`
	Freed   *Amount        `json:"freed"` // since the node started; null if it could not be asked
}

// GarbageSwept is what a sweep did.
type GarbageSwept struct {
	Freed   Amount `json:"freed"`   // deleted, or found gone
	Parts   int    `json:"parts"`   // taken off the queue
	Waiting int    `json:"waiting"` // parts that are due and keep a chunk on a store that cannot be asked
	Refused int    `json:"refused"` // entries that a record still names; this must not happen
	// Unfinished says that the sweep ended with its time; the leader goes on.
	Unfinished bool `json:"unfinished"`
}

func (h *handler) garbage(r *http.Request) (any, error) {
	s, err := h.service.Garbage(r.Context())
	s.Stores = list(s.Stores)
	return s, err
}

func (h *handler) sweepGarbage(r *http.Request) (any, error) {
	return h.service.SweepGarbage(r.Context())
}

// Garbage asks what waits to be freed.
func (c *Client) Garbage(ctx context.Context) (s GarbageStatus, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/gc", nil, &s)
	return s, err
}

// SweepGarbage has the leader free now what is due.
func (c *Client) SweepGarbage(ctx context.Context) (s GarbageSwept, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/gc/run", nil, &s)
	return s, err
}
