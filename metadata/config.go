package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"partstore/internal/layout"
)

// Peers is how this node's registry calls another node's. Requests and answers
// are opaque, versioned and bounded by MaxMessageSize; the other end passes
// them to the Handle method of the same name.
type Peers interface {
	Propose(ctx context.Context, to layout.NodeID, request []byte) ([]byte, error)
	ReadIndex(ctx context.Context, to layout.NodeID, request []byte) ([]byte, error)
	Term(ctx context.Context, to layout.NodeID, request []byte) ([]byte, error)
}

// StreamLayer carries Raft's own connections. Close makes Accept return.
type StreamLayer interface {
	Accept() (net.Conn, error)
	Close() error
	Addr() net.Addr
	Dial(node layout.NodeID, timeout time.Duration) (net.Conn, error)
}

// MaxMessageSize bounds a request or an answer of Peers, in bytes.
const MaxMessageSize = 8 << 20

// Config says how to run one node's registry. The zero value of every optional
// field is a working default; required fields are marked.
type Config struct {
	// Dir holds the log, the snapshots and the state. Required; made if absent.
	Dir string

	// Node names this node; its hex form is Raft's server ID and address.
	// Required.
	Node layout.NodeID

	// Generation counts the copies of the registry the node has had. A copy
	// that was lost or given up must never be followed by one of the same
	// generation. Default 1.
	Generation Generation

	// Existing says that Dir was formatted before: if its registry is gone,
	// that is ErrLost, and no empty one takes its place.
	Existing bool

	// Cluster is carried by every message between nodes; a message of another
	// cluster is refused. Required.
	Cluster layout.ClusterID

	// Peers and Raft reach the other nodes. Required. Close closes Raft.
	Peers Peers
	Raft  StreamLayer

	// Timeout bounds how long one operation waits for an answer through
	// elections. Default 5s.
	Timeout time.Duration

	// HeartbeatTimeout is how long a follower waits for its leader before it
	// stands for election, and an election's own patience. Default 400ms.
	HeartbeatTimeout time.Duration

	// LeaseTimeout is how long a leader goes without a majority before it steps
	// down; at most HeartbeatTimeout. Default two thirds of it.
	LeaseTimeout time.Duration

	// CommitTimeout is how late an idle follower learns of a commit, and so
	// what its first read after a write costs. Default 5ms.
	CommitTimeout time.Duration

	// SnapshotEntries is how many log entries make a snapshot worth while, and
	// SnapshotInterval how often that is looked at. A restart reads the entries
	// behind the last snapshot. Defaults 8192, 5s.
	SnapshotEntries  uint64
	SnapshotInterval time.Duration

	// TrailingEntries stay in the log behind a snapshot, so that a follower
	// that was away for a moment needs no snapshot, and a node whose newest
	// snapshot is damaged can start from the one before. Default 10240.
	TrailingEntries uint64

	// TickInterval is how often an idle leader records that time has passed.
	// Default 10s.
	TickInterval time.Duration

	// MembersInterval is how often the leader looks for a member to promote.
	// Default 1s.
	MembersInterval time.Duration

	// LowSpace is how much room in Dir counts as low, in bytes: space.go says
	// what follows. Default: a twentieth of the file system, 256 MiB at most.
	// SpaceInterval is how often the room is looked at. Default 1s.
	LowSpace      uint64
	SpaceInterval time.Duration

	// DigestInterval is how often all copies of the registry are compared.
	// Default 10m.
	DigestInterval time.Duration

	// Logger receives all logs of the registry and of Raft. Default: discard.
	Logger *slog.Logger

	// elapsed is the monotonic clock behind registry time; tests replace it.
	elapsed func() time.Duration

	// disk is where the files are; tests replace it.
	disk *disk

	// onStep is called before each step of a change of membership; tests make
	// the leader fail there.
	onStep func(memberChange, layout.NodeID)
}

// owner is whose registry is meant.
func (c Config) owner() owner {
	return owner{c.Cluster, server{c.Node, max(1, c.Generation)}}
}

func (c Config) withDefaults() Config {
	span := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	count := func(n *uint64, v uint64) {
		if *n == 0 {
			*n = v
		}
	}
	span(&c.Timeout, 5*time.Second)
	span(&c.HeartbeatTimeout, 400*time.Millisecond)
	span(&c.LeaseTimeout, c.HeartbeatTimeout*2/3)
	span(&c.CommitTimeout, 5*time.Millisecond)
	span(&c.SnapshotInterval, 5*time.Second)
	span(&c.TickInterval, 10*time.Second)
	span(&c.MembersInterval, time.Second)
	span(&c.DigestInterval, 10*time.Minute)
	span(&c.SpaceInterval, time.Second)
	c.Generation = max(1, c.Generation)
	count(&c.SnapshotEntries, 8192)
	count(&c.TrailingEntries, 10240)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.disk == nil {
		c.disk = realDisk()
	}
	if c.elapsed == nil {
		start := time.Now()
		c.elapsed = func() time.Duration { return time.Since(start) }
	}
	return c
}

// validate reports everything wrong with c at once.
func (c Config) validate() error {
	var errs []error
	need := func(name string, ok bool) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is required", name))
		}
	}
	need("Dir", c.Dir != "")
	need("Node", !c.Node.IsZero())
	need("Cluster", !c.Cluster.IsZero())
	need("Peers", c.Peers != nil)
	need("Raft", c.Raft != nil)
	if c.LeaseTimeout > c.HeartbeatTimeout {
		errs = append(errs, fmt.Errorf("LeaseTimeout %s is longer than HeartbeatTimeout %s", c.LeaseTimeout, c.HeartbeatTimeout))
	}
	return errors.Join(errs...)
}
