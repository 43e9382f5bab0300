package repair

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/erasure"
)

// Mend heals a chunk that somebody met. One that no record names, or not on this
// store, is left alone. It waits while healing is paused.
func (h *Healer) Mend(ctx context.Context, x Suspect) error {
	parts, err := h.cfg.Records.PartRows(x.Upload, int(x.Number)-1, 1)
	if err != nil || len(parts) == 0 || parts[0].Number != x.Number {
		return err
	}
	l := parts[0].Layout
	group, known := h.cfg.View().Group(l.Group)
	i := int(x.Chunk.Index)
	if l.Attempt != x.Chunk.Attempt || i >= len(l.Slots) || !known || group.Slots[l.Slots[i]] != h.cfg.Self {
		return nil
	}
	if err := h.whilePaused(ctx); err != nil {
		return err
	}
	how, err := h.heal(ctx, sick{part: metadata.OwnedPart{Upload: x.Upload, Part: parts[0]}, index: i, epoch: group.Epoch})
	if err != nil || how == foundWhole {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sum.Rebuilt++
	return nil
}

var errRecordChanged = errors.New("the record is another by now")

// heal makes one chunk whole and has its record name it, in this order. A chunk
// that is whole is only read; one that is damaged stays, with what is sound of
// it, until its successor is durable.
func (h *Healer) heal(ctx context.Context, s sick) (done outcome, err error) {
	l := s.part.Layout
	h.work.RLock()
	defer h.work.RUnlock()
	same := &h.same[l.Attempt[len(l.Attempt)-1]]
	same.Lock()
	defer same.Unlock()
	switch err = h.verify(ctx, l, s.index); {
	case errors.Is(err, chunkstore.ErrNotFound):
		done, err = h.restore(ctx, l, s.index, h.cfg.Store.Create)
	case errors.Is(err, chunkstore.ErrCorrupt):
		done, err = h.restore(ctx, l, s.index, h.cfg.Store.Replace)
	}
	if err != nil {
		return foundWhole, err
	}
	return done, h.record(ctx, s)
}

// outcome is how a chunk came to be whole.
type outcome int

const (
	foundWhole outcome = iota
	rebuilt
	copied // from the former holder of its slot
)

// starter starts a chunk, or the successor of one.
type starter func(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error)

// restore makes a chunk that is not there or damaged: from the former holder of its slot if
// that has it and it is good, else from the other chunks of the part.
func (h *Healer) restore(ctx context.Context, l layout.Layout, i int, start starter) (outcome, error) {
	if err := h.cfg.Pacer.enter(ctx, h.atOnce); err != nil {
		return foundWhole, err
	}
	defer h.cfg.Pacer.leave()
	defer h.restoring.start()()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if former, known := h.cfg.Former(l, i); known {
		err := h.copy(ctx, l, i, former, start)
		if err == nil {
			return copied, nil
		}
		h.cfg.Logger.Debug("chunk not copied", "chunk", l.Chunk(i), "err", err)
	}
	return rebuilt, h.rebuild(ctx, l, i, start)
}

// rebuild makes a chunk anew from the others. Its label is asked for while they are
// opened.
func (h *Healer) rebuild(ctx context.Context, l layout.Layout, i int, start starter) error {
	ctx, cancel := context.WithCancel(ctx)
	var label []byte
	var asked errgroup.Group
	asked.Go(func() (err error) {
		label, err = h.label(ctx, l, i)
		return err
	})
	defer func() {
		cancel()
		_ = asked.Wait()
	}()
	return h.write(ctx, l, i, start, movedPerByte(l.Scheme, false), func(begin beginner) error {
		return h.cfg.Engine.Rebuild(ctx, h.source(l), i, func() (erasure.BlockWriter, error) {
			if err := asked.Wait(); err != nil {
				return nil, err
			}
			return begin(label)
		})
	})
}

// beginner begins the chunk that is to be filled, within the bandwidth.
type beginner func(label []byte) (erasure.BlockWriter, error)

// write makes a chunk durable, for each byte of which so many are moved, and reads it
// back.
func (h *Healer) write(ctx context.Context, l layout.Layout, i int, start starter, moved int64, fill func(beginner) error) error {
	var w chunkstore.Writer
	defer func() {
		if w != nil {
			w.Abort() // does nothing once it is committed
		}
	}()
	err := fill(func(label []byte) (erasure.BlockWriter, error) {
		begun, err := start(ctx, l.Chunk(i), label)
		if err != nil {
			return nil, err
		}
		w = begun
		return h.paced(ctx, w, moved), nil
	})
	if err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		return err
	}
	return h.verify(ctx, l, i)
}

func (h *Healer) source(l layout.Layout) erasure.Source {
	return erasure.Source{
		Scheme: l.Scheme, Size: l.Size, Last: ^l.Durable & (1<<len(l.Slots) - 1),
		Open: func(ctx context.Context, i int, first, count int64) (erasure.ShardReader, error) {
			return h.cfg.Open(ctx, l, i, first, count)
		},
	}
}

// label is what the other chunks of the part have as theirs.
func (h *Healer) label(ctx context.Context, l layout.Layout, i int) (label []byte, err error) {
	for j := range l.Slots {
		if j == i {
			continue
		}
		store, otherErr := h.cfg.Holder(l, j)
		if otherErr == nil {
			var info chunkstore.Info
			if info, otherErr = store.Stat(ctx, l.Chunk(j)); otherErr == nil {
				return info.Label, nil
			}
		}
		err = errors.Join(err, otherErr)
	}
	return nil, err
}

// record has the part's record name the chunk, which is durable by now, unless it
// does already.
func (h *Healer) record(ctx context.Context, s sick) error {
	if s.part.Layout.IsDurable(s.index) {
		return nil
	}
	recorded, err := h.cfg.Records.RecordDurable(ctx, []metadata.DurableChunk{{
		PartRef: metadata.PartRef{Upload: s.part.Upload, Number: s.part.Number, Attempt: s.part.Layout.Attempt},
		Epoch:   s.epoch, Index: uint8(s.index),
	}})
	if err == nil && !recorded[0] {
		return errRecordChanged
	}
	return err
}
