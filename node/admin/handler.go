package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"
)

// readyTimeout bounds the work behind one readiness probe; probes give up
// after two seconds.
const readyTimeout = 1500 * time.Millisecond

// NewHandler serves s and metrics. An empty token lets everybody in, which is
// for loopback listeners. A nil logger discards.
func NewHandler(s Service, metrics http.Handler, token string, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &handler{service: s, token: token, log: log}

	closed := http.NewServeMux()
	closed.Handle("GET /v1/status", h.answer(h.status))
	closed.Handle("GET /v1/nodes", h.answer(h.nodes))
	closed.Handle("POST /v1/store", h.answer(h.decideStore))
	closed.Handle("GET /v1/stop", h.answer(h.judgeStop))
	closed.Handle("GET /v1/members", h.answer(h.members))
	closed.Handle("POST /v1/members", h.answer(h.changeMembers))
	closed.Handle("GET /v1/users", h.answer(h.users))
	closed.Handle("POST /v1/users", h.answer(h.createUser))
	closed.Handle("DELETE /v1/user", h.answer(h.deleteUser))
	closed.Handle("GET /v1/keys", h.answer(h.keys))
	closed.Handle("POST /v1/keys", h.answer(h.createKey))
	closed.Handle("POST /v1/keys/reseal", h.answer(h.resealKeys))
	closed.Handle("POST /v1/key", h.answer(h.setKey))
	closed.Handle("DELETE /v1/key", h.answer(h.deleteKey))
	closed.Handle("GET /v1/uploads", h.answer(h.uploads))
	closed.Handle("GET /v1/upload", h.answer(h.upload))
	closed.Handle("DELETE /v1/upload", h.answer(h.abortUpload))
	closed.Handle("GET /v1/object", h.answer(h.inspectObject))
	closed.Handle("GET /v1/gc", h.answer(h.garbage))
	closed.Handle("POST /v1/gc/run", h.answer(h.sweepGarbage))
	closed.Handle("POST /v1/scrub/run", h.answer(h.runScrub))
	closed.Handle("GET /v1/repair", h.answer(h.repair))
	closed.Handle("POST /v1/repair", h.answer(h.changeRepair))
	closed.Handle("GET /v1/events", h.answer(h.events))
	closed.Handle("GET /v1/registry/capacity", h.answer(h.registryCapacity))
	closed.Handle("GET /v1/registry/backup", http.HandlerFunc(h.registryBackup))
	closed.Handle("GET /metrics", metrics)
	closed.HandleFunc("GET /debug/pprof/", pprof.Index) // and every profile that needs no time to be taken
	closed.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	closed.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	closed.Handle("/", h.answer(noRoute))

	open := http.NewServeMux()
	open.Handle("GET /livez", h.answer(live))
	open.Handle("GET /readyz", h.answer(h.ready))
	open.Handle("/", h.guard(closed))
	return open
}

type handler struct {
	service Service
	token   string
	log     *slog.Logger
}

// answer turns a function into a handler: a nil value is 204, an error goes
// through the error table.
func (h *handler) answer(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		switch {
		case err != nil:
			h.writeError(w, r, err)
		case v == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			writeJSON(w, http.StatusOK, v)
		}
	})
}

// guard lets only holders of the token through.
func (h *handler) guard(next http.Handler) http.Handler {
	if h.token == "" {
		return next
	}
	want := sha256.Sum256([]byte(h.token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		// Digests have one length, so the comparison tells nothing by its time.
		if got := sha256.Sum256([]byte(given)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			h.writeError(w, r, ErrUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *handler) writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, code := statusOf(err)
	if status == http.StatusInternalServerError {
		h.log.ErrorContext(r.Context(), "admin request", "path", r.URL.Path, "err", err)
	}
	writeJSON(w, status, &Error{Code: code, Message: err.Error()})
}

// writeJSON answers with v. A client that went away is no error of ours.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("admin: answer does not marshal: %v", err)) // our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}

func live(*http.Request) (any, error) { return struct{}{}, nil }

func noRoute(r *http.Request) (any, error) {
	return nil, fmt.Errorf("%w: no %s %s here", ErrInvalid, r.Method, r.URL.Path)
}

func (h *handler) ready(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := h.service.Ready(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return struct{}{}, nil
}

func (h *handler) status(r *http.Request) (any, error) {
	s, err := h.service.Status(r.Context())
	if err != nil {
		return nil, err
	}
	s.assess()
	s.Voters = list(s.Voters)
	return s, nil
}

func (h *handler) nodes(r *http.Request) (any, error) {
	nodes, err := h.service.Nodes(r.Context())
	return NodeList{Nodes: list(nodes)}, err
}

func (h *handler) members(r *http.Request) (any, error) {
	l, err := h.service.Members(r.Context())
	l.Members = list(l.Members)
	return l, err
}

func (h *handler) changeMembers(r *http.Request) (any, error) {
	change, err := parseMembersChange(r)
	if err != nil {
		return nil, err
	}
	return nil, h.service.ChangeMembers(r.Context(), change)
}

func (h *handler) uploads(r *http.Request) (any, error) {
	q, err := parseUploadQuery(r)
	if err != nil {
		return nil, err
	}
	page, err := h.service.Uploads(r.Context(), q)
	page.Uploads = list(page.Uploads)
	return page, err
}

func (h *handler) upload(r *http.Request) (any, error) {
	ref, err := parseUploadRef(r)
	if err != nil {
		return nil, err
	}
	detail, err := h.service.Upload(r.Context(), ref)
	detail.Parts = list(detail.Parts)
	return detail, err
}

func (h *handler) abortUpload(r *http.Request) (any, error) {
	ref, err := parseUploadRef(r)
	if err != nil {
		return nil, err
	}
	h.log.InfoContext(r.Context(), "operator aborts upload", "upload", ref.ID, "key", ref.Key)
	return nil, h.service.AbortUpload(r.Context(), ref)
}

func (h *handler) inspectObject(r *http.Request) (any, error) {
	bucket, key, err := parseKey(r)
	if err != nil {
		return nil, err
	}
	report, err := h.service.InspectObject(r.Context(), bucket, key)
	if err != nil {
		return nil, err
	}
	report.assess()
	report.Parts = list(report.Parts)
	return report, nil
}

// list makes an absent list an empty one: [] in JSON, not null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
