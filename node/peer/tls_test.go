package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"partstore/internal/layout"
)

const tlsSecret = "0123456789abcdef"

var (
	tlsCluster          = layout.ClusterID{0xc1}
	tlsAsker, tlsServer = layout.NodeID{0xa1}, layout.NodeID{0xb2}
)

// startTLS serves one service, counts its calls, and returns the address.
func startTLS(t *testing.T, encrypt bool, cluster func() layout.ClusterID) (addr string, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	echo := func(_ context.Context, _ layout.NodeID, b []byte) ([]byte, error) { calls.Add(1); return b, nil }
	s, err := NewServer(ServerConfig{
		Self: tlsServer, Cluster: cluster, Secret: tlsSecret, TLS: encrypt,
		Calls: map[string]Handler{"echo": echo}, FormationCalls: map[string]Handler{"hello": echo},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String(), calls
}

func tlsClient(t *testing.T, addr string, change func(*ClientConfig)) *Client {
	t.Helper()
	cfg := ClientConfig{
		Self: tlsAsker, Cluster: inCluster, Secret: tlsSecret, TLS: true, Timeout: time.Minute,
		Resolve: func(layout.NodeID) (string, bool) { return addr, true },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func inCluster() layout.ClusterID { return tlsCluster }

func tlsIssuer(t *testing.T, node layout.NodeID, secret string) *issuer {
	t.Helper()
	i, err := newIssuer(node, secret)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// badCertificates are what neither end may accept.
func badCertificates(t *testing.T, node layout.NodeID) map[string]tls.Certificate {
	i, foreign := tlsIssuer(t, node, tlsSecret), tlsIssuer(t, node, "another secret!!")
	issue := func(by *issuer, change func(*x509.Certificate)) tls.Certificate {
		template := validAlways(pkix.Name{CommonName: node.String(), Organization: []string{tlsCluster.String()}})
		template.DNSNames = []string{tlsName}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		change(template)
		leaf, err := sign(template, by.signer, i.key.Public(), by.signKey)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: i.key}
	}
	self := validAlways(i.signer.Subject)
	self.DNSNames = []string{tlsName}
	own, err := sign(self, self, i.key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]tls.Certificate{
		"expired":         issue(i, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }),
		"of the future":   issue(i, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }),
		"other secret":    issue(foreign, func(*x509.Certificate) {}),
		"signed by self":  {Certificate: [][]byte{own.Raw}, PrivateKey: i.key},
		"other cluster":   issue(i, func(c *x509.Certificate) { c.Subject.Organization[0] = layout.ClusterID{0xee}.String() }),
		"no node":         issue(i, func(c *x509.Certificate) { c.Subject.CommonName = "" }),
		"no cluster":      issue(i, func(c *x509.Certificate) { c.Subject.Organization = nil }),
		"two clusters":    issue(i, func(c *x509.Certificate) { c.Subject.Organization = append(c.Subject.Organization, "x") }),
		"no server's use": issue(i, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }),
	}
}

// ask makes a request with a certificate and credentials of the test's choice.
func ask(t *testing.T, addr string, config *tls.Config, cred credentials) (code string, err error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+callPath+"echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	cred.token, err = deriveToken(tlsSecret)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", cred.header())
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Header.Get(headerError), nil
}

func goodConfig(t *testing.T) *tls.Config {
	t.Helper()
	config, err := tlsIssuer(t, tlsAsker, tlsSecret).config(tlsCluster, func(layout.NodeID, layout.ClusterID) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return config
}

var goodCredentials = credentials{cluster: tlsCluster, from: tlsAsker, to: tlsServer}

func TestServerRefusesBadCertificates(t *testing.T) {
	addr, calls := startTLS(t, true, inCluster)
	if code, err := ask(t, addr, goodConfig(t), goodCredentials); code != "" || err != nil {
		t.Fatalf("a good certificate = %q, %v", code, err)
	}
	refused := map[string]*tls.Config{}
	for name, cert := range badCertificates(t, tlsAsker) {
		refused[name] = goodConfig(t)
		refused[name].Certificates = []tls.Certificate{cert}
	}
	refused["none"] = goodConfig(t)
	refused["none"].Certificates = nil
	refused["TLS 1.2"] = goodConfig(t)
	refused["TLS 1.2"].MinVersion, refused["TLS 1.2"].MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, config := range refused {
		if code, err := ask(t, addr, config, goodCredentials); err == nil {
			t.Errorf("certificate %q was let in, code %q", name, code)
		}
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the service was called %d times, want once", n)
	}
}

// TestHeadersMustSayWhatTheCertificateSays plays nodes that know the secret and
// pretend to be others.
func TestHeadersMustSayWhatTheCertificateSays(t *testing.T) {
	addr, _ := startTLS(t, true, inCluster)
	cred := goodCredentials
	cred.from = layout.NodeID{9}
	if code, err := ask(t, addr, goodConfig(t), cred); code != "unauthorized" || err != nil {
		t.Errorf("another node's name = %q, %v", code, err)
	}
	unborn := goodConfig(t) // is let in to look for a cluster
	cert, err := tlsIssuer(t, tlsAsker, tlsSecret).certificate(layout.ClusterID{})
	if err != nil {
		t.Fatal(err)
	}
	unborn.Certificates = []tls.Certificate{cert}
	if code, err := ask(t, addr, unborn, goodCredentials); code != "wrong_cluster" || err != nil {
		t.Errorf("a cluster's name without its certificate = %q, %v", code, err)
	}
}

func TestClientRefusesBadCertificates(t *testing.T) {
	bad := badCertificates(t, tlsServer)
	stranger, err := tlsIssuer(t, layout.NodeID{9}, tlsSecret).certificate(tlsCluster)
	if err != nil {
		t.Fatal(err)
	}
	unborn, err := tlsIssuer(t, tlsServer, tlsSecret).certificate(layout.ClusterID{})
	if err != nil {
		t.Fatal(err)
	}
	bad["other node"], bad["node without cluster"] = stranger, unborn
	want := map[string]error{"other cluster": ErrWrongCluster, "node without cluster": ErrWrongCluster, "other node": ErrWrongNode}
	for name, cert := range bad {
		t.Run(name, func(t *testing.T) {
			ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := ln.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("the client went on: %d bytes, %v", n, err)
				}
			}()
			_, err = tlsClient(t, ln.Addr().String(), nil).Call(t.Context(), tlsServer, "echo", nil)
			sentinel := want[name]
			if sentinel == nil {
				sentinel = ErrUnauthorized
			}
			if !errors.Is(err, sentinel) {
				t.Errorf("Call = %v, want %v", err, sentinel)
			}
			<-done
			ln.Close()
		})
	}
}

func TestPlainAndTLSDoNotTalk(t *testing.T) {
	for _, serverTLS := range []bool{false, true} {
		addr, calls := startTLS(t, serverTLS, inCluster)
		c := tlsClient(t, addr, func(cfg *ClientConfig) { cfg.TLS = !serverTLS })
		_, err := c.Call(t.Context(), tlsServer, "echo", nil)
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "peer_tls") {
			t.Errorf("Call, asked node with TLS %v = %v, want %v that names peer_tls", serverTLS, err, ErrUnreachable)
		}
		if conn, err := c.DialRaft(t.Context(), tlsServer); err == nil {
			conn.Close()
			t.Errorf("DialRaft, asked node with TLS %v = nil error", serverTLS)
		}
		if n := calls.Load(); n != 0 {
			t.Errorf("%d calls got through", n)
		}
	}
}

// TestConnectionsFollowTheCluster: what was opened while node had no cluster
// cannot be used by a member, so it must not be tried.
func TestConnectionsFollowTheCluster(t *testing.T) {
	var cluster atomic.Pointer[layout.ClusterID]
	cluster.Store(&layout.ClusterID{})
	current := func() layout.ClusterID { return *cluster.Load() }
	addr, _ := startTLS(t, true, current)
	c := tlsClient(t, addr, func(cfg *ClientConfig) { cfg.Cluster = current })
	if _, err := c.Call(t.Context(), tlsServer, "hello", nil); err != nil {
		t.Fatal(err)
	}
	born := tlsCluster
	cluster.Store(&born)
	if _, err := c.Call(t.Context(), tlsServer, "echo", nil); err != nil {
		t.Error(err)
	}
}

// TestConnectionsBelongToANode: an idle connection to the node that lived at an
// address is not used for the one that is believed to live there now.
func TestConnectionsBelongToANode(t *testing.T) {
	addr, calls := startTLS(t, true, inCluster)
	dials := new(atomic.Int32)
	c := tlsClient(t, addr, func(cfg *ClientConfig) {
		dial := (&net.Dialer{}).DialContext
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, addr)
		}
	})
	for range 3 {
		if _, err := c.Call(t.Context(), tlsServer, "echo", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Call(t.Context(), layout.NodeID{9}, "echo", nil); !errors.Is(err, ErrWrongNode) {
		t.Errorf("Call = %v, want %v", err, ErrWrongNode)
	}
	if dials.Load() != 2 || calls.Load() != 3 {
		t.Errorf("%d connections and %d calls, want 2 and 3", dials.Load(), calls.Load())
	}
}

func TestPoolNames(t *testing.T) {
	for _, addr := range []string{"10.0.0.1:7071", "node1.example:7071", "[fe80::1%eth0]:7071"} {
		to, own, err := parsePoolName(poolName(target{tlsServer, addr}, tlsCluster))
		if err != nil || to != (target{tlsServer, addr}) || own != tlsCluster {
			t.Errorf("%s comes back as %v, %v, %v", addr, to, own, err)
		}
	}
	for _, name := range []string{"", "10.0.0.1:7071", "no port", tlsServer.String() + ".x.host:1"} {
		if _, _, err := parsePoolName(name); err == nil {
			t.Errorf("parsePoolName(%q) = nil error", name)
		}
	}
}
