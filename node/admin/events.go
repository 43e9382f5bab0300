package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Event is something that was decided or has changed, as the registry keeps it.
type Event struct {
	Sequence       uint64          `json:"sequence"`    // one more for each
	Time           time.Time       `json:"time"`        // by the clock of the answering node and the age
	AgeSeconds     float64         `json:"age_seconds"` // by the time of the registry, which stops while nobody leads it
	RegistryMillis uint64          `json:"registry_ms"` // time of the registry
	Kind           string          `json:"kind"`
	Node           *NodeRef        `json:"node"`  // null if it is about none
	Store          *layout.StoreID `json:"store"` // null if it is about none
	Reason         string          `json:"reason"`
}

// EventList is the answer to "events", oldest first.
type EventList struct {
	Events []Event `json:"events"`
}

// Limits of one list of events.
const (
	DefaultEventLimit = 100
	MaxEventLimit     = metadata.MaxEvents
)

// RepairPolicy is what operators want of healing on all nodes.
type RepairPolicy struct {
	Paused              bool   `json:"paused"`
	BytesPerSecond      uint64 `json:"bytes_per_second"`       // on each node; 0: what each is configured for
	TotalBytesPerSecond uint64 `json:"total_bytes_per_second"` // on all nodes together; 0: no bound
	ChunksAtOnce        uint64 `json:"chunks_at_once"`         // made at a time on all nodes together; 0: no bound
	Nodes               int    `json:"healing_nodes"`          // that hold slots, and share what is for all alike
}

func (h *handler) events(r *http.Request) (any, error) {
	limit := DefaultEventLimit
	if s := r.URL.Query().Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > MaxEventLimit {
			return nil, fmt.Errorf("%w: limit %q is not within 1 to %d", ErrInvalid, s, MaxEventLimit)
		}
		limit = n
	}
	events, err := h.service.Events(r.Context(), limit)
	return EventList{list(events)}, err
}

func (h *handler) repair(r *http.Request) (any, error) { return h.service.Repair(r.Context()) }

// repairVerbs are the verbs by their names on the wire.
var repairVerbs = map[string]metadata.RepairVerb{
	metadata.RepairPause.String():         metadata.RepairPause,
	metadata.RepairResume.String():        metadata.RepairResume,
	metadata.RepairThrottle.String():      metadata.RepairThrottle,
	metadata.RepairThrottleTotal.String(): metadata.RepairThrottleTotal,
	metadata.RepairAtOnce.String():        metadata.RepairAtOnce,
}

func (h *handler) changeRepair(r *http.Request) (any, error) {
	q := r.URL.Query()
	verb, known := repairVerbs[q.Get("verb")]
	if !known {
		return nil, fmt.Errorf("%w: verb %q", ErrInvalid, q.Get("verb"))
	}
	var limit uint64
	if verb.Throttles() {
		var err error
		if limit, err = strconv.ParseUint(q.Get(limitName(verb)), 10, 64); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, limitName(verb), err)
		}
	}
	return nil, h.service.ChangeRepair(r.Context(), verb, limit)
}

// limitName is what the limit of a verb is called on the wire.
func limitName(verb metadata.RepairVerb) string {
	if verb == metadata.RepairAtOnce {
		return "chunks"
	}
	return "bytes_per_second"
}

// Events asks for the last events.
func (c *Client) Events(ctx context.Context, limit int) (l EventList, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/events", url.Values{"limit": {strconv.Itoa(limit)}}, &l)
	return l, err
}

// Repair asks what operators want of healing.
func (c *Client) Repair(ctx context.Context) (p RepairPolicy, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/repair", nil, &p)
	return p, err
}

// ChangeRepair pauses, resumes or throttles healing on all nodes; the limit, bytes a
// second or chunks, is that of a throttle.
func (c *Client) ChangeRepair(ctx context.Context, verb metadata.RepairVerb, limit uint64) error {
	v := url.Values{"verb": {verb.String()}}
	if verb.Throttles() {
		v.Set(limitName(verb), strconv.FormatUint(limit, 10))
	}
	return c.call(ctx, http.MethodPost, "/v1/repair", v, nil)
}
