package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"partstore/internal/layout"
)

// Scrub is how far a node has come in reading a whole store, or all of its stores.
// Times are those of the node's clock.
type Scrub struct {
	Began    time.Time `json:"began"`    // of the pass under way
	Read     int       `json:"read"`     // chunks, by that pass
	Total    int       `json:"total"`    // chunks there were when it began or went on
	Hurried  bool      `json:"hurried"`  // it was asked for, and does not take the period
	Verified time.Time `json:"verified"` // begin of the last complete pass; zero: none yet
	Damaged  int       `json:"damaged"`  // chunks found damaged, by all passes
}

func (h *handler) runScrub(r *http.Request) (any, error) {
	id, err := layout.ParseStoreID(r.URL.Query().Get("store"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil, h.service.RunScrub(r.Context(), id)
}

// RunScrub has the node of a store begin to read it in full now.
func (c *Client) RunScrub(ctx context.Context, store layout.StoreID) error {
	return c.call(ctx, http.MethodPost, "/v1/scrub/run", url.Values{"store": {store.String()}}, nil)
}
