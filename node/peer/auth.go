package peer

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"partstore/internal/layout"
)

// authScheme names the scheme of the Authorization header, and with it the
// version of the protocol's handshake.
const authScheme = "Partstore-1"

// deriveToken turns the cluster secret into what is shown to peers, so that the
// secret itself, which also keys gossip, never travels.
func deriveToken(secret string) (string, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "partstore peer token 1", 32)
	return hex.EncodeToString(key), err
}

// credentials are what every request carries: who asks, whom it means to ask,
// the asker's cluster, and the proof that it knows the secret.
type credentials struct {
	cluster  layout.ClusterID // zero: none yet
	from, to layout.NodeID    // to is zero when the asker knows only an address
	token    string
}

func (c credentials) header() string {
	return strings.Join([]string{authScheme, c.cluster.String(), c.from.String(), c.to.String(), c.token}, " ")
}

func parseCredentials(header string) (c credentials, err error) {
	fields := strings.Split(header, " ")
	if len(fields) != 5 || fields[0] != authScheme {
		return c, fmt.Errorf("%w: want credentials of scheme %s", ErrUnauthorized, authScheme)
	}
	c.token = fields[4]
	if c.cluster, err = layout.ParseClusterID(fields[1]); err != nil {
		return c, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	if c.from, err = layout.ParseNodeID(fields[2]); err != nil {
		return c, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	if c.to, err = layout.ParseNodeID(fields[3]); err != nil {
		return c, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	return c, nil
}

// door says how much must be known before a request is let in.
type door struct {
	anyNode   bool // the asker need not know whom it reached
	formation bool // the asker may have no cluster yet
}

// admit checks the credentials of a request that arrived here.
func (s *Server) admit(r *http.Request, door door) (layout.NodeID, error) {
	c, err := parseCredentials(r.Header.Get("Authorization"))
	if err != nil {
		return layout.NodeID{}, err
	}
	if r.TLS != nil {
		if err := c.certified(*r.TLS); err != nil {
			return layout.NodeID{}, err
		}
	}
	if subtle.ConstantTimeCompare([]byte(c.token), []byte(s.token)) != 1 {
		return layout.NodeID{}, ErrUnauthorized
	}
	if c.from.IsZero() {
		return layout.NodeID{}, fmt.Errorf("%w: the asker has no node ID", ErrUnauthorized)
	}
	if c.to != s.cfg.Self && (!c.to.IsZero() || !door.anyNode) {
		return layout.NodeID{}, fmt.Errorf("%w: this is node %s, not %s", ErrWrongNode, s.cfg.Self, c.to)
	}
	own := s.cfg.Cluster()
	if c.cluster.IsZero() && !door.formation {
		return layout.NodeID{}, fmt.Errorf("%w: the asker has none yet", ErrWrongCluster)
	}
	return c.from, mayAsk(c.cluster, own)
}

// mayAsk returns nil if a node of one cluster may talk to a node of the other:
// they are the same, or the asker still looks for one.
func mayAsk(asker, asked layout.ClusterID) error {
	if asker.IsZero() || asker == asked {
		return nil
	}
	return fmt.Errorf("%w: cluster %s asks cluster %s, and zero is none", ErrWrongCluster, asker, asked)
}
