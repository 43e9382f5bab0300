package qingstor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"partstore/metadata"
)

// What may go wrong with a source.
var (
	errUpstream        = errors.New("the source failed")
	errFetchInProcess  = errors.New("the source is being fetched")
	errFetchThrottled  = errors.New("too many fetches")
	errFetchNotAllowed = errors.New("not to be fetched from")
)

const (
	maxFetches       = 8 // at a time
	maxRedirects     = 5
	fetchDialTimeout = 10 * time.Second
	fetchStall       = time.Minute // without a byte
)

// fetcher downloads for clients. A client chooses the URL and our network
// position is not his, so it asks only servers that the operator named, and
// never an address that is not public, whatever a name or a redirect leads to:
// the address is judged when the connection is made to it, and no proxy stands
// between.
type fetcher struct {
	hosts  []string // host, or host:port for other than the usual port
	public func(netip.Addr) bool
	client *http.Client

	mu   sync.Mutex
	busy map[string]bool // sources, by URL
}

// newFetcher returns nil if no host is named: then nothing is fetched.
func newFetcher(hosts []string) *fetcher {
	if len(hosts) == 0 {
		return nil
	}
	f := &fetcher{public: isPublic, busy: map[string]bool{}}
	for _, host := range hosts {
		f.hosts = append(f.hosts, strings.ToLower(host))
	}
	dialer := &net.Dialer{Timeout: fetchDialTimeout, Control: f.judgeAddress}
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchDialTimeout, ResponseHeaderTimeout: fetchStall,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, DisableKeepAlives: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("too many redirects")
			}
			r.Header.Del("Referer")
			return f.judgeURL(r.URL)
		},
	}
	return f
}

// judgeURL refuses a host that is not named.
func (f *fetcher) judgeURL(u *url.URL) error {
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	usual := port == "" || port == map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if usual && slices.Contains(f.hosts, host) || port != "" && slices.Contains(f.hosts, net.JoinHostPort(host, port)) {
		return nil
	}
	return fmt.Errorf("%w: host %s", errFetchNotAllowed, u.Host)
}

// judgeAddress is asked about each address before a connection is made to it.
func (f *fetcher) judgeAddress(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !f.public(to.Addr()) {
		return fmt.Errorf("%w: address %s", errFetchNotAllowed, to.Addr())
	}
	return nil
}

// public6 is all of IPv6 that is assigned to the public network.
var public6 = netip.MustParsePrefix("2000::/3")

// reserved are the ranges that lead into some network that is not the public
// one, or to an IPv4 address in another form, beyond those netip knows.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"), // Teredo and others
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("3fff::/16"),
}

// isPublic reports whether an address is one of the public network.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	return a.Zone() == "" && a.IsGlobalUnicast() && !a.IsPrivate() && (a.Is4() || public6.Contains(a)) &&
		!slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

// begin counts a fetch of a source; end is called when it is over.
func (f *fetcher) begin(source string) (end func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.busy[source]:
		return nil, errFetchInProcess
	case len(f.busy) >= maxFetches:
		return nil, errFetchThrottled
	}
	f.busy[source] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.busy, source)
	}, nil
}

// fetched is the answer of a source, until Close.
type fetched struct {
	header http.Header
	size   int64

	body  io.ReadCloser
	stall *time.Timer // gives the source up
	end   func()
}

// open asks a source. The answer says how long it is, or it is none.
func (f *fetcher) open(ctx context.Context, source *url.URL) (*fetched, error) {
	if err := f.judgeURL(source); err != nil {
		return nil, refuse(errPermissionDenied, "Nothing is fetched from this host")
	}
	done, err := f.begin(source.String())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	end := func() { cancel(); done() }
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, source.String(), nil)
	if err != nil {
		end()
		return nil, err
	}
	r.Header.Set("User-Agent", "Partstore")
	answer, err := f.client.Do(r) //nolint:bodyclose // fetched.Close does
	if errors.Is(err, errFetchNotAllowed) {
		end()
		return nil, refuse(errPermissionDenied, "Nothing is fetched from where this leads")
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("%w: %w", errUpstream, err)
	}
	b := &fetched{header: answer.Header, size: answer.ContentLength, body: answer.Body, stall: time.AfterFunc(fetchStall, cancel), end: end}
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusGone:
		b.Close()
		return nil, refuse(metadata.ErrObjectNotFound, "The source does not exist")
	case answer.StatusCode != http.StatusOK, b.size < 0:
		b.Close()
		return nil, fmt.Errorf("%w: status %d, length %d", errUpstream, answer.StatusCode, b.size)
	}
	return b, nil
}

// Read implements io.Reader. Time that passes between two reads is not the
// source's.
func (b *fetched) Read(p []byte) (int, error) {
	b.stall.Reset(fetchStall)
	n, err := b.body.Read(p)
	b.stall.Stop()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errUpstream, err)
	}
	return n, err
}

func (b *fetched) Close() {
	b.stall.Stop()
	b.end()
	_ = b.body.Close() // it is read, or of no more use
}
