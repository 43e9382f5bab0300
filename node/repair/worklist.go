package repair

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

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
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(h.cfg.AtOnce)
	for _, s := range list {
		workers.Go(func() error {
			if err := h.whilePaused(ctx); err != nil {
				return err
			}
			how, err := h.heal(ctx, s)
			if ctx.Err() != nil {
				return ctx.Err()
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
	return workers.Wait()
}
