package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"partstore/internal/layout"
)

// ClientConfig says how to reach other nodes. The zero value of every optional
// field is a working default; required fields are marked.
type ClientConfig struct {
	// Self is the asking node. Required.
	Self layout.NodeID

	// Cluster is the cluster Self belongs to now; zero while it has none.
	// Required; called for every request.
	Cluster func() layout.ClusterID

	// Secret is the cluster secret. Required.
	Secret string

	// TLS is as in ServerConfig.
	TLS bool

	// Resolve finds the address a node is believed to have now. Required.
	Resolve func(layout.NodeID) (hostport string, ok bool)

	// Dial opens connections. Default: a net.Dialer that notices dead hosts.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Timeout bounds one small request, and every wait for progress in a chunk
	// stream. Default 5s.
	Timeout time.Duration

	// Logger receives all logs of the client. Default: discard.
	Logger *slog.Logger
}

func (c ClientConfig) withDefaults() ClientConfig {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Dial == nil {
		dialer := &net.Dialer{
			Timeout: c.Timeout,
			// A host that lost power never says goodbye; find out before its
			// idle connections are handed to requests.
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3},
		}
		c.Dial = dialer.DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c ClientConfig) validate() error {
	var errs []error
	if c.Self.IsZero() {
		errs = append(errs, errors.New("field Self is required"))
	}
	if c.Cluster == nil || c.Resolve == nil {
		errs = append(errs, errors.New("fields Cluster and Resolve are required"))
	}
	if c.Secret == "" {
		errs = append(errs, errors.New("field Secret is required"))
	}
	return errors.Join(errs...)
}

// Client talks to other nodes. All methods may be called concurrently.
type Client struct {
	cfg       ClientConfig
	log       *slog.Logger
	token     string
	certs     *issuer // nil: plain
	transport *http.Transport
	pool      connPool
}

// NewClient returns a Client; Close releases its idle connections.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("peer client config: %w", err)
	}
	token, err := deriveToken(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("peer client: %w", err)
	}
	c := &Client{
		cfg: cfg, log: cfg.Logger.With("component", "peer"), token: token,
		transport: &http.Transport{
			DialContext:         cfg.Dial,
			DisableCompression:  true,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     idleTimeout / 2, // gone before the server hangs up
		},
	}
	if cfg.TLS {
		if c.certs, err = newIssuer(cfg.Self, cfg.Secret); err != nil {
			return nil, fmt.Errorf("peer client: %w", err)
		}
		c.transport.DialTLSContext = c.dialPooled
	}
	return c, nil
}

// Close releases idle connections. Requests under way go on.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	c.pool.close()
	return nil
}

// target is where a request goes.
type target struct {
	node layout.NodeID // zero if only the address is known
	addr string
}

func (c *Client) resolve(node layout.NodeID) (target, error) {
	addr, ok := c.cfg.Resolve(node)
	if !ok {
		return target{}, fmt.Errorf("%w: no address of node %s", ErrUnreachable, node)
	}
	return target{node: node, addr: addr}, nil
}

// Call asks a service of a node and returns its answer. The error of its
// Handler is a *RemoteError. After ErrUnreachable the request may or may not
// have been carried out; it may also have been carried out twice, so services
// must not mind that.
func (c *Client) Call(ctx context.Context, node layout.NodeID, service string, request []byte) ([]byte, error) {
	to, err := c.resolve(node)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", service, err)
	}
	return c.call(ctx, to, service, request)
}

// CallAddr is Call of whatever node lives at an address.
func (c *Client) CallAddr(ctx context.Context, hostport, service string, request []byte) ([]byte, error) {
	return c.call(ctx, target{addr: hostport}, service, request)
}

func (c *Client) call(ctx context.Context, to target, service string, request []byte) ([]byte, error) {
	if len(request) > MaxCallSize {
		return nil, fmt.Errorf("call %s: request of %d bytes: %w", service, len(request), ErrTooLarge)
	}
	answer, err := c.ask(ctx, to, http.MethodPost, callPath+url.PathEscape(service), request)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", service, to.addr, err)
	}
	return answer, nil
}

// ask makes one small request within Timeout.
func (c *Client) ask(ctx context.Context, to target, method, path string, body []byte) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := c.request(bounded, to, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// A connection that turns out to be dead before anything came back is
	// replaced and the request sent again. The key itself need not travel.
	req.Header["Idempotency-Key"] = nil
	resp, err := c.roundTrip(ctx, to, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxCallSize+1))
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if len(answer) > MaxCallSize {
		return nil, fmt.Errorf("answer: %w", ErrTooLarge)
	}
	return answer, nil
}

func (c *Client) request(ctx context.Context, to target, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+to.addr+path, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	own := c.cfg.Cluster()
	if c.certs != nil {
		req.URL.Scheme, req.URL.Host = "https", poolName(to, own)
	}
	cred := credentials{cluster: own, from: c.cfg.Self, to: to.node, token: c.token}
	req.Header["Authorization"] = []string{cred.header()}
	req.Header["User-Agent"] = nil
	return req, nil
}

// roundTrip sends a request and returns a good answer, whose body is the
// caller's to close. ctx is the caller's, without bounds of our own.
func (c *Client) roundTrip(ctx context.Context, to target, req *http.Request) (*http.Response, error) {
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if err := checkAnswer(to, resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// lost is the error of an exchange that broke off. It keeps only the words of
// err, a deadline of our own must not look like one of the caller's, unless
// the peer has reported what is wrong.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if said := (*reported)(nil); errors.As(err, &said) {
		return said
	}
	c.log.DebugContext(ctx, "peer exchange broke off", "err", err)
	return fmt.Errorf("%w: %s", ErrUnreachable, err.Error())
}

// checkAnswer turns an answer that is an error into one. Whoever does not
// speak the protocol, or is not the node that was meant, has told us nothing.
func checkAnswer(to target, resp *http.Response) error {
	node := resp.Header.Get(headerNode)
	if node == "" {
		hint := ""
		if resp.StatusCode == http.StatusBadRequest && resp.TLS == nil {
			hint = "; is peer_tls the same on both nodes?"
		}
		return fmt.Errorf("%w: no node answers there (status %d)%s", ErrUnreachable, resp.StatusCode, hint)
	}
	code, remote := resp.Header.Get(headerError), resp.Header.Get(headerRemoteError)
	if !to.node.IsZero() && node != to.node.String() && code != "wrong_node" {
		return fmt.Errorf("%w: node %s answered", ErrWrongNode, node)
	}
	if code == "" && remote == "" {
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusSwitchingProtocols {
			return nil
		}
		return fmt.Errorf("%w: status %d", ErrUnreachable, resp.StatusCode)
	}
	// The whole text is read, so that the connection can be used again.
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorText+1))
	if err != nil {
		text = nil
	}
	if remote != "" {
		return &RemoteError{Code: remote, Text: string(text)}
	}
	return errorOf(code, string(text))
}
