package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/cluster"
	"partstore/node/datadir"
	"partstore/node/peer"
	"partstore/node/qingstor"
)

// openCore opens the stores and the registry of a node that knows its cluster.
func (n *Node) openCore() (err error) {
	id := n.formation.identity()
	if err := n.openStores(id); err != nil {
		return err
	}
	n.onClose(closeData, n.engine.Close)
	cfg := metadata.Config{
		Dir: filepath.Join(n.cfg.DataDir, datadir.RegistryDir), Node: n.id, Generation: id.CurrentGeneration(), Cluster: id.Cluster,
		Peers: peer.Registry{Client: n.peers}, Raft: raftStreams{n.server.RaftListener(), n.peers}, Existing: true,
		Timeout: n.cfg.RegistryTimeout, HeartbeatTimeout: n.cfg.ElectionTimeout, Logger: n.log,
		SnapshotEntries: uint64(n.cfg.SnapshotEntries), TrailingEntries: uint64(n.cfg.SnapshotEntries) * 5 / 4,
	}
	if err := n.makeRegistry(cfg, n.stores[0].ID()); err != nil {
		return err
	}
	n.registry, err = metadata.Open(cfg)
	if errors.Is(err, metadata.ErrLost) {
		err = fmt.Errorf("%w: to bring node %s back as a new node, empty all of %s", err, n.cfg.Name, n.cfg.DataDir)
	}
	if err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	n.onClose(closeData, n.registry.Close)
	n.attempts.now = n.registry.Now
	n.openRepair()
	if id.Proposer == n.id && !id.Bootstrapped && id.CurrentGeneration() == 1 {
		if err := n.registry.Bootstrap(firstVoters(id.Promised)); err != nil {
			return fmt.Errorf("bootstrap registry: %w", err)
		}
		if err := n.formation.bootstrapped(); err != nil {
			return err
		}
	}
	close(n.opened)
	n.refreshView()
	return nil
}

func (f *formation) bootstrapped() error {
	return f.update(func(id *datadir.Identity) { id.Bootstrapped = true })
}

// update is set for those who do not hold mu.
func (f *formation) update(change func(*datadir.Identity)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set(change)
}

// saveIdentity makes an identity durable, then announces it.
func (n *Node) saveIdentity(id datadir.Identity) error {
	if err := datadir.Save(n.cfg.DataDir, id); err != nil {
		return err
	}
	return n.gossip.Update(func(self *cluster.Member) { self.Cluster, self.Formed = id.Cluster, id.Formed })
}

// startRetry is the pause between tries of what a starting node needs others for.
const startRetry = 200 * time.Millisecond

// takeIncarnation registers this start of the node and its stores, however long
// that takes. Until then the node coordinates no PUT.
func (n *Node) takeIncarnation(ctx context.Context) error {
	start := metadata.StartNode{Request: layout.NewRequestID(), Node: n.id, Name: n.cfg.Name, Zone: n.cfg.Zone}
	for _, s := range n.stores {
		space, err := s.Space()
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		start.Stores = append(start.Stores, metadata.Store{ID: s.ID(), Node: n.id, Zone: n.cfg.Zone, CapacityBytes: space.CapacityBytes})
	}
	for {
		inc, err := n.registry.StartNode(ctx, start)
		if err == nil {
			n.attempts.incarnation.Store(uint32(inc))
			n.log.Info("node registered", "incarnation", inc)
			return nil
		}
		if !errors.Is(err, metadata.ErrUnavailable) && ctx.Err() == nil {
			return fmt.Errorf("register node: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(startRetry):
		}
	}
}

func (n *Node) callFormation(ctx context.Context, addr string, req formRequest) (formReply, error) {
	ctx, cancel := context.WithTimeout(ctx, formationTimeout)
	defer cancel()
	return callJSON[formRequest, formReply](ctx, req, func(ctx context.Context, b []byte) ([]byte, error) {
		return n.peers.CallAddr(ctx, addr, serviceForm, b)
	})
}

// formationTimeout bounds one formation call.
const formationTimeout = 3 * time.Second

// handleFormation answers other nodes' formRequests.
func (n *Node) handleFormation(ctx context.Context, from layout.NodeID, b []byte) ([]byte, error) {
	var req formRequest
	if err := json.Unmarshal(b, &req); err != nil {
		return nil, fmt.Errorf("formation request: %w", err)
	}
	if req.Node != from {
		return nil, fmt.Errorf("formation request of node %s for %s", from, req.Node)
	}
	reply, err := n.answerFormation(ctx, req)
	if err != nil {
		return nil, err
	}
	return json.Marshal(reply)
}

func (n *Node) answerFormation(ctx context.Context, req formRequest) (formReply, error) {
	switch {
	case req.Kind == formPromise:
		return n.formation.promise(req)
	case req.Kind == formRelease:
		return n.formation.released(), nil
	case req.Kind != formJoin:
		return formReply{}, fmt.Errorf("formation request of unknown kind %q", req.Kind)
	case !n.isOpen():
		return formReply{}, nil // not yet
	}
	return n.addMember(ctx, req.Node, max(1, req.Generation))
}

// serveClients lets the client API in; before, it answers 503.
func (n *Node) serveClients() {
	g := &gateway{
		registry: n.registry, engine: n.engine, view: n.currentView, store: n.storeByID,
		attempts: &n.attempts, avoid: n.avoid.add, avoidReads: n.avoidReads, recheck: n.recheckStores, now: time.Now, log: n.log, suspect: n.suspect,
	}
	var h http.Handler = qingstor.NewHandler(qingstor.Config{
		FetchHosts: n.cfg.FetchHosts,
		Registry:   n.registry, Data: g, Keys: accessKeys{n.cfg.AccessKeyID, n.cfg.SecretAccessKey, n.registry, n.ring},
		BaseDomains: n.cfg.BaseDomains, Zone: n.cfg.QingStorZone, Now: time.Now,
		Logger: n.log, Observer: n.metrics.request,
	})
	n.clientAPI.Store(&h)
}
