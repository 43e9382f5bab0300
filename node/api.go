package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"partstore/node/admin"
)

// Limits of a client connection. Bodies have no time limit as a whole: a slow
// client holds a connection and a few stripes, nothing else. One that stopped is
// found by the listener.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// openAPIs prepares the servers of the client API and the admin API.
func (n *Node) openAPIs() {
	starting := http.Handler(http.HandlerFunc(serveStarting))
	n.clientAPI.Store(&starting)
	n.requests.ctx, n.requests.cancel = context.WithCancel(context.Background()) // until Close
	n.client = &http.Server{
		BaseContext: func(net.Listener) context.Context { return n.requests.ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !n.requests.begin() {
				panic(http.ErrAbortHandler) // Close was called while this one was on its way in
			}
			defer n.requests.end()
			(*n.clientAPI.Load()).ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.onClose(closeNetwork, n.requests.close)
	n.onClose(closeNetwork, n.client.Close)
	n.admin = &http.Server{
		Handler:           admin.NewHandler(operator{n}, promhttp.HandlerFor(n.metrics.registry, promhttp.HandlerOpts{}), n.cfg.AdminToken, n.log),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.onClose(closeNetwork, n.admin.Close)
}

// serveStarting answers clients of a node that has not found its cluster yet:
// it cannot know anything, so it admits just that.
func serveStarting(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusServiceUnavailable)
	// A client that is gone does not read its answer.
	_ = json.NewEncoder(w).Encode(map[string]string{
		"code": "service_unavailable", "message": "The node is starting.", "request_id": "", "url": "",
	})
}

// requests counts the client requests in flight, so that Close can wait until
// none is left that could touch what is closed next, and healing knows of them.
type requests struct {
	ctx    context.Context // of every request; ends with close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	flying sync.WaitGroup
	count  int       // that fly
	last   time.Time // when the last one landed
}

func (q *requests) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.flying.Add(1)
	q.count++
	return true
}

func (q *requests) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying.Done()
	q.count--
	q.last = time.Now()
}

// quietAfter is how long after the last request a node is quiet.
const quietAfter = time.Second

// quiet reports whether no client waits for this node, or did a moment ago.
func (q *requests) quiet() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count == 0 && time.Since(q.last) > quietAfter
}

// close ends the requests in flight and waits for them.
func (q *requests) close() error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cancel()
	q.flying.Wait()
	return nil
}
