package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/repair"
)

// What a reader finds missing or damaged is healed soon, by the node of its
// store: the reader's node sends word, once, and the reader waits for nothing.

// Bounds of what is known of suspect chunks, on the node that read them and on
// the one that has them.
const (
	maxSuspects    = 4096
	suspectAgain   = 10 * time.Minute
	suspectTimeout = 5 * time.Second
)

// suspect takes note of a chunk that could not be read.
func (n *Node) suspect(upload layout.UploadID, p metadata.Part, i int, err error) {
	missing := errors.Is(err, chunkstore.ErrNotFound) && p.Layout.IsDurable(i)
	if missing || errors.Is(err, chunkstore.ErrCorrupt) {
		n.met.Add(repair.Suspect{Upload: upload, Number: p.Number, Chunk: p.Layout.Chunk(i)})
	}
}

// sendWord tells the node that has a suspect chunk. If that fails, the scrub of
// that node finds it, or the next reader.
func (n *Node) sendWord(ctx context.Context, x repair.Suspect) {
	parts, err := n.registry.PartRows(x.Upload, int(x.Number)-1, 1)
	if err != nil || len(parts) == 0 || parts[0].Layout.Attempt != x.Chunk.Attempt || int(x.Chunk.Index) >= len(parts[0].Layout.Slots) {
		return
	}
	holder, known := chunkHolders{n}.Holder(parts[0].Layout, int(x.Chunk.Index))
	if !known {
		return
	}
	if _, ours := n.localStore(holder); ours {
		n.suspects.Add(x)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, suspectTimeout)
	defer cancel()
	b, err := json.Marshal(suspectNote{Suspect: x, Attempt: x.Chunk.Attempt, Index: x.Chunk.Index})
	if err == nil {
		_, err = n.peers.Call(ctx, n.currentView().Stores[holder].Node, serviceSuspect, b)
	}
	if err != nil {
		n.log.Debug("suspect chunk not reported", "chunk", x.Chunk, "err", err)
	}
}

// suspectNote names a chunk of the node that gets it.
type suspectNote struct {
	repair.Suspect
	Attempt layout.AttemptID `json:"attempt"`
	Index   uint8            `json:"index"`
}

func (n *Node) handleSuspect(_ context.Context, _ layout.NodeID, b []byte) ([]byte, error) {
	var note suspectNote
	if err := json.Unmarshal(b, &note); err != nil {
		return nil, fmt.Errorf("suspect chunk: %w", err)
	}
	if n.isOpen() {
		note.Chunk = layout.ChunkID{Attempt: note.Attempt, Index: note.Index}
		n.suspects.Add(note.Suspect)
	}
	return nil, nil
}

// mend heals a suspect chunk of this node's stores: that of the one it belongs
// on, the others leave it alone.
func (n *Node) mend(ctx context.Context, x repair.Suspect) {
	for _, s := range n.stores {
		if err := s.healer.Mend(ctx, x); err != nil && ctx.Err() == nil {
			n.log.Info("suspect chunk not healed", "chunk", x.Chunk, "store", s.ID(), "err", err)
		}
	}
}
