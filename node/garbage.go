package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	n.orphans = repair.NewOrphans(repair.OrphansConfig{
		Records: n.registry, Store: n.store, Freed: n.freed.add, Interval: n.cfg.OrphanInterval, Logger: n.log,
		Owner: ownerOf,
	})
	n.healer = repair.NewHealer(repair.HealerConfig{
		Records: n.registry, Engine: n.engine, Self: n.store.ID(), Store: n.store, View: n.currentView,
		Holders: n.reach().holders(), Topology: n.registry.Topology, Now: n.registry.Now, Grace: n.cfg.GCGrace,
		Interval: n.cfg.HealInterval, Bandwidth: int64(n.cfg.HealBandwidth), Tell: n.tellOfStore, Logger: n.log,
	})
	n.scrub = repair.NewScrub(repair.ScrubConfig{
		Store: n.store, Owner: ownerOf, Healer: n.healer,
		Period: n.cfg.ScrubPeriod, Save: n.saveScrub, Tell: n.tellOfStore, Logger: n.log,
	}, n.loadScrub())
}

// ownerOf is the part that the label of a chunk names.
func ownerOf(b []byte) (layout.UploadID, layout.PartNumber, error) {
	l, err := decodeLabel(b)
	return l.ref.ID, l.number, err
}

// scrubFile in the data directory says how far the scrub of the store has come.
const scrubFile = "scrub.json"

// loadScrub returns the zero state if there is none, or none that can be read:
// then the scrub begins anew.
func (n *Node) loadScrub() (s repair.ScrubState) {
	b, err := os.ReadFile(filepath.Join(n.cfg.DataDir, scrubFile))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			n.log.Warn("scrub begins anew", "err", err)
		}
		return repair.ScrubState{}
	}
	return s
}

// saveScrub is not synced: a power loss costs some chunks being read again.
func (n *Node) saveScrub(s repair.ScrubState) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(n.cfg.DataDir, scrubFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// scrubbed is how far this node's scrub has come.
func (n *Node) scrubbed() admin.Scrub {
	if !n.isOpen() {
		return admin.Scrub{}
	}
	s := n.scrub.State()
	return admin.Scrub{Began: s.Began, Verified: s.Verified, Damaged: s.Damaged}
}

// freedCounts is what was freed on this node's store since it started.
type freedCounts struct{ chunks, bytes atomic.Int64 }

func (f *freedCounts) add(bytes int64) {
	f.chunks.Add(1)
	f.bytes.Add(max(0, bytes))
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

// dropRequest asks a node to delete chunks of its store; the answer has a
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
	if store == c.n.store.ID() {
		return c.n.drop(ctx, chunks), ctx.Err()
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
	if _, ours := n.localStore(req.Store); !ours {
		return nil, fmt.Errorf("store %s is not here: %w", req.Store, chunkstore.ErrUnavailable)
	}
	chunks := make([]repair.Chunk, len(req.Chunks))
	for i, c := range req.Chunks {
		chunks[i] = repair.Chunk{ID: layout.ChunkID{Attempt: c.Attempt, Index: c.Index}, Bytes: c.Bytes}
	}
	return json.Marshal(dropReply{n.drop(ctx, chunks)})
}

// dropsAtOnce is how many chunks of one call are deleted at the same time, so
// that they share syncs and yet leave the drive to others.
const dropsAtOnce = 4

// drop deletes chunks of this node's store and says which are gone.
func (n *Node) drop(ctx context.Context, chunks []repair.Chunk) []bool {
	gone := make([]bool, len(chunks))
	slots := make(chan struct{}, dropsAtOnce)
	var wg sync.WaitGroup
	for i, c := range chunks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := n.store.Delete(ctx, c.ID)
			if gone[i] = err == nil || errors.Is(err, chunkstore.ErrNotFound); !gone[i] {
				n.log.Info("garbage stays for now", "chunk", c.ID, "err", err)
			}
			if err == nil {
				n.freed.add(c.Bytes)
			}
		})
	}
	wg.Wait()
	return gone
}

// healed is what the healer of this node did.
func (n *Node) healed() admin.Heal {
	if !n.isOpen() {
		return admin.Heal{}
	}
	last, all := n.healer.Last()
	return admin.Heal{
		Chunks: last.Chunks, Recorded: last.Recorded, Rebuilt: last.Rebuilt, Left: last.Left,
		AllRecorded: all.Recorded, AllRebuilt: all.Rebuilt, RebuildSeconds: n.healer.Spent().Seconds(),
		AllCopied: all.Copied, AllSettled: all.Settled, AllLetGo: all.LetGo,
	}
}

// ownGarbage is what of the garbage queue lies on this node's store.
func (n *Node) ownGarbage() repair.Amount {
	if !n.isOpen() {
		return repair.Amount{}
	}
	survey, err := n.garbage.RecentSurvey()
	if own := survey.Stores[n.store.ID()]; err == nil && own != nil {
		return *own
	}
	return repair.Amount{}
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
			share := admin.GarbageShare{Store: store.ID, Node: node.Ref(), Freed: node.Freed}
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
