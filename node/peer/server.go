package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

const (
	// idleTimeout is how long a connection may rest between requests.
	idleTimeout = 2 * time.Minute
	// headerTimeout is how long the header of a request may take.
	headerTimeout = 10 * time.Second
	// stallTimeout is how long a chunk stream may make no progress before the
	// asker counts as gone. It is long because a slow client's body or download
	// sets the pace; an asker that died breaks its connection at once.
	stallTimeout = 10 * time.Minute
)

// Handler serves one service. The error it returns travels to the caller, with
// its code if it wraps a *RemoteError. It must not mind being called twice for
// one request.
type Handler func(ctx context.Context, from layout.NodeID, request []byte) ([]byte, error)

// ServerConfig says what a node offers to its peers. The zero value of every
// optional field is a working default; required fields are marked.
type ServerConfig struct {
	// Self is this node. Required.
	Self layout.NodeID

	// Cluster is the cluster Self belongs to now; zero while it has none.
	// Required; called for every request.
	Cluster func() layout.ClusterID

	// Secret is the cluster secret. Required.
	Secret string

	// TLS encrypts every connection and demands that both ends prove by
	// certificate which node of which cluster they are. The same on every node.
	TLS bool

	// Stores finds the stores of this node. Default: it has none.
	Stores func(layout.StoreID) (chunkstore.Store, bool)

	// Calls are the services for nodes of the same cluster, by name.
	Calls map[string]Handler

	// FormationCalls are further services, for nodes of the same cluster and
	// for those that have none yet.
	FormationCalls map[string]Handler

	// Logger receives all logs of the server. Default: discard.
	Logger *slog.Logger
}

func (c ServerConfig) withDefaults() ServerConfig {
	if c.Stores == nil {
		c.Stores = func(layout.StoreID) (chunkstore.Store, bool) { return nil, false }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c ServerConfig) validate() error {
	var errs []error
	if c.Self.IsZero() {
		errs = append(errs, errors.New("field Self is required"))
	}
	if c.Cluster == nil {
		errs = append(errs, errors.New("field Cluster is required"))
	}
	if c.Secret == "" {
		errs = append(errs, errors.New("field Secret is required"))
	}
	return errors.Join(errs...)
}

// Server answers other nodes: chunks, calls and Raft on one listener.
type Server struct {
	cfg   ServerConfig
	log   *slog.Logger
	token string
	tls   *tls.Config // nil: plain
	http  *http.Server
	raft  *raftListener

	chunks *chunkConns
}

// NewServer returns a Server that does not listen yet.
func NewServer(cfg ServerConfig) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("peer server config: %w", err)
	}
	token, err := deriveToken(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("peer server: %w", err)
	}
	log := cfg.Logger.With("component", "peer")
	s := &Server{cfg: cfg, log: log, token: token, raft: newRaftListener(cfg.Self), chunks: newChunkConns()}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if cfg.TLS {
		certs, err := newIssuer(cfg.Self, cfg.Secret)
		if err != nil {
			return nil, fmt.Errorf("peer server: %w", err)
		}
		s.tls = certs.server(cfg.Cluster)
	}
	return s, nil
}

// Serve answers what comes in on ln until Shutdown or Close, then returns nil.
func (s *Server) Serve(ln net.Listener) error {
	if s.tls != nil {
		ln = tls.NewListener(ln, s.tls)
	}
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve peers: %w", err)
	}
	return nil
}

// Shutdown stops listening and waits for requests in flight until ctx ends.
// Raft connections stay open; they belong to those who accepted them.
func (s *Server) Shutdown(ctx context.Context) error {
	return errors.Join(s.raft.Close(), s.http.Shutdown(ctx), s.chunks.shutdown(ctx))
}

// Close drops everything at once, Raft connections included.
func (s *Server) Close() error {
	s.chunks.end(true)
	return errors.Join(s.raft.Close(), s.http.Close(), s.raft.dropAll())
}

// RaftListener accepts the connections that peers open with Client.DialRaft.
func (s *Server) RaftListener() net.Listener { return s.raft }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	chunk := chunkPath + "{store}/{chunk}"
	mux.HandleFunc("GET "+streamPath, s.handle(door{}, s.upgradeStream))
	mux.HandleFunc("DELETE "+chunk, s.handle(door{}, s.deleteChunk))
	mux.HandleFunc("GET "+statPath+"{store}/{chunk}", s.handle(door{}, s.statChunk))
	mux.HandleFunc("GET "+listPath+"{store}", s.handle(door{}, s.listChunks))
	mux.HandleFunc("GET "+raftPath, s.handle(door{}, s.upgradeRaft))
	mux.HandleFunc("POST "+callPath+"{service}", s.serveCall)
	return mux
}

// handler answers one admitted request, or returns an error while nothing has
// been answered.
type handler func(w http.ResponseWriter, r *http.Request, from layout.NodeID) error

// handle lets in who may enter and turns the handler's error into an answer.
func (s *Server) handle(door door, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()[headerNode] = []string{s.cfg.Self.String()}
		from, err := s.admit(r, door)
		if err == nil {
			err = h(w, r, from)
		}
		if err != nil {
			s.answerError(w, r, err)
		}
	}
}

func (s *Server) answerError(w http.ResponseWriter, r *http.Request, err error) {
	code, status := codeOf(err)
	header := headerError
	if remote := (*RemoteError)(nil); errors.As(err, &remote) {
		code, status, header = remote.Code, http.StatusInternalServerError, headerRemoteError
		err = errors.New(remote.Text)
	}
	s.log.DebugContext(r.Context(), "refused peer request", "method", r.Method, "path", r.URL.Path, "code", code, "err", err)
	text := err.Error()
	w.Header().Set(header, code)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text[:min(len(text), maxErrorText)]) // the asker may have gone
}
