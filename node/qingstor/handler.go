package qingstor

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"time"

	"partstore/metadata"
)

// DefaultZone is the zone ID shown to clients unless Config names another.
const DefaultZone = "pek3a"

// Config says what a handler serves. Registry, Data and Keys are required.
type Config struct {
	Registry metadata.Registry
	Data     Data
	Keys     Keyring

	// BaseDomains are the names under which clients reach the service, without
	// port. A label before one names a bucket or a zone; a host below none of
	// them is path style. Default: none.
	BaseDomains []string

	// Zone is the zone ID shown to clients. Default DefaultZone.
	Zone string

	// FetchHosts are the servers that objects may be fetched from: host, or
	// host:port for other than the usual port. Default: none.
	FetchHosts []string

	// Now is the clock that signatures and stored times are read from.
	// Default time.Now.
	Now func() time.Time

	// Observer hears of every request when it is over: its operation as the
	// route table names it ("unknown" if none), its status, and its duration.
	// Optional.
	Observer func(op string, status int, took time.Duration)

	// Logger receives what clients are not told. Default: discard.
	Logger *slog.Logger
}

// handler serves every operation of the dialect.
type handler struct {
	Config
	bases    []string // BaseDomains in the form hosts are compared in
	fetch    *fetcher // nil: nothing is fetched
	pictures *darkroom
}

// NewHandler returns the dialect as an http.Handler. It must not stand behind
// an http.ServeMux, which cleans paths and redirects.
func NewHandler(cfg Config) http.Handler {
	if cfg.Zone == "" {
		cfg.Zone = DefaultZone
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observer == nil {
		cfg.Observer = func(string, int, time.Duration) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{Config: cfg, fetch: newFetcher(cfg.FetchHosts), pictures: newDarkroom()}
	for _, base := range cfg.BaseDomains {
		h.bases = append(h.bases, normalHost(base))
	}
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &call{
		handler: h,
		w:       &response{ResponseWriter: w},
		r:       r,
		id:      fmt.Sprintf("%016x", rand.Uint64()),
		body:    newRequestBody(r),
	}
	header := w.Header()
	header.Set("Server", "QingStor")
	header.Set("X-Qs-Request-Id", c.id)
	defer func() { // also while a panic passes
		took := time.Since(began)
		h.Observer(c.op(), c.outcome(), took)
		h.Logger.DebugContext(r.Context(), "request", "request_id", c.id, "op", c.op(), "status", c.outcome(), "took", took)
	}()
	c.serve()
}

// serve runs the call and answers its error. A panic is a 500 like any other
// bug, except the one that asks net/http to reset the connection.
func (c *call) serve() {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			c.Logger.ErrorContext(c.r.Context(), "panic", "request_id", c.id, "op", c.op(), "panic", p, "stack", string(debug.Stack()))
			c.fail(fmt.Errorf("panic: %v", p))
		}
	}()
	if err := c.run(c.r.Context()); err != nil {
		c.fail(err)
	}
}
