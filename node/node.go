package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/cluster"
	"partstore/node/datadir"
	"partstore/node/erasure"
	"partstore/node/peer"
	"partstore/node/qingstor"
	"partstore/node/repair"
)

// Node is one member of a cluster.
type Node struct {
	cfg Config
	log *slog.Logger
	id  layout.NodeID

	formation  *formation
	gossip     *cluster.Cluster
	peers      *peer.Client
	server     *peer.Server
	engine     *erasure.Engine
	avoid      *avoidance // stores that failed a write
	avoidReads *avoidance // stores that failed a read, or were slow
	attempts   attempts
	metrics    *metrics
	ring       keyRing
	lifecycle  lifecycle

	listeners listeners
	client    *http.Server // client API
	requests  requests
	clientAPI atomic.Pointer[http.Handler]
	admin     *http.Server

	view      atomic.Pointer[layout.View]
	viewStale chan struct{}

	// registry and stores are set before opened is closed, and not touched
	// before that by anyone but Run.
	opened   chan struct{}
	registry *metadata.Raft
	stores   []*localStore
	lost     []datadir.Store // that could not be opened
	garbage  *repair.Collector
	making   repair.Pacer // of what the node makes to heal, however many stores it has

	met      *repair.Suspects // chunks that readers of this node could not read
	suspects *repair.Suspects // chunks of this node's stores that somebody could not read
	untold   chan metadata.Event

	fenced   chan struct{} // has a token after a store fenced itself
	draining atomic.Bool
	leaving  atomic.Bool             // an operator removed the node from the registry
	fail     context.CancelCauseFunc // ends Run

	mu      sync.Mutex
	closers [closeStages][]func() error // of each stage, in the order of opening
}

// The stages of Close, in their order: what brings requests goes first, what
// they rely on later.
const (
	closeNetwork = iota
	closeData
	closeDir
	closeStages
)

// Open takes the data directory, binds the listeners and prepares the node.
// Nothing is served before Run.
func Open(ctx context.Context, cfg Config) (_ *Node, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("node config: %w", err)
	}
	ring, err := parseKeyRing(cfg.SealingKeys)
	if err != nil {
		return nil, err
	}
	n := &Node{
		ring:      ring,
		cfg:       cfg,
		log:       cfg.Logger.With("node", cfg.Name),
		engine:    erasure.New(erasure.Config{Memory: int64(cfg.PayloadMemory) << 20}),
		viewStale: make(chan struct{}, 1),
		opened:    make(chan struct{}),
		fenced:    make(chan struct{}, 1),
		met:       repair.NewSuspects(maxSuspects, suspectAgain),
		suspects:  repair.NewSuspects(maxSuspects, suspectAgain),
		untold:    make(chan metadata.Event, maxUntold),
		fail:      func(error) {},
	}
	n.view.Store(&layout.View{})
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	id, err := n.openDir()
	if err != nil {
		return nil, err
	}
	n.id = id.Node
	n.lifecycle.leads, n.lifecycle.now, n.lifecycle.pace, n.lifecycle.log = n.Leading, time.Now, lifecyclePace, n.log
	n.metrics = newMetrics(n)
	if err := n.listeners.bind(cfg); err != nil {
		return nil, err
	}
	n.onClose(closeNetwork, n.listeners.Close)
	if err := n.openPeers(); err != nil {
		return nil, err
	}
	n.avoid = newAvoidance(n.tryStore(trialWrite), n.staleView, n.log.With("for", "writing"))
	n.avoidReads = newAvoidance(n.tryStore(trialRead), nil, n.log.With("for", "reading"))
	n.formation = &formation{
		self: n.id, expect: cfg.BootstrapExpect, id: id, log: n.log,
		save: n.saveIdentity, call: n.callFormation,
	}
	if err := n.openGossip(ctx, id); err != nil {
		return nil, err
	}
	n.formation.gossip = n.gossip
	n.openAPIs()
	return n, nil
}

// openDir locks the data directory and reads whose it is.
func (n *Node) openDir() (datadir.Identity, error) {
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return datadir.Identity{}, err
	}
	lock, err := datadir.Lock(n.cfg.DataDir)
	if err != nil {
		return datadir.Identity{}, err
	}
	n.onClose(closeDir, lock.Close)
	return datadir.Load(n.cfg.DataDir, n.cfg.Name)
}

func (n *Node) openPeers() (err error) {
	cluster := func() layout.ClusterID { return n.formation.cluster() }
	n.peers, err = peer.NewClient(peer.ClientConfig{
		Self: n.id, Cluster: cluster, Secret: n.cfg.ClusterSecret, Logger: n.log,
		TLS: n.cfg.peerTLS(), Resolve: n.resolvePeer, Dial: n.cfg.DialPeer,
	})
	if err != nil {
		return err
	}
	n.onClose(closeNetwork, n.peers.Close)
	n.server, err = peer.NewServer(peer.ServerConfig{
		Self: n.id, Cluster: cluster, Secret: n.cfg.ClusterSecret, Logger: n.log,
		TLS:    n.cfg.peerTLS(),
		Stores: n.servedStore,
		Calls: map[string]peer.Handler{
			peer.ServicePropose:   n.withRegistry((*metadata.Raft).HandlePropose),
			peer.ServiceReadIndex: n.withRegistry((*metadata.Raft).HandleReadIndex),
			peer.ServiceTerm:      n.withRegistry((*metadata.Raft).HandleTerm),
			peer.ServiceMembers:   n.handleMembers,
			serviceStatus:         n.handleStatus,
			serviceDrop:           n.handleDrop,
			serviceSuspect:        n.handleSuspect,
			serviceSweep:          n.handleSweep,
			serviceScrub:          n.handleScrub,
		},
		FormationCalls: map[string]peer.Handler{serviceForm: n.handleFormation},
	})
	if err != nil {
		return err
	}
	n.onClose(closeNetwork, n.server.Close)
	n.log.Info("listen for peers", "addr", n.listeners.peer.Addr(), "tls", n.cfg.peerTLS())
	return nil
}

func (n *Node) openGossip(ctx context.Context, id datadir.Identity) error {
	host, err := n.advertise(ctx)
	if err != nil {
		return err
	}
	n.gossip, err = cluster.Open(cluster.Config{
		Self: cluster.Member{
			ID: n.id, Name: n.cfg.Name, Zone: n.cfg.Zone, Host: host,
			Cluster: id.Cluster, Formed: id.Formed, TLS: n.cfg.peerTLS(), Predecessor: id.Predecessor(),
			ClientPort: n.listeners.port(n.listeners.client),
			PeerPort:   n.listeners.port(n.listeners.peer),
			AdminPort:  n.listeners.port(n.listeners.admin),
		},
		Listen: n.cfg.GossipListen, Seeds: n.cfg.Seeds, Secret: n.cfg.ClusterSecret,
		Reachable: n.cfg.GossipReachable, Logger: n.log.With("component", "gossip"),
	})
	if err != nil {
		return err
	}
	n.onClose(closeNetwork, n.gossip.Close)
	return nil
}

// Run serves until ctx is cancelled or a part of the node fails, then drains
// and waits for every goroutine it started. It returns nil after a clean
// shutdown, and an error wrapping metadata.ErrDamaged if the node gave up its
// registry, or metadata.ErrDiskFault if its disk had one; opened again, it goes
// on (see Serve).
func (n *Node) Run(ctx context.Context) error {
	// What the drain needs lives on after ctx ended.
	services, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	n.mu.Lock()
	n.fail = stop
	n.mu.Unlock()
	var wg sync.WaitGroup
	serve := func(what string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(services); err != nil && services.Err() == nil {
				stop(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	serve("peer listener", func(context.Context) error { return n.server.Serve(n.listeners.peer) })
	serve("admin listener", func(context.Context) error { return serveHTTP(n.admin, n.listeners.admin) })
	serve("client listener", func(context.Context) error {
		return serveHTTP(n.client, qingstor.NewListener(n.listeners.client, n.cfg.StallTimeout))
	})
	serve("gossip", n.gossip.Run)

	err := n.start(ctx, services, serve)
	if err == nil {
		select {
		case <-ctx.Done():
			n.drain()
		case <-services.Done():
			err = context.Cause(services)
		}
	}
	if ctx.Err() != nil {
		err = nil
	}
	if errors.Is(err, metadata.ErrDamaged) {
		err = errors.Join(err, n.giveUpRegistry(err))
	}
	stop(nil)
	err = errors.Join(err, n.Close())
	wg.Wait()
	return err
}

// start brings the node into its cluster and up to serving.
func (n *Node) start(ctx, services context.Context, serve func(string, func(context.Context) error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(services, func() { cancel(context.Cause(services)) })()

	if n.formation.identity().Formed {
		serve("formation", n.formation.watchForeign)
	} else if err := n.formation.run(ctx); err != nil {
		return fmt.Errorf("find cluster: %w", err)
	}
	if err := n.openCore(); errors.Is(err, metadata.ErrDiskFault) {
		return n.awaitDisk(ctx, err)
	} else if err != nil {
		return err
	}
	serve("registry", n.runRegistry)
	serve("view", n.watchView)
	serve("avoidance", n.avoid.run)
	serve("avoidance", n.avoidReads.run)
	serve("stores", n.watchStores)
	serve("membership", n.keepMembership)
	serve("groups", n.control)
	serve("controller", n.newController().Run)
	n.lifecycle.registry = n.registry
	serve("lifecycle", n.lifecycle.run)
	serve("peers", n.keepPeers)
	serve("garbage", n.garbage.Run)
	for _, s := range n.stores {
		serve("orphans", s.orphans.Run)
		serve("heal", s.healer.Run)
		serve("scrub", s.scrub.Run)
	}
	serve("read-repair", func(ctx context.Context) error { return n.met.Run(ctx, n.sendWord) })
	serve("read-repair", func(ctx context.Context) error { return n.suspects.Run(ctx, n.mend) })
	serve("events", n.recordEvents)
	n.serveClients()
	return n.takeIncarnation(ctx)
}

// drain ends what clients began, and hands over what others rely on.
func (n *Node) drain() {
	n.draining.Store(true)
	n.log.Info("drain")
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.DrainTimeout) // Run's context is over
	defer cancel()
	transfer, done := context.WithTimeout(ctx, handOverTimeout)
	if err := n.registry.TransferLeadership(transfer); err != nil {
		n.log.Info("hand over leadership", "err", err)
	}
	done()
	if err := n.client.Shutdown(ctx); err != nil {
		n.log.Warn("requests cut off by shutdown", "err", err)
	}
	n.gossip.Leave() // from here on peers look elsewhere
	peers, done := context.WithTimeout(ctx, handOverTimeout)
	defer done()
	if err := n.server.Shutdown(peers); err != nil {
		n.log.Info("peers cut off by shutdown", "err", err)
	}
}

// handOverTimeout bounds the wait for another leader, and for the peers' own
// requests, before shutdown.
const handOverTimeout = 2 * time.Second

// Close drops everything at once, as a crash would: the network first, then
// registry and stores, then the directory; each in reverse order of opening. It
// may be called twice, and during Run, which then returns.
func (n *Node) Close() error {
	n.mu.Lock()
	closers, fail := n.closers, n.fail
	n.closers = [closeStages][]func() error{}
	n.mu.Unlock()
	fail(errClosed)
	var errs []error
	for _, stage := range closers {
		for _, closeIt := range slices.Backward(stage) {
			if err := closeIt(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

var errClosed = errors.New("node closed")

func (n *Node) onClose(stage int, f func() error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closers[stage] = append(n.closers[stage], f)
}
