package repair

import (
	"context"
	"errors"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// Holders finds the stores of a part's chunks.
type Holders struct {
	// Holder returns the store that holds chunk i.
	Holder func(l layout.Layout, i int) (chunkstore.Store, error)
	// Former returns the store that may have chunk i while the holder has not:
	// the one before it, as long as the slot is unsettled.
	Former func(l layout.Layout, i int) (chunkstore.Store, bool)
}

// Open opens chunk i with its holder, or else with the former one.
func (h Holders) Open(ctx context.Context, l layout.Layout, i int, first, count int64) (chunkstore.Reader, error) {
	store, err := h.Holder(l, i)
	if err == nil {
		var r chunkstore.Reader
		if r, err = store.Open(ctx, l.Chunk(i), first, count); err == nil {
			return r, nil
		}
	}
	former, known := h.Former(l, i)
	if !known {
		return nil, err
	}
	r, formerErr := former.Open(ctx, l.Chunk(i), first, count)
	if formerErr != nil {
		return nil, errors.Join(err, formerErr)
	}
	return r, nil
}
