package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"partstore/internal/layout"
	"partstore/node/cluster"
)

// Config says how to run one node. The zero value of every optional field is a
// working default; required fields are marked.
type Config struct {
	// DataDir holds the node's identity, its registry copy and a store.
	// Required; made if absent.
	DataDir string

	// StoreDirs are directories of further stores, each on a drive of its own,
	// besides the one in DataDir. They must exist; an empty one gets a store. At
	// most cluster.MaxStores - 1.
	StoreDirs []string

	// Name is the operator's name for the node, unique in the cluster. It is
	// recorded in DataDir and must not change. Required.
	Name string

	// Zone is the node's failure domain. Default "default".
	Zone string

	// ClientListen, PeerListen, GossipListen and AdminListen are host:port
	// addresses to listen on. Port 0 picks a free port. Defaults: ":7070",
	// ":7071", ":7072", "127.0.0.1:7073".
	ClientListen, PeerListen, GossipListen, AdminListen string

	// PeerTLS says whether nodes talk to each other by mutual TLS: "on", "off"
	// or "auto", which is on unless PeerListen is a loopback address. It must
	// come to the same on every node. Default "auto".
	PeerTLS string

	// Advertise is the host name or IP address under which peers reach this
	// node. Default: the address of PeerListen if it names one, else the
	// address of the interface that leads to the first seed.
	Advertise string

	// Seeds are gossip addresses, host:port, of nodes to join. A node's own
	// address among them is harmless.
	Seeds []string

	// BootstrapExpect is the number of nodes that form a new cluster together.
	// It has no effect on a node that already belongs to a cluster. It must be
	// more than half of the nodes that may start at that time. Default 1.
	BootstrapExpect int

	// Scheme for new parts of a new cluster. Default 4+2.
	Scheme layout.Scheme

	// AccessKeyID and SecretAccessKey are the root credential of the client
	// API. Required; there is no default.
	AccessKeyID, SecretAccessKey string

	// SealingKeys seal the secrets of all other access keys: base64 of 32
	// bytes each, separated by commas or white space, the same on every node.
	// The first seals, all open. Without one there is only the root credential.
	SealingKeys string

	// ClusterSecret authenticates nodes to each other and encrypts gossip; at
	// least 16 bytes, the same on every node. Required.
	ClusterSecret string

	// AdminToken is the bearer token of the admin API. Required unless
	// AdminListen is a loopback address.
	AdminToken string

	// BaseDomains are the domains clients address, such as "qs.example.com";
	// a host name below one names a bucket or zone. QingStorZone is the zone ID
	// shown to clients, default "pek3a".
	BaseDomains  []string
	QingStorZone string

	// FetchHosts are the servers that clients may have objects fetched from:
	// host, or host:port for other than the usual port. Addresses that are not
	// public are never asked. Default: none.
	FetchHosts []string

	// RegistryTimeout bounds how long a request waits for the registry through
	// an election before it is answered 503. Default 5s.
	RegistryTimeout time.Duration

	// ElectionTimeout is how long the registry goes without its leader before
	// it elects another. Shorter makes a shorter pause when a leader dies;
	// too short makes a busy machine elect for nothing. Default 400ms.
	ElectionTimeout time.Duration

	// SnapshotEntries is how many log entries make a snapshot of the registry
	// worth while; a few more stay in the log behind it. A node that missed more is
	// brought up by a snapshot. Default 8192.
	SnapshotEntries int

	// GCGrace is how long the chunks of deleted, replaced and aborted uploads
	// wait before they are freed, in registry time: a reader that takes longer
	// may be cut off. Default 10m.
	GCGrace time.Duration

	// GCInterval is the pause between two looks at what is to be freed. Default
	// 10s.
	GCInterval time.Duration

	// OrphanInterval is the pause between two passes over each of the node's stores that
	// look for chunks no record names. Default 1h.
	OrphanInterval time.Duration

	// PayloadMemory bounds the payload this node holds in memory for its own
	// clients, in MiB. A request that finds no room for two seconds is answered
	// 503. Default 128.
	PayloadMemory int

	// HealInterval is the pause between two passes over the part records that
	// look for chunks missing on the node's stores. Default 10m.
	HealInterval time.Duration

	// HealBandwidth is how many bytes a second the node moves to rebuild
	// chunks, what it reads for that included. Default 64 MiB.
	HealBandwidth int

	// OutGrace is how long a node does not answer the leader of the registry
	// before its stores are out and their slots go to others. Default 10m.
	OutGrace time.Duration

	// Rebalance is whether stores with fewer slots than others are filled up:
	// "on" or "off". Default "on".
	Rebalance string

	// ScrubPeriod is how long the node takes to read a whole store once and
	// verify every byte. Default 7 days.
	ScrubPeriod time.Duration

	// StallTimeout is how long a client may send nothing of a body it announced,
	// or take nothing of an answer, before its connection is cut. A client that
	// is merely slow never is. Default 1m.
	StallTimeout time.Duration

	// DrainTimeout bounds how long Run waits for requests in flight after its
	// context ended. Default 20s.
	DrainTimeout time.Duration

	// DialPeer and GossipReachable are how the node reaches others, by peer
	// protocol and by gossip. Tests cut the network with them. Default: the
	// real network.
	DialPeer        func(ctx context.Context, network, addr string) (net.Conn, error)
	GossipReachable func(addr string) bool

	// Logger receives all logs of the node. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&c.Zone, "default")
	def(&c.ClientListen, ":7070")
	def(&c.PeerListen, ":7071")
	def(&c.GossipListen, ":7072")
	def(&c.AdminListen, "127.0.0.1:7073")
	def(&c.PeerTLS, "auto")
	def(&c.Rebalance, "on")
	def(&c.QingStorZone, "pek3a")
	if c.BootstrapExpect == 0 {
		c.BootstrapExpect = 1
	}
	if c.Scheme == (layout.Scheme{}) {
		c.Scheme = layout.Scheme{Data: 4, Parity: 2}
	}
	if c.RegistryTimeout == 0 {
		c.RegistryTimeout = 5 * time.Second
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = 8192
	}
	if c.GCGrace == 0 {
		c.GCGrace = 10 * time.Minute
	}
	if c.GCInterval == 0 {
		c.GCInterval = 10 * time.Second
	}
	if c.OrphanInterval == 0 {
		c.OrphanInterval = time.Hour
	}
	if c.PayloadMemory == 0 {
		c.PayloadMemory = 128
	}
	if c.HealInterval == 0 {
		c.HealInterval = 10 * time.Minute
	}
	if c.HealBandwidth == 0 {
		c.HealBandwidth = 64 << 20
	}
	if c.OutGrace == 0 {
		c.OutGrace = 10 * time.Minute
	}
	if c.ScrubPeriod == 0 {
		c.ScrubPeriod = 7 * 24 * time.Hour
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = time.Minute
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 20 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports everything wrong with c at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	need := func(name, v string) {
		if v == "" {
			errs = append(errs, fmt.Errorf("%s is required", name))
		}
	}
	need("data directory", c.DataDir)
	if len(c.StoreDirs) >= cluster.MaxStores {
		errs = append(errs, fmt.Errorf("%d store directories; a node has %d stores at most, that in the data directory included", len(c.StoreDirs), cluster.MaxStores))
	}
	need("node name", c.Name)
	need("access key ID", c.AccessKeyID)
	need("secret access key", c.SecretAccessKey)
	if len(c.ClusterSecret) < 16 {
		errs = append(errs, fmt.Errorf("cluster secret has %d bytes; at least 16 are required", len(c.ClusterSecret)))
	}
	if err := c.Scheme.Validate(); err != nil {
		errs = append(errs, err)
	}
	if _, err := parseKeyRing(c.SealingKeys); err != nil {
		errs = append(errs, err)
	}
	if c.BootstrapExpect < 1 {
		errs = append(errs, fmt.Errorf("bootstrap-expect %d is below 1", c.BootstrapExpect))
	}
	if !slices.Contains([]string{"auto", "on", "off"}, c.PeerTLS) {
		errs = append(errs, fmt.Errorf("peer-tls %q is none of auto, on and off", c.PeerTLS))
	}
	if c.Rebalance != "on" && c.Rebalance != "off" {
		errs = append(errs, fmt.Errorf("rebalance %q is neither on nor off", c.Rebalance))
	}
	if c.AdminToken == "" && !isLoopback(c.AdminListen) {
		errs = append(errs, fmt.Errorf("admin token is required when the admin API listens on %s", c.AdminListen))
	}
	return errors.Join(errs...)
}

// peerTLS is what PeerTLS comes to.
func (c Config) peerTLS() bool {
	return c.PeerTLS == "on" || c.PeerTLS == "auto" && !isLoopback(c.PeerListen)
}
