package repair

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
)

// Records says what the records of the registry name.
type Records interface {
	NamedHere(refs []metadata.PartRef) ([]bool, error)
	Collectable(ctx context.Context, attempts []layout.AttemptID) (map[layout.AttemptID]bool, error)
}

// OrphansConfig says how to look for orphans. All fields are required.
type OrphansConfig struct {
	Records Records
	Store   chunkstore.Store // this node's own
	// Owner reads the label of a chunk: the part that names it, if any does.
	Owner func(label []byte) (layout.UploadID, layout.PartNumber, error)
	// Freed hears of each chunk that was deleted.
	Freed func(bytes int64)
	// Interval is the pause before each pass over the store.
	Interval time.Duration
	Logger   *slog.Logger
}

// Orphans frees the chunks of one store that no record names and none ever will:
// what was left when an attempt failed between its chunks and its record. It is
// safe for concurrent use.
type Orphans struct {
	cfg  OrphansConfig
	turn sync.Mutex // one pass at a time

	mu     sync.Mutex
	last   Pass
	passes int
}

// Pass is what one pass over a store found.
type Pass struct {
	Chunks  int `json:"chunks"`  // looked at
	Unnamed int `json:"unnamed"` // of those, that no record names
	Freed   int `json:"freed"`   // of those, whose fence had passed
}

// NewOrphans returns an Orphans that does nothing before Run or Sweep.
func NewOrphans(cfg OrphansConfig) *Orphans { return &Orphans{cfg: cfg} }

const (
	listPage    = 256
	maxSuspects = 10_000 // chunks judged together
)

// Last returns what the last complete pass found, and how many there were.
func (o *Orphans) Last() (last Pass, passes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.passes
}

// Run makes one pass after the other until ctx ends.
func (o *Orphans) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.cfg.Interval):
		}
		pass, err := o.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			o.cfg.Logger.Info("look for orphans", "err", err)
		case pass.Freed > 0:
			o.cfg.Logger.Info("orphans freed", "chunks", pass.Chunks, "unnamed", pass.Unnamed, "freed", pass.Freed)
		}
	}
}

// Sweep makes one pass. It rests between pages, so that it takes little of the
// node. What it did before an error stays done.
func (o *Orphans) Sweep(ctx context.Context) (Pass, error) {
	o.turn.Lock()
	defer o.turn.Unlock()
	var pass Pass
	var suspects []chunkstore.Info
	for after := (layout.ChunkID{}); ; {
		began := time.Now()
		page, err := o.cfg.Store.List(ctx, after, listPage)
		if err != nil {
			return pass, err
		}
		unnamed, err := o.unnamed(page)
		if err != nil {
			return pass, err
		}
		pass.Chunks += len(page)
		suspects = append(suspects, unnamed...)
		if len(page) == 0 || len(suspects) >= maxSuspects {
			if err := o.judge(ctx, suspects, &pass); err != nil {
				return pass, err
			}
			suspects = nil
		}
		if len(page) == 0 {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.last = pass
			o.passes++
			return pass, nil
		}
		after = page[len(page)-1].ID
		select {
		case <-ctx.Done():
			return pass, ctx.Err()
		case <-time.After(restFactor * time.Since(began)):
		}
	}
}

// unnamed returns the chunks whose own part does not name them. That alone says
// little: this node's records may be old, and the label may not be readable.
func (o *Orphans) unnamed(page []chunkstore.Info) ([]chunkstore.Info, error) {
	var refs []metadata.PartRef
	var labelled, suspects []chunkstore.Info
	for _, info := range page {
		upload, number, err := o.cfg.Owner(info.Label)
		if err != nil {
			suspects = append(suspects, info)
			continue
		}
		refs = append(refs, metadata.PartRef{Upload: upload, Number: number, Attempt: info.ID.Attempt})
		labelled = append(labelled, info)
	}
	named, err := o.cfg.Records.NamedHere(refs)
	if err != nil {
		return nil, err
	}
	for i, info := range labelled {
		if !named[i] {
			suspects = append(suspects, info)
		}
	}
	return suspects, nil
}

// judge deletes those of the suspects of which the registry says that it may.
func (o *Orphans) judge(ctx context.Context, suspects []chunkstore.Info, pass *Pass) error {
	if len(suspects) == 0 {
		return nil
	}
	attempts := make([]layout.AttemptID, 0, len(suspects))
	for i, s := range suspects {
		if i == 0 || s.ID.Attempt != suspects[i-1].ID.Attempt {
			attempts = append(attempts, s.ID.Attempt)
		}
	}
	free, err := o.cfg.Records.Collectable(ctx, attempts)
	if err != nil {
		return err
	}
	pass.Unnamed += len(suspects)
	for _, s := range suspects {
		if !free[s.ID.Attempt] {
			continue
		}
		switch err := o.cfg.Store.Delete(ctx, s.ID); {
		case errors.Is(err, chunkstore.ErrNotFound): // the garbage queue was faster
		case err != nil:
			return err
		default:
			pass.Freed++
			o.cfg.Freed(s.Size)
		}
	}
	return nil
}
