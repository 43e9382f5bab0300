package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"partstore/internal/layout"
	"partstore/node/peer"
)

// Peer is another node, and where it was seen last. It is a hint, for whoever
// looks for the others while the node does not run.
type Peer struct {
	Node layout.NodeID `json:"node"`
	Name string        `json:"name"`
	Addr string        `json:"address"` // of its peer listener
	TLS  bool          `json:"tls,omitempty"`
}

const peersFile = "peers.json"

// SavePeers keeps the peers of a node.
func SavePeers(dir string, peers []Peer) error {
	if err := writeJSON(dir, peersFile, peers); err != nil {
		return fmt.Errorf("save peers: %w", err)
	}
	return nil
}

// LoadPeers returns what SavePeers kept.
func LoadPeers(dir string) (peers []Peer, err error) {
	path := filepath.Join(dir, peersFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &peers)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return peers, nil
}

// connect makes the client that speaks for the node of the directory.
func (d *Directory) connect(secret string) (_ *peer.Client, err error) {
	if d.client != nil {
		return d.client, nil
	}
	d.client, err = peer.NewClient(peer.ClientConfig{
		Self: d.id.Node, Cluster: func() layout.ClusterID { return d.id.Cluster }, Secret: secret,
		TLS: slices.ContainsFunc(d.peers, func(p Peer) bool { return p.TLS }), // it is the same on all nodes
		Resolve: func(node layout.NodeID) (string, bool) {
			i := slices.IndexFunc(d.peers, func(p Peer) bool { return p.Node == node })
			if i < 0 {
				return "", false
			}
			return d.peers[i].Addr, true
		},
	})
	return d.client, err
}

// Silence is a node that could not be asked, and why.
type Silence struct {
	Peer
	Err error
}

// askTimeout bounds the questions to other nodes together.
const askTimeout = 15 * time.Second

// RefuseRunning returns ErrRunning if a node of the directory's cluster runs.
// Otherwise it returns those of which it could not find out.
func (d *Directory) RefuseRunning(ctx context.Context, secret string) ([]Silence, error) {
	if _, err := d.connect(secret); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var silent []Silence
	for i, err := range d.askAll(ctx, peer.ServiceTerm) {
		switch p := d.peers[i]; {
		case errors.Is(err, peer.ErrUnauthorized):
			return nil, p.asked(err)
		case errors.Is(err, peer.ErrUnreachable), errors.Is(err, peer.ErrWrongCluster), errors.Is(err, peer.ErrWrongNode), ctx.Err() != nil:
			silent = append(silent, Silence{p, err})
		default: // it answered, whatever it said
			return nil, fmt.Errorf("%w: node %s answers at %s; stop all nodes of cluster %s first", ErrRunning, p.Name, p.Addr, d.id.Cluster)
		}
	}
	return silent, nil
}

// asked says whom an error is of.
func (p Peer) asked(err error) error { return fmt.Errorf("ask node %s at %s: %w", p.Name, p.Addr, err) }

// askAll asks a service of each peer; an answer is no error.
func (d *Directory) askAll(ctx context.Context, service string) []error {
	errs := make([]error, len(d.peers))
	var wg sync.WaitGroup
	for i, p := range d.peers {
		wg.Go(func() { _, errs[i] = d.client.Call(ctx, p.Node, service, nil) })
	}
	wg.Wait()
	return errs
}

// ErrRunning reports a cluster that must not run and does.
var ErrRunning = errors.New("cluster is running")
