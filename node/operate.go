package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/cluster"
	"partstore/node/repair"
)

// operator is what this node does for operators: it implements admin.Service.
type operator struct{ n *Node }

// Status implements admin.Service.
func (o operator) Status(ctx context.Context) (admin.Status, error) {
	n := o.n
	if !n.isOpen() {
		return admin.Status{}, errStarting
	}
	topology, _ := n.registry.LocalTopology()
	view, reg := n.currentView(), n.registry.Status()
	s := admin.Status{
		Cluster: n.formation.cluster(), Scheme: topology.Scheme, Version: Version(),
		Node: n.ref(n.id), Term: reg.Term, Voters: []admin.NodeRef{}, Groups: admin.CountGroups(view),
	}
	s.Digest, s.Room = n.digest(reg.Digest), reg.Room
	if !reg.Leader.IsZero() {
		leader := n.ref(reg.Leader)
		s.Leader = &leader
	}
	for _, server := range reg.Servers {
		if server.Voter {
			s.Voters = append(s.Voters, n.ref(server.Node))
		}
	}
	nodes, err := o.Nodes(ctx)
	for _, node := range nodes {
		s.Nodes.Total++
		switch {
		case node.Alive:
			s.Nodes.Up++
		case node.Retired():
			s.Nodes.Retired++
			if node.Role == admin.RoleVoter {
				s.Absentees = append(s.Absentees, node.Ref())
			}
		default:
			s.Nodes.Down++
		}
		s.Stores.Add(node.Stores)
		if node.Damage != "" {
			s.Damaged = append(s.Damaged, node.Ref())
		}
		if node.Fault != "" {
			s.Faulty = append(s.Faulty, node.Ref())
		}
	}
	if n.formation.identity().Damage != "" && !slices.Contains(s.Damaged, s.Node) {
		s.Damaged = append(s.Damaged, s.Node) // it does not know the nodes yet, not even itself
	}
	return s, err
}

// Nodes implements admin.Service. Each node is asked for what only it knows.
func (o operator) Nodes(ctx context.Context) ([]admin.Node, error) {
	n := o.n
	if !n.isOpen() {
		return nil, errStarting
	}
	topology, _ := n.registry.LocalTopology()
	reg := n.registry.Status()
	slots := countSlots(topology)
	nodes := make([]admin.Node, len(topology.Members))
	var wg sync.WaitGroup
	for i, m := range topology.Members {
		member, alive := n.gossip.Member(m.ID)
		node := &nodes[i]
		*node = admin.Node{ID: m.ID, Name: m.Name, Zone: m.Zone, Alive: alive, Role: role(reg, m.ID), Stores: []admin.Store{}}
		for _, s := range topology.Stores {
			if s.Node == m.ID {
				node.Stores = append(node.Stores, describeStore(topology, s, slots[s.ID], storeState(alive, member, s.ID)))
			}
		}
		if !alive {
			continue
		}
		node.Addresses = admin.Addresses{Client: member.ClientAddr(), Peer: member.PeerAddr(), Admin: member.AdminAddr()}
		wg.Go(func() { n.askStatus(ctx, node) })
	}
	wg.Wait()
	slices.SortFunc(nodes, func(a, b admin.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes, nil
}

// digest is nil before the first.
func (n *Node) digest(d metadata.Digest) *admin.Digest {
	if d.Index == 0 {
		return nil
	}
	digest := &admin.Digest{Index: d.Index, Sum: hex.EncodeToString(d.Sum[:]), Equal: d.Equal, Asked: d.Asked, Other: []admin.NodeRef{}}
	for _, other := range d.Other {
		digest.Other = append(digest.Other, n.ref(other))
	}
	return digest
}

func storeState(alive bool, m cluster.Member, id layout.StoreID) admin.StoreState {
	switch state := announced(m, id); {
	case !alive || state == 0:
		return admin.StoreDown
	case state == cluster.StoreFenced:
		return admin.StoreFenced
	default:
		return admin.StoreUp
	}
}

func role(s metadata.Status, id layout.NodeID) admin.Role {
	i := slices.IndexFunc(s.Servers, func(server metadata.Server) bool { return server.Node == id })
	switch {
	case i < 0:
		return admin.RoleUnknown
	case s.Leader == id:
		return admin.RoleLeader
	case s.Servers[i].Voter:
		return admin.RoleVoter
	default:
		return admin.RoleNonvoter
	}
}

// nodeStatus is what a node tells its peers of itself when asked.
type nodeStatus struct {
	AppliedIndex uint64           `json:"applied_index"`
	Version      string           `json:"version"`
	FreeBytes    int64            `json:"free_bytes"` // of its first store; older programs have no Stores
	GossipPort   int              `json:"gossip_port"`
	Damage       string           `json:"damage,omitempty"` // why it has no whole registry yet
	Fault        string           `json:"fault,omitempty"`  // of the registry's disk
	FreedChunks  int64            `json:"freed_chunks"`
	Fenced       []layout.StoreID `json:"fenced,omitempty"`  // of its stores
	Missing      []layout.StoreID `json:"missing,omitempty"` // that it could not open
	FreedBytes   int64            `json:"freed_bytes"`
	Stores       []storeStatus    `json:"stores,omitempty"`

	Heal  admin.Heal  `json:"heal"`
	Scrub admin.Scrub `json:"scrub"`

	Lifecycle admin.Lifecycle `json:"lifecycle"`
}

// storeStatus is what a node tells of a store, or of a directory for one.
type storeStatus struct {
	ID        layout.StoreID `json:"id"` // zero: none of the node's is there
	Dir       string         `json:"dir"`
	FreeBytes int64          `json:"free_bytes"`
	Fault     string         `json:"fault,omitempty"` // why it is not open, or takes no writes
	Freed     admin.Amount   `json:"freed"`
	Scrub     admin.Scrub    `json:"scrub"`
}

// statusTimeout bounds the question to one node behind a status page.
const statusTimeout = time.Second

// askStatus fills in what only the node itself knows; a node that does not
// answer leaves the gaps.
func (n *Node) askStatus(ctx context.Context, node *admin.Node) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	s, err := n.statusOf(ctx, node.ID)
	if err != nil {
		n.log.Debug("ask node for status", "peer", node.ID, "err", err)
		return
	}
	node.AppliedIndex, node.Version, node.Damage, node.Fault = &s.AppliedIndex, s.Version, s.Damage, s.Fault
	node.Heal, node.Scrub, node.Lifecycle = &s.Heal, &s.Scrub, &s.Lifecycle
	node.Freed = &admin.Amount{Chunks: int(s.FreedChunks), Bytes: s.FreedBytes}
	node.Addresses.Gossip = withPort(node.Addresses.Peer, s.GossipPort)
	for i := range node.Stores {
		node.Stores[i].FreeBytes, node.Stores[i].Freed, node.Stores[i].Scrub = s.FreeBytes, node.Freed, node.Scrub
	}
	for _, told := range s.Stores {
		i := slices.IndexFunc(node.Stores, func(s admin.Store) bool { return s.ID == told.ID })
		if i < 0 {
			if told.Fault != "" { // else this node has not heard of it yet
				node.Refused = append(node.Refused, admin.RefusedDir{Dir: told.Dir, Fault: told.Fault})
			}
			continue
		}
		x := &node.Stores[i]
		x.Dir, x.FreeBytes, x.Fault, x.Freed, x.Scrub = told.Dir, told.FreeBytes, told.Fault, &told.Freed, &told.Scrub
	}
}

// statusOf asks a node for what only it knows.
func (n *Node) statusOf(ctx context.Context, id layout.NodeID) (nodeStatus, error) {
	if id == n.id {
		return n.ownStatus(), nil
	}
	return callJSON[struct{}, nodeStatus](ctx, struct{}{}, func(ctx context.Context, b []byte) ([]byte, error) {
		return n.peers.Call(ctx, id, serviceStatus, b)
	})
}

func (n *Node) ownStatus() nodeStatus {
	reg, freed := n.registryStatus(), n.freed()
	s := nodeStatus{AppliedIndex: reg.AppliedIndex, Version: Version(), GossipPort: n.gossip.Port(), Damage: n.formation.identity().Damage}
	s.FreedChunks, s.FreedBytes = int64(freed.Chunks), freed.Bytes
	s.Heal, s.Scrub, s.Lifecycle = n.healed(), n.scrubbed(), n.lifecycle.status()
	for _, x := range n.ownStores() {
		told := storeStatus{ID: x.ID(), Dir: x.dir, FreeBytes: n.room(x), Freed: x.freed.amount(), Scrub: x.scrubbed()}
		if err := x.Fenced(); err != nil {
			s.Fenced, told.Fault = append(s.Fenced, x.ID()), err.Error()
		}
		s.Stores = append(s.Stores, told)
	}
	if n.isOpen() {
		s.FreeBytes = s.Stores[0].FreeBytes
		for _, x := range n.lost {
			s.Stores = append(s.Stores, storeStatus{ID: x.ID, Dir: x.Dir, FreeBytes: -1, Fault: x.Err.Error()})
			if !x.ID.IsZero() {
				s.Missing = append(s.Missing, x.ID)
			}
		}
	}
	if errors.Is(reg.Failed, metadata.ErrDiskFault) {
		s.Fault = reg.Failed.Error()
	}
	return s
}

func (n *Node) handleStatus(context.Context, layout.NodeID, []byte) ([]byte, error) {
	return json.Marshal(n.ownStatus())
}

// ref names a node as well as this node can.
func (n *Node) ref(id layout.NodeID) admin.NodeRef {
	if m, ok := n.gossip.Member(id); ok {
		return admin.NodeRef{ID: id, Name: m.Name}
	}
	return admin.NodeRef{ID: id, Name: n.currentView().Nodes[id].Name}
}

var errStarting = fmt.Errorf("node is starting: %w", metadata.ErrUnavailable)

// Ready implements admin.Service.
func (o operator) Ready(ctx context.Context) error { return o.n.Ready(ctx) }

// Ready returns nil if the node can serve clients: it is registered, can read
// the registry, knows the placement groups, and a store of its own takes writes. The
// error says what is missing.
func (n *Node) Ready(ctx context.Context) error {
	switch {
	case n.draining.Load():
		return errors.New("node is draining")
	case n.leaving.Load():
		return errors.New("node is leaving the registry")
	case !n.isOpen():
		return errStarting
	case n.attempts.incarnation.Load() == 0:
		return errors.New("node is not registered yet")
	}
	topology, err := n.registry.Topology(ctx)
	if damage := n.formation.identity().Damage; err != nil && damage != "" {
		return fmt.Errorf("registry was damaged, and the others fill another: %w (%s)", err, damage)
	}
	if err != nil {
		return err
	}
	if len(topology.Groups) == 0 {
		return errors.New("there are no placement groups yet")
	}
	if len(n.currentView().Groups) == 0 {
		return errors.New("placement groups have not reached this node yet")
	}
	return n.tryStores(ctx)
}

// AbortUpload implements admin.Service.
func (o operator) AbortUpload(ctx context.Context, ref metadata.UploadRef) error {
	if !o.n.isOpen() {
		return errStarting
	}
	if _, err := o.n.registry.Upload(ctx, ref); err != nil {
		return err
	}
	return o.n.registry.AbortUpload(ctx, ref)
}

// Version is the version of the program, as its build recorded it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}

// inspectChunk reads a chunk in full and says what it found.
func inspectChunk(ctx context.Context, s chunkstore.Store, id layout.ChunkID, want int64, durable bool) (admin.ChunkState, error) {
	err := repair.Verify(ctx, s, id, want)
	switch {
	case err == nil:
		return admin.ChunkOK, nil
	case errors.Is(err, chunkstore.ErrNotFound) && !durable:
		return admin.ChunkNotWritten, err
	case errors.Is(err, chunkstore.ErrNotFound):
		return admin.ChunkMissing, err
	case errors.Is(err, chunkstore.ErrCorrupt):
		return admin.ChunkCorrupt, err
	default:
		return admin.ChunkUnavailable, err
	}
}

// Leading reports whether this node leads the registry, as far as it knows.
func (n *Node) Leading() bool { return n.isOpen() && n.registry.Status().Role == "leader" }
