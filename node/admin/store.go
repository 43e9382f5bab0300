package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"partstore/internal/layout"
)

// ErrMargin reports a decision that would leave parts without a margin, or that
// nobody has room to follow.
var ErrMargin = errors.New("margin or room would not hold")

// StoreDecision is an operator's decision about a store.
type StoreDecision struct {
	Store   layout.StoreID
	Duty    string // in, draining, out or dead
	Reason  string
	DryRun  bool // only say what would follow
	NoRoom  bool // though margin or room would not hold
	Version uint64
	// Besides are stores that are given up together with it, and take nothing over.
	Besides []layout.StoreID
}

// StorePlan is what follows from a decision.
type StorePlan struct {
	Done    bool   `json:"done"`
	Slots   int    `json:"slots"`   // that go to other stores
	Bytes   int64  `json:"bytes"`   // of chunks in them
	Targets int    `json:"targets"` // nodes with a store that may take them
	Room    int64  `json:"room"`    // free bytes of those
	Margin  int    `json:"margin"`  // losses the worst group survives, once the store gives nothing any more
	Seconds int64  `json:"seconds"` // that it takes at least, at the bandwidth healing has now
	Problem string `json:"problem,omitempty"`
}

// DecideStore records a decision about a store, or says what would follow.
func (c *Client) DecideStore(ctx context.Context, d StoreDecision) (p StorePlan, err error) {
	var besides []string
	for _, id := range d.Besides {
		besides = append(besides, id.String())
	}
	err = c.call(ctx, http.MethodPost, "/v1/store", url.Values{
		"store": {d.Store.String()}, "duty": {d.Duty}, "reason": {d.Reason}, "version": {strconv.FormatUint(d.Version, 10)},
		"dry_run": {strconv.FormatBool(d.DryRun)}, "no_room": {strconv.FormatBool(d.NoRoom)}, "besides": besides,
	}, &p)
	return p, err
}

func (h *handler) decideStore(r *http.Request) (any, error) {
	v := r.URL.Query()
	d := StoreDecision{Duty: v.Get("duty"), Reason: v.Get("reason")}
	var err, dryErr, roomErr, versionErr error
	d.Store, err = layout.ParseStoreID(v.Get("store"))
	d.DryRun, dryErr = strconv.ParseBool(v.Get("dry_run"))
	d.NoRoom, roomErr = strconv.ParseBool(v.Get("no_room"))
	d.Version, versionErr = strconv.ParseUint(v.Get("version"), 10, 64)
	if err := errors.Join(err, dryErr, roomErr, versionErr); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for _, text := range v["besides"] {
		id, err := layout.ParseStoreID(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		d.Besides = append(d.Besides, id)
	}
	return h.service.DecideStore(r.Context(), d)
}
