// Package cluster says who seems to be alive. It wraps memberlist: every node
// announces itself to the others by gossip and learns, within a second or two,
// who joined, left or stopped answering. All of that is a hint: it decides whom
// to try first, never voters, placement records or data.
package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"partstore/internal/layout"
)

// Config says how to take part in gossip.
type Config struct {
	// Self is what the node announces first; Update changes it. ID, Name and
	// Host are required.
	Self Member

	// Listen is the host:port for gossip, over UDP and TCP. Port 0 picks one.
	Listen string

	// Seeds are host:port addresses of members to join, again and again: a
	// seed may start later or come back at another address.
	Seeds []string

	// Secret is shared by all nodes; gossip is encrypted with a key made of it.
	Secret string

	// Reachable, if set, says whether a gossip address can be reached. Tests
	// cut the network with it. Default: everything can.
	Reachable func(addr string) bool

	// Logger receives the logs of memberlist. Default: discard.
	Logger *slog.Logger

	rejoin time.Duration // default rejoinInterval
}

// Cluster is one node's part in gossip.
type Cluster struct {
	seeds   []string
	id      layout.NodeID
	rejoin  time.Duration
	port    int
	log     *slog.Logger
	list    *memberlist.Memberlist
	changed chan struct{}

	ending sync.Mutex // serialises Leave and Shutdown: Leave after Shutdown panics
	left   bool
	closed bool

	mu      sync.Mutex
	self    Member
	members map[layout.NodeID]Member // alive, self included
	gone    map[layout.NodeID]goneMember
	addrs   map[layout.NodeID]string // their gossip addresses
}

// A node that crashed and came back at another address is accepted by the
// others only through a Join after they gave up the old address. So the first
// rounds join every seed again; later ones only seeds no member answers for.
const (
	rejoinInterval = 2 * time.Second
	eagerRounds    = 8
)

// Open starts to listen and to announce the node. The caller must Run it.
func Open(cfg Config) (*Cluster, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.rejoin == 0 {
		cfg.rejoin = rejoinInterval
	}
	if _, err := cfg.Self.encode(); err != nil {
		return nil, err
	}
	c := &Cluster{
		seeds:   cfg.Seeds,
		id:      cfg.Self.ID,
		rejoin:  cfg.rejoin,
		log:     cfg.Logger,
		changed: make(chan struct{}, 1),
		self:    cfg.Self,
		members: map[layout.NodeID]Member{cfg.Self.ID: cfg.Self},
		gone:    make(map[layout.NodeID]goneMember),
		addrs:   make(map[layout.NodeID]string),
	}
	mc, err := c.memberlistConfig(cfg)
	if err != nil {
		return nil, err
	}
	if c.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("start gossip on %s: %w", cfg.Listen, err)
	}
	return c, nil
}

func (c *Cluster) memberlistConfig(cfg Config) (*memberlist.Config, error) {
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	advertise, err := resolve(cfg.Self.Host)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256([]byte("partstore gossip\x00" + cfg.Secret))
	mc := memberlist.DefaultLANConfig()
	mc.Name = cfg.Self.ID.String()
	mc.Label = "partstore"
	mc.SecretKey = key[:]
	mc.BindAddr, mc.BindPort = host, port
	mc.AdvertiseAddr, mc.AdvertisePort = advertise, port
	mc.Logger = slog.NewLogLogger(levelByPrefix{c.log.Handler()}, slog.LevelInfo)
	mc.Delegate, mc.Events, mc.Conflict = announcer{c}, listener{c}, listener{c}
	// A crash is seen in about 1.5 s, at 0.3 % of a core; much tighter timings
	// flap on a busy machine.
	mc.ProbeInterval, mc.ProbeTimeout = 250*time.Millisecond, 100*time.Millisecond
	mc.SuspicionMult, mc.GossipInterval = 3, 50*time.Millisecond
	mc.PushPullInterval = 5 * time.Second
	mc.TCPTimeout = 2 * time.Second
	// Without this a node that crashed and returns at another address is never
	// accepted again, while its Join reports success.
	mc.DeadNodeReclaimTime = 500 * time.Millisecond

	transport, err := newTransport(host, port, mc.Logger, cfg.Reachable)
	if err != nil {
		return nil, fmt.Errorf("listen for gossip on %s: %w", cfg.Listen, err)
	}
	mc.Transport = transport
	c.port = transport.GetAutoBindPort()
	mc.BindPort, mc.AdvertisePort = c.port, c.port
	c.addrs[c.id] = net.JoinHostPort(advertise, strconv.Itoa(c.port))
	return mc, nil
}

// Port is the port gossip is bound to.
func (c *Cluster) Port() int { return c.port }

// Run keeps the node joined to its seeds until ctx ends, then says goodbye.
func (c *Cluster) Run(ctx context.Context) error {
	tick := time.NewTicker(c.rejoin)
	defer tick.Stop()
	for round := 0; ; round++ {
		err := c.join(round < eagerRounds)
		if round == eagerRounds && err != nil && len(c.Members()) == 1 {
			c.log.Warn("no seed lets this node in; can they be reached, and is cluster_secret the same on all nodes?", "seeds", c.seeds, "err", err)
		}
		select {
		case <-ctx.Done():
			c.Leave()
			return nil
		case <-tick.C:
		}
	}
}

// join contacts all seeds, or those that no live member answers for. The error
// is that none of them let it in.
func (c *Cluster) join(all bool) error {
	c.ending.Lock()
	ended := c.left || c.closed
	c.ending.Unlock()
	if ended {
		return nil
	}
	known := make(map[string]bool)
	if !all {
		c.mu.Lock()
		for _, addr := range c.addrs {
			known[addr] = true
		}
		c.mu.Unlock()
	}
	var missing []string
	for _, seed := range c.seeds {
		if addr, err := net.ResolveUDPAddr("udp", seed); err == nil && !known[addr.String()] {
			missing = append(missing, addr.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	n, err := c.list.Join(missing)
	if n > 0 {
		return nil
	}
	return err
}

// Leave says goodbye, so that the others need not find out that the node is
// gone. It may be called twice and after Close.
func (c *Cluster) Leave() {
	c.ending.Lock()
	defer c.ending.Unlock()
	if c.closed || c.left {
		return
	}
	c.left = true
	if err := c.list.Leave(time.Second); err != nil {
		c.log.Warn("leave gossip", "err", err)
	}
}

// Close stops gossip at once, without a goodbye. It may be called twice, and
// during Run.
func (c *Cluster) Close() error {
	c.ending.Lock()
	defer c.ending.Unlock()
	c.closed = true
	return c.list.Shutdown()
}

// Members returns the members that seem alive, self included, by ID.
func (c *Cluster) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.members), func(a, b Member) int {
		return strings.Compare(string(a.ID[:]), string(b.ID[:]))
	})
}

// Member returns the member with the given ID if it seems alive.
func (c *Cluster) Member(id layout.NodeID) (Member, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.members[id]
	return m, ok
}

// lateNews is for how long a member that does not seem alive may be so all the
// same: gossip was wrong about it, or has not told yet that it is back.
const lateNews = 30 * time.Second

// goneMember is a member as it was before it seemed to be gone.
type goneMember struct {
	Member
	since time.Time
}

// LastSeen returns the member with the given ID if it seems alive, or did until
// a while ago. Whoever can do without a node asks Member; whoever needs that very
// one asks it where it was last, for that it is gone is only a hint.
func (c *Cluster) LastSeen(id layout.NodeID) (Member, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.members[id]; ok {
		return m, true
	}
	m, ok := c.gone[id]
	return m.Member, ok && time.Since(m.since) < lateNews
}

// Changed yields a value after Members changed; changes in quick succession
// share one.
func (c *Cluster) Changed() <-chan struct{} { return c.changed }

// Update changes what this node announces and spreads it. It fails only if the
// announcement would be too long.
func (c *Cluster) Update(change func(self *Member)) error {
	c.mu.Lock()
	next := c.self
	next.Stores = slices.Clone(next.Stores)
	change(&next)
	_, err := next.encode()
	if err == nil {
		c.self = next
		c.members[next.ID] = next
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.signal()
	if err := c.list.UpdateNode(time.Second); err != nil {
		// It has taken effect here and spreads with the next exchange.
		c.log.Info("announcement is late", "err", err)
	}
	return nil
}

func (c *Cluster) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// announcer gives memberlist this node's announcement.
type announcer struct{ c *Cluster }

func (a announcer) NodeMeta(limit int) []byte {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	b, err := a.c.self.encode()
	if err != nil || len(b) > limit {
		return nil // cannot be: Open and Update check, and the limits keep it short
	}
	return b
}
func (announcer) NotifyMsg([]byte)                {}
func (announcer) GetBroadcasts(int, int) [][]byte { return nil }
func (announcer) LocalState(bool) []byte          { return nil }
func (announcer) MergeRemoteState([]byte, bool)   {}

// listener hears of others. memberlist calls it under its node lock, so it only
// notes and signals; and only here may a memberlist.Node be looked at.
type listener struct{ c *Cluster }

func (l listener) NotifyJoin(n *memberlist.Node)   { l.note(n) }
func (l listener) NotifyUpdate(n *memberlist.Node) { l.note(n) }

func (l listener) note(n *memberlist.Node) {
	id, err := layout.ParseNodeID(n.Name)
	if err != nil || id == l.c.id {
		return
	}
	m, err := decodeMember(id, n.Meta)
	if err != nil {
		l.c.log.Warn("ignore member", "peer", n.Name, "err", err)
		return
	}
	l.c.mu.Lock()
	if m.TLS != l.c.self.TLS {
		l.c.mu.Unlock()
		l.c.log.Warn("ignore a node that differs in peer_tls; set it alike everywhere", "peer", m.Name, "its_tls", m.TLS, "own_tls", !m.TLS)
		l.lose(id)
		return
	}
	l.c.members[id], l.c.addrs[id] = m, n.Address()
	delete(l.c.gone, id)
	l.c.mu.Unlock()
	l.c.signal()
}

func (l listener) NotifyLeave(n *memberlist.Node) {
	id, err := layout.ParseNodeID(n.Name)
	if err == nil && id != l.c.id {
		l.lose(id)
	}
}

func (l listener) lose(id layout.NodeID) {
	l.c.mu.Lock()
	maps.DeleteFunc(l.c.gone, func(_ layout.NodeID, m goneMember) bool { return time.Since(m.since) >= lateNews })
	if m, ok := l.c.members[id]; ok {
		l.c.gone[id] = goneMember{m, time.Now()}
	}
	delete(l.c.members, id)
	delete(l.c.addrs, id)
	l.c.mu.Unlock()
	l.c.signal()
}

func (l listener) NotifyConflict(existing, other *memberlist.Node) {
	l.c.log.Warn("a node ID is claimed at two addresses: the node has moved, or its data directory was copied",
		"peer", existing.Name, "first", existing.Address(), "second", other.Address())
}

func splitListen(listen string) (host string, port int, err error) {
	addr, err := net.ResolveUDPAddr("udp", listen)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q: %w", listen, err)
	}
	if addr.IP == nil {
		return "0.0.0.0", addr.Port, nil
	}
	return addr.IP.String(), addr.Port, nil
}

// resolve returns an IP address of host; memberlist advertises addresses only.
func resolve(host string) (string, error) {
	if host == "" {
		return "", errors.New("advertised host is required")
	}
	addr, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", fmt.Errorf("advertised host: %w", err)
	}
	return addr.String(), nil
}
