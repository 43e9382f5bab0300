package repair

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"partstore/metadata"
)

// sick is a chunk of this store that is not what its record wants, or of which
// the record does not know that it is.
type sick struct {
	part  metadata.OwnedPart
	index int
	epoch uint32
	good  int // other chunks of the part that seem to be there
}

func (s sick) slot() slotID { return slotID{s.part.Layout.Group, s.part.Layout.Slots[s.index]} }

// examine adds the chunks of a part that belong on this store and are not there,
// or not recorded.
func (h *Healer) examine(ctx context.Context, list []sick, p metadata.OwnedPart, healed *Healed) []sick {
	view, l := h.cfg.View(), p.Layout
	group, known := view.Group(l.Group)
	for i, slot := range l.Slots {
		if !known || group.Slots[slot] != h.cfg.Self {
			continue
		}
		healed.Chunks++
		info, err := h.cfg.Store.Stat(ctx, l.Chunk(i))
		if err == nil && info.Size == l.Scheme.ChunkSize(l.Size) && l.IsDurable(i) {
			continue
		}
		s := sick{part: p, index: i, epoch: group.Epoch}
		for j, slot := range l.Slots {
			if j != i && l.IsDurable(j) && view.Stores[group.Slots[slot]].Alive {
				s.good++
			}
		}
		list = append(list, s)
	}
	return list
}

// healAll heals chunks, those first whose part has the fewest others left.
func (h *Healer) healAll(ctx context.Context, list []sick, a *arrivals, healed *Healed) error {
	slices.SortStableFunc(list, func(a, b sick) int {
		return cmp.Compare(a.good-int(a.part.Layout.Scheme.Data), b.good-int(b.part.Layout.Scheme.Data))
	})
	var mu sync.Mutex // of a and healed
	workers, work := errgroup.WithContext(ctx)
	room := semaphore.NewWeighted(int64(h.cfg.AtOnce) * wholeTurn)
	for _, s := range list {
		weight := h.weight(s)
		if room.Acquire(work, weight) != nil {
			break // the reason is a worker's, or the caller's
		}
		workers.Go(func() error {
			defer room.Release(weight)
			if err := h.whilePaused(work); err != nil {
				return err
			}
			how, err := h.heal(work, s)
			if work.Err() != nil {
				return work.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil && how == copied {
				healed.Copied++
			}
			switch {
			case errors.Is(err, errRecordChanged): // somebody replaced or deleted the part
			case err != nil:
				healed.Left++
				a.incomplete(s.slot())
				h.cfg.Logger.Info("chunk not healed", "chunk", s.part.Layout.Chunk(s.index), "err", err)
			case how == foundWhole:
				healed.Recorded++
			default:
				healed.Rebuilt++
			}
			return nil
		})
	}
	return cmp.Or(workers.Wait(), ctx.Err())
}

// wholeTurn is one of the AtOnce chunks.
const wholeTurn = 4

// weight is the share of a whole turn that a chunk takes: a part of one if it is small
// and nobody is kept waiting, for it spends its time waiting itself.
func (h *Healer) weight(s sick) int64 {
	if !h.cfg.Quiet() {
		return wholeTurn
	}
	return min(max(1, s.part.Layout.Scheme.ChunkSize(s.part.Layout.Size)>>18), wholeTurn)
}
