package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
	"partstore/node/repair"
)

// openRepair prepares the background work of the node.
func (n *Node) openRepair() {
	n.garbage = repair.NewCollector(repair.CollectorConfig{
		Queue: n.registry, Stores: chunkHolders{n}, Leads: n.Leading,
		Grace: n.cfg.GCGrace, Interval: n.cfg.GCInterval, Logger: n.log,
		Tell: func(kind, reason string) { n.tell(kind, layout.StoreID{}, reason) },
	})
	for _, s := range n.stores {
		tell := func(kind, reason string) { n.tell(kind, s.ID(), reason) }
		s.orphans = repair.NewOrphans(repair.OrphansConfig{
			Records: n.registry, Store: s, Freed: s.freed.add, Interval: n.cfg.OrphanInterval, Logger: n.log,
			Owner: ownerOf,
		})
		s.healer = repair.NewHealer(repair.HealerConfig{
			Records: n.registry, Engine: n.engine, Self: s.ID(), Store: s, View: n.currentView,
			Holders: n.reach().holders(), Topology: n.registry.Topology, Now: n.registry.Now, Grace: n.cfg.GCGrace,
			Attempt: n.attempts.next, Relabel: relabel,
			Interval: n.cfg.HealInterval, Bandwidth: int64(n.cfg.HealBandwidth), Pacer: &n.making, Quiet: n.requests.quiet, Tell: tell, Logger: n.log,
		})
		file := n.scrubFile(s.ID())
		s.scrub = repair.NewScrub(repair.ScrubConfig{
			Store: s, Owner: ownerOf, Healer: s.healer, Period: n.cfg.ScrubPeriod, Pick: rand.IntN, Tell: tell, Logger: n.log,
			Save: func(state repair.ScrubState) error { return saveScrub(file, state) },
		}, n.loadScrub(file))
	}
}

// ownerOf is the part that the label of a chunk names.
func ownerOf(b []byte) (layout.UploadID, layout.PartNumber, error) {
	l, err := decodeLabel(b)
	return l.ref.ID, l.number, err
}

// freedCounts is what was freed on a store since its node started.
type freedCounts struct{ chunks, bytes atomic.Int64 }

func (f *freedCounts) add(bytes int64) {
	f.chunks.Add(1)
	f.bytes.Add(max(0, bytes))
}

func (f *freedCounts) amount() admin.Amount {
	return admin.Amount{Chunks: int(f.chunks.Load()), Bytes: f.bytes.Load()}
}

// freed is what was freed on this node's stores since it started.
func (n *Node) freed() (all admin.Amount) {
	for _, s := range n.ownStores() {
		one := s.freed.amount()
		all.Chunks, all.Bytes = all.Chunks+one.Chunks, all.Bytes+one.Bytes
	}
	return all
}

// chunkHolders reaches the stores of the cluster for node/repair.
type chunkHolders struct{ n *Node }

// Holder implements repair.Stores. The registry's own copy says who holds what.
func (c chunkHolders) Holder(l layout.Layout, i int) (layout.StoreID, bool) {
	t, _ := c.n.registry.LocalTopology()
	if int64(l.Group) >= int64(len(t.Groups)) || int(l.Slots[i]) >= len(t.Groups[l.Group].Slots) {
		return layout.StoreID{}, false
	}
	return t.Groups[l.Group].Slots[l.Slots[i]], true
}

// dropRequest asks a node to delete chunks of a store; the answer has a
// dropReply.
type dropRequest struct {
	Store  layout.StoreID `json:"store"`
	Chunks []dropChunk    `json:"chunks"`
}

type dropChunk struct {
	Attempt layout.AttemptID `json:"attempt"`
	Index   uint8            `json:"index"`
	Bytes   int64            `json:"bytes"`
}

type dropReply struct {
	Gone []bool `json:"gone"` // by chunk
}

// Drop implements repair.Stores.
func (c chunkHolders) Drop(ctx context.Context, store layout.StoreID, chunks []repair.Chunk) ([]bool, error) {
	if s, ours := c.n.localStore(store); ours {
		return c.n.drop(ctx, s, chunks), ctx.Err()
	}
	state, ok := c.n.currentView().Stores[store]
	if !ok {
		return nil, fmt.Errorf("store %s is not known here yet: %w", store, chunkstore.ErrUnavailable)
	}
	req := dropRequest{Store: store, Chunks: make([]dropChunk, len(chunks))}
	for i, chunk := range chunks {
		req.Chunks[i] = dropChunk{chunk.ID.Attempt, chunk.ID.Index, chunk.Bytes}
	}
	reply, err := callJSON[dropRequest, dropReply](ctx, req, func(ctx context.Context, b []byte) ([]byte, error) {
		return c.n.peers.Call(ctx, state.Node, serviceDrop, b)
	})
	return reply.Gone, err
}

func (n *Node) handleDrop(ctx context.Context, _ layout.NodeID, b []byte) ([]byte, error) {
	var req dropRequest
	if err := json.Unmarshal(b, &req); err != nil {
		return nil, fmt.Errorf("drop request: %w", err)
	}
	s, ours := n.localStore(req.Store)
	if !ours {
		return nil, fmt.Errorf("store %s is not here: %w", req.Store, chunkstore.ErrUnavailable)
	}
	chunks := make([]repair.Chunk, len(req.Chunks))
	for i, c := range req.Chunks {
		chunks[i] = repair.Chunk{ID: layout.ChunkID{Attempt: c.Attempt, Index: c.Index}, Bytes: c.Bytes}
	}
	return json.Marshal(dropReply{n.drop(ctx, s, chunks)})
}

// dropsAtOnce is how many chunks of one call are deleted at the same time, so
// that they share syncs and yet leave the drive to others.
const dropsAtOnce = 4

// drop deletes chunks of a store of this node and says which are gone.
func (n *Node) drop(ctx context.Context, s *localStore, chunks []repair.Chunk) []bool {
	gone := make([]bool, len(chunks))
	slots := make(chan struct{}, dropsAtOnce)
	var wg sync.WaitGroup
	for i, c := range chunks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := s.Delete(ctx, c.ID)
			if gone[i] = err == nil || errors.Is(err, chunkstore.ErrNotFound); !gone[i] {
				n.log.Info("garbage stays for now", "chunk", c.ID, "err", err)
			}
			if err == nil {
				s.freed.add(c.Bytes)
			}
		})
	}
	wg.Wait()
	return gone
}

// healed is what the healers of this node did.
func (n *Node) healed() (all admin.Heal) {
	for _, s := range n.ownStores() {
		last, sum := s.healer.Last()
		all.Chunks, all.Recorded, all.Rebuilt, all.Left = all.Chunks+last.Chunks, all.Recorded+last.Recorded, all.Rebuilt+last.Rebuilt, all.Left+last.Left
		all.AllRecorded, all.AllRebuilt = all.AllRecorded+sum.Recorded, all.AllRebuilt+sum.Rebuilt
		all.Narrow, all.AllWidened = all.Narrow+last.Narrow, all.AllWidened+sum.Widened
		all.AllCopied, all.AllSettled, all.AllLetGo = all.AllCopied+sum.Copied, all.AllSettled+sum.Settled, all.AllLetGo+sum.LetGo
		all.RebuildSeconds += s.healer.Spent().Seconds()
	}
	return all
}

// ownGarbage is what of the garbage queue lies on this node's stores.
func (n *Node) ownGarbage() (all repair.Amount) {
	if !n.isOpen() {
		return all
	}
	survey, err := n.garbage.RecentSurvey()
	for _, s := range n.stores {
		if own := survey.Stores[s.ID()]; err == nil && own != nil {
			all.Chunks, all.Bytes = all.Chunks+own.Chunks, all.Bytes+own.Bytes
		}
	}
	return all
}

// Garbage implements admin.Service.
func (o operator) Garbage(ctx context.Context) (admin.GarbageStatus, error) {
	n := o.n
	if !n.isOpen() {
		return admin.GarbageStatus{}, errStarting
	}
	survey, err := n.garbage.Survey(ctx)
	if err != nil {
		return admin.GarbageStatus{}, err
	}
	s := admin.GarbageStatus{
		GraceSeconds: n.cfg.GCGrace.Seconds(), Entries: survey.Entries, Parts: survey.Parts,
		Waiting: admin.Amount(survey.Waiting), Due: admin.Amount(survey.Due),
		OldestSeconds: (time.Duration(survey.Oldest) * time.Millisecond).Seconds(),
	}
	nodes, err := o.Nodes(ctx)
	for _, node := range nodes {
		for _, store := range node.Stores {
			share := admin.GarbageShare{Store: store.ID, Node: node.Ref(), Freed: store.Freed}
			if waiting := survey.Stores[store.ID]; waiting != nil {
				share.Waiting = admin.Amount(*waiting)
			}
			s.Stores = append(s.Stores, share)
		}
	}
	return s, err
}

// SweepGarbage implements admin.Service: it has the leader free what is due.
func (o operator) SweepGarbage(ctx context.Context) (admin.GarbageSwept, error) {
	n := o.n
	if !n.isOpen() {
		return admin.GarbageSwept{}, errStarting
	}
	leader := n.registry.Status().Leader
	switch {
	case leader.IsZero():
		return admin.GarbageSwept{}, fmt.Errorf("%w: no leader is known", metadata.ErrUnavailable)
	case leader == n.id:
		return n.sweepGarbage(ctx)
	}
	swept, err := callJSON[struct{}, admin.GarbageSwept](ctx, struct{}{}, func(ctx context.Context, b []byte) ([]byte, error) {
		return n.peers.Call(ctx, leader, serviceSweep, b)
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	return swept, err
}

// sweepTime bounds a sweep that somebody waits for; the next one goes on where
// it ended.
const sweepTime = 3 * time.Second

func (n *Node) sweepGarbage(ctx context.Context) (admin.GarbageSwept, error) {
	bounded, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	swept, err := n.garbage.Sweep(bounded)
	unfinished := bounded.Err() != nil && ctx.Err() == nil
	if unfinished {
		err = nil
	}
	return admin.GarbageSwept{
		Freed: admin.Amount{Chunks: swept.Chunks, Bytes: swept.Bytes}, Parts: swept.Parts, Waiting: swept.Waiting, Refused: swept.Refused, Unfinished: unfinished,
	}, err
}

func (n *Node) handleSweep(ctx context.Context, _ layout.NodeID, _ []byte) ([]byte, error) {
	if !n.isOpen() {
		return nil, errStarting
	}
	swept, err := n.sweepGarbage(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(swept)
}
