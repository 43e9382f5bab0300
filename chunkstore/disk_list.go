package chunkstore

import (
	"context"
	"errors"
	"fmt"

	"partstore/internal/layout"
)

// List implements Store. The order comes from the index, the labels from the
// drive. A chunk that is damaged is listed too, see Info.
func (d *Disk) List(ctx context.Context, after layout.ChunkID, limit int) ([]Info, error) {
	infos := []Info{}
	for len(infos) < limit {
		d.mu.RLock()
		entries := d.index.after(after, limit-len(infos))
		d.mu.RUnlock()
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			info, err := d.stat(ctx, e.id)
			switch {
			case errors.Is(err, ErrNotFound):
				continue // deleted meanwhile
			case errors.Is(err, ErrCorrupt):
				info = Info{ID: e.id, Size: -1}
			case err != nil:
				return nil, fmt.Errorf("list chunks: %w", err)
			}
			infos = append(infos, info)
		}
		after = entries[len(entries)-1].id
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list chunks: %w", err)
	}
	return infos, nil
}
