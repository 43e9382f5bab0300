package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"partstore/internal/layout"
)

// tlsName is the one name in every certificate. It says nothing about the node,
// because the first message of a handshake shows it to whoever listens.
const tlsName = "peer.partstore"

// issuer makes this node's certificates and judges those of others.
//
// There are no files: the key that signs certificates is derived from the
// cluster secret, so every node has it, and each signs for itself. A certificate
// proves that its maker knows the secret, and names node and cluster. Its own
// key is made at the start of the process and never leaves it.
type issuer struct {
	self     layout.NodeID
	signer   *x509.Certificate
	signKey  ed25519.PrivateKey
	accepted *x509.CertPool
	key      ed25519.PrivateKey

	mu      sync.Mutex
	cluster layout.ClusterID // that current names
	current *tls.Certificate // nil before the first
}

func newIssuer(self layout.NodeID, secret string) (*issuer, error) {
	seed, err := hkdf.Key(sha256.New, []byte(secret), nil, "partstore peer certificates 1", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	i := &issuer{self: self, signKey: ed25519.NewKeyFromSeed(seed), accepted: x509.NewCertPool()}
	template := validAlways(pkix.Name{CommonName: "partstore cluster secret"})
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	if i.signer, err = sign(template, template, i.signKey.Public(), i.signKey); err != nil {
		return nil, err
	}
	i.accepted.AddCert(i.signer)
	_, i.key, err = ed25519.GenerateKey(rand.Reader)
	return i, err
}

// validAlways begins a certificate that no clock can make invalid. Whoever can
// take a node's key can take the secret beside it, so an end would protect
// nothing; and a node whose clock is wrong must not lose its cluster.
func validAlways(subject pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		Subject:   subject,
		NotBefore: time.Unix(0, 0),
		NotAfter:  time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // "no end", RFC 5280 4.1.2.5
	}
}

func sign(template, parent *x509.Certificate, key any, signKey ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// certificate is this node's, as a member of cluster.
func (i *issuer) certificate(cluster layout.ClusterID) (tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current != nil && i.cluster == cluster {
		return *i.current, nil
	}
	template := validAlways(pkix.Name{CommonName: i.self.String(), Organization: []string{cluster.String()}})
	template.DNSNames = []string{tlsName}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf, err := sign(template, i.signer, i.key.Public(), i.signKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	i.cluster = cluster
	i.current = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: i.key, Leaf: leaf}
	return *i.current, nil
}

// config is for one end of a connection of this node as a member of cluster.
// The standard library checks who signed; check looks at the names.
func (i *issuer) config(cluster layout.ClusterID, check func(node layout.NodeID, cluster layout.ClusterID) error) (*tls.Config, error) {
	cert, err := i.certificate(cluster)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      i.accepted, ServerName: tlsName,
		ClientCAs: i.accepted, ClientAuth: tls.RequireAndVerifyClientCert,
		// Every connection proves both ends anew; connections are few and long.
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			node, cluster, err := names(state)
			if err != nil {
				return err
			}
			return check(node, cluster)
		},
	}, nil
}

// names are the node and the cluster in the certificate of the other end.
func names(state tls.ConnectionState) (node layout.NodeID, cluster layout.ClusterID, err error) {
	subject := state.PeerCertificates[0].Subject
	if node, err = layout.ParseNodeID(subject.CommonName); err == nil {
		cluster, err = layout.ParseClusterID(strings.Join(subject.Organization, ","))
	}
	if err != nil {
		err = fmt.Errorf("%w: names in certificate: %w", ErrUnauthorized, err)
	}
	return node, cluster, err
}

// server is the configuration of the asked end.
func (i *issuer) server(cluster func() layout.ClusterID) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			own := cluster()
			return i.config(own, func(_ layout.NodeID, asker layout.ClusterID) error { return mayAsk(asker, own) })
		},
	}
}

// certified returns nil if the certificate of the connection says the same.
func (c credentials) certified(state tls.ConnectionState) error {
	node, cluster, err := names(state)
	switch {
	case err != nil:
		return err
	case node != c.from:
		return fmt.Errorf("%w: node %s asks with the certificate of node %s", ErrUnauthorized, c.from, node)
	case cluster != c.cluster:
		return fmt.Errorf("%w: a node of cluster %s asks with a certificate of cluster %s", ErrWrongCluster, c.cluster, cluster)
	}
	return nil
}

// poolName stands for an address in URLs, by which the transport keeps its idle
// connections. It names both ends too, so that no request takes a connection
// that was opened to another node at the same address, or before this node had
// its cluster.
func poolName(to target, own layout.ClusterID) string {
	host, port, err := net.SplitHostPort(to.addr)
	if err != nil {
		return to.addr // dialPooled says what is wrong with it
	}
	return net.JoinHostPort(to.node.String()+"."+own.String()+"."+host, port)
}

func parsePoolName(name string) (to target, own layout.ClusterID, err error) {
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		return to, own, err
	}
	node, host, _ := strings.Cut(host, ".")
	cluster, host, _ := strings.Cut(host, ".")
	if to.node, err = layout.ParseNodeID(node); err == nil {
		own, err = layout.ParseClusterID(cluster)
	}
	to.addr = net.JoinHostPort(host, port)
	return to, own, err
}

// dialPooled opens a connection between the ends that a poolName names.
func (c *Client) dialPooled(ctx context.Context, network, name string) (net.Conn, error) {
	to, own, err := parsePoolName(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	conn, err := c.cfg.Dial(ctx, network, to.addr)
	if err != nil {
		return nil, err
	}
	secured, err := c.certs.secure(ctx, conn, own, to.node)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// secure makes conn a TLS connection to the node it was opened for, or returns
// what is wrong as an error of this package.
func (i *issuer) secure(ctx context.Context, conn net.Conn, own layout.ClusterID, want layout.NodeID) (*tls.Conn, error) {
	config, err := i.config(own, func(node layout.NodeID, asked layout.ClusterID) error {
		if !want.IsZero() && node != want {
			return fmt.Errorf("%w: node %s has a certificate there", ErrWrongNode, node)
		}
		return mayAsk(own, asked)
	})
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, explainHandshake(err)
	}
	return secured, nil
}

func explainHandshake(err error) error {
	var refused *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &refused):
		return &reported{text: "the node's certificate does not come from our cluster secret: " + err.Error(), err: ErrUnauthorized}
	case errors.As(err, &plain):
		return &reported{text: "the node does not speak TLS; is peer_tls the same on both?", err: ErrUnreachable}
	}
	for _, own := range []error{ErrWrongNode, ErrWrongCluster, ErrUnauthorized} {
		if errors.Is(err, own) {
			return &reported{text: err.Error(), err: own}
		}
	}
	return err
}
