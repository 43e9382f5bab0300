package repair

import (
	"context"
	"sync"

	"partstore/internal/layout"
)

// doomed is a chunk of a claim.
type doomed struct {
	Chunk
	of layout.Layout
}

// dropAll deletes the chunks of the claims on every store that can be asked, and
// remembers which are gone.
func (s *sweep) dropAll(ctx context.Context, piece []claim) error {
	byStore := map[layout.StoreID][]doomed{}
	for _, c := range piece {
		if c.part == nil {
			continue
		}
		l := c.part.Layout
		for i := range l.Slots {
			store, known := s.cfg.Stores.Holder(l, i)
			if !known || s.away[store] || s.gone[l.Attempt]&(1<<i) != 0 {
				continue
			}
			byStore[store] = append(byStore[store], doomed{Chunk{l.Chunk(i), l.Scheme.ChunkSize(l.Size)}, l})
		}
	}
	var mu sync.Mutex // guards s
	var wg sync.WaitGroup
	slots := make(chan struct{}, callsAtOnce)
	for store, chunks := range byStore {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			s.dropOn(ctx, &mu, store, chunks)
		})
	}
	wg.Wait()
	s.forgetSome(piece)
	return ctx.Err()
}

// dropOn deletes chunks of one store, until it cannot be asked any more.
func (s *sweep) dropOn(ctx context.Context, mu *sync.Mutex, store layout.StoreID, chunks []doomed) {
	for len(chunks) > 0 {
		call := chunks[:min(len(chunks), callChunks)]
		chunks = chunks[len(call):]
		request := make([]Chunk, len(call))
		for i, d := range call {
			request[i] = d.Chunk
		}
		gone, err := s.cfg.Stores.Drop(ctx, store, request)
		mu.Lock()
		if err != nil || len(gone) != len(call) {
			s.away[store] = true
			mu.Unlock()
			s.cfg.Logger.Info("store keeps its share of the garbage for now", "store", store, "err", err)
			return
		}
		for i, d := range call {
			if gone[i] {
				s.gone[d.of.Attempt] |= 1 << d.ID.Index
				s.Chunks++
				s.Bytes += d.Bytes
			}
		}
		mu.Unlock()
	}
}

// forgetSome keeps the memory of parts that wait for a store within its bound.
func (s *sweep) forgetSome(piece []claim) {
	for _, c := range piece {
		if len(s.gone) <= maxRemembered {
			return
		}
		if c.part != nil && !s.isGone(c.part.Layout) {
			delete(s.gone, c.part.Layout.Attempt)
		}
	}
}
