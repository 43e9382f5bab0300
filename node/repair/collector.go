package repair

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Queue is the garbage queue of the registry.
type Queue interface {
	Now() layout.RegistryTime
	Garbage(after *metadata.Garbage, limit int) ([]metadata.Garbage, error)
	GarbageParts(g metadata.Garbage, after, limit int) ([]metadata.Part, error)
	StillNamed(ctx context.Context, entries []metadata.Garbage) ([]bool, error)
	FreeGarbage(ctx context.Context, freed []metadata.FreedGarbage) error
}

// Stores reaches the chunks of the whole cluster.
type Stores interface {
	// Holder says which store holds chunk i of a layout, if that is known here.
	Holder(l layout.Layout, i int) (layout.StoreID, bool)
	// Drop deletes chunks of one store and says of each whether it is gone for
	// good. An error means that the store cannot be asked now.
	Drop(ctx context.Context, store layout.StoreID, chunks []Chunk) (gone []bool, err error)
}

// Chunk is a chunk to be deleted, and its payload.
type Chunk struct {
	ID    layout.ChunkID
	Bytes int64
}

// CollectorConfig says how to work off the garbage queue. Grace and Interval are
// required.
type CollectorConfig struct {
	Queue  Queue
	Stores Stores
	// Leads reports whether this node should do the work. It is a hint: two
	// that do it at once do it twice.
	Leads func() bool
	// Grace is how long garbage waits, in registry time, so that readers that
	// began before can end.
	Grace time.Duration
	// Interval is the pause between two sweeps.
	Interval time.Duration
	// Tell is as of HealerConfig. Nil: nobody hears.
	Tell   func(kind, reason string)
	Logger *slog.Logger
}

// Collector deletes the chunks of the garbage queue, and takes its entries away
// when all their chunks are gone. It is safe for concurrent use.
type Collector struct {
	cfg  CollectorConfig
	turn sync.Mutex // one sweep at a time

	// gone remembers what is deleted of parts that wait for another store, so
	// that it is not deleted again with every sweep. Guarded by turn.
	gone map[layout.AttemptID]uint32

	refused int // by the last sweep of Run

	surveys  sync.Mutex // guards what follows
	survey   Survey
	surveyed time.Time
}

// NewCollector returns a Collector that does nothing before Run or Sweep.
func NewCollector(cfg CollectorConfig) *Collector {
	return &Collector{cfg: cfg, gone: map[layout.AttemptID]uint32{}}
}

// Bounds of what a sweep holds in memory or does at once.
const (
	pageEntries   = 4096    // entries of the queue checked together
	pieceParts    = 256     // parts whose chunks are deleted before it is recorded
	callChunks    = 64      // deleted by one call
	callsAtOnce   = 8       // to different stores
	maxRemembered = 100_000 // parts in Collector.gone

	// restFactor keeps background scans to a twentieth of one core: a pause is
	// at least so many times as long as the work before it.
	restFactor = 19
)

// Swept is what one sweep did.
type Swept struct {
	Parts   int   `json:"parts"`   // taken off the queue
	Chunks  int   `json:"chunks"`  // deleted, or found gone
	Bytes   int64 `json:"bytes"`   // in those
	Waiting int   `json:"waiting"` // parts that are due and keep a chunk on a store that cannot be asked
	Refused int   `json:"refused"` // entries that something still names; this must not happen
}

// Run sweeps until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	rest := c.cfg.Interval
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
		rest = c.cfg.Interval
		if !c.cfg.Leads() {
			continue
		}
		began := time.Now()
		swept, err := c.Sweep(ctx)
		rest = max(rest, restFactor*time.Since(began))
		if swept.Refused > c.refused && c.cfg.Tell != nil {
			c.cfg.Tell(metadata.EventGarbageNamed, fmt.Sprintf("a record names %d entries of the garbage queue; they stay", swept.Refused))
		}
		c.refused = swept.Refused
		switch {
		case ctx.Err() != nil:
		case err != nil:
			c.cfg.Logger.Info("sweep garbage", "err", err)
		case swept != Swept{}:
			c.cfg.Logger.Info("sweep garbage", "parts", swept.Parts, "chunks", swept.Chunks, "bytes", swept.Bytes, "waiting", swept.Waiting)
		}
	}
}

// Sweep goes through the queue once and frees what is due.
func (c *Collector) Sweep(ctx context.Context) (Swept, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	s := sweep{Collector: c, away: map[layout.StoreID]bool{}}
	var last *metadata.Garbage
	for {
		page, err := c.cfg.Queue.Garbage(last, pageEntries)
		if err != nil {
			return s.Swept, err
		}
		due := c.due(page)
		if err := s.free(ctx, due); err != nil {
			return s.Swept, err
		}
		if len(due) < len(page) || len(page) == 0 {
			return s.Swept, nil
		}
		last = &page[len(page)-1]
	}
}

// due returns those at the head of a page whose grace period is over.
func (c *Collector) due(page []metadata.Garbage) []metadata.Garbage {
	now, grace := c.cfg.Queue.Now(), layout.RegistryTime(c.cfg.Grace.Milliseconds())
	for i, g := range page {
		if g.Since+grace > now {
			return page[:i]
		}
	}
	return page
}

// sweep is one way through the queue.
type sweep struct {
	*Collector
	Swept
	piece []claim
	away  map[layout.StoreID]bool // did not answer, and are not asked again this time
}

// claim is a part whose chunks an entry of the queue gives up; an entry for an
// upload without parts has one claim without a part.
type claim struct {
	entry metadata.Garbage
	part  *metadata.Part
}

// free works off entries that are due, a bounded number of parts at a time.
func (s *sweep) free(ctx context.Context, entries []metadata.Garbage) error {
	if len(entries) == 0 {
		return nil
	}
	named, err := s.cfg.Queue.StillNamed(ctx, entries)
	if err != nil {
		return err
	}
	for i, g := range entries {
		if named[i] {
			s.Refused++
			s.cfg.Logger.Error("garbage is named by a record and stays", "upload", g.Upload, "since", g.Since, "sequence", g.Sequence)
			continue
		}
		if err := s.claimEntry(ctx, g); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

func (s *sweep) claimEntry(ctx context.Context, g metadata.Garbage) error {
	if g.Part != nil {
		return s.claim(ctx, claim{g, g.Part})
	}
	for after := -1; ; {
		parts, err := s.cfg.Queue.GarbageParts(g, after, pieceParts)
		if err != nil {
			return err
		}
		if len(parts) == 0 && after < 0 {
			return s.claim(ctx, claim{entry: g})
		}
		for i := range parts {
			if err := s.claim(ctx, claim{g, &parts[i]}); err != nil {
				return err
			}
			after = int(parts[i].Number)
		}
		if len(parts) < pieceParts {
			return nil
		}
	}
}

func (s *sweep) claim(ctx context.Context, c claim) error {
	if s.piece = append(s.piece, c); len(s.piece) < pieceParts {
		return nil
	}
	return s.flush(ctx)
}

// flush deletes the chunks of the piece at hand and has the registry forget the
// parts that have none left. A crash in between only means that the next sweep
// finds them gone.
func (s *sweep) flush(ctx context.Context) error {
	piece := s.piece
	s.piece = nil
	if err := s.dropAll(ctx, piece); err != nil {
		return err
	}
	var freed []metadata.FreedGarbage
	done := 0
	for _, c := range piece {
		if c.part != nil && !s.isGone(c.part.Layout) {
			s.Waiting++
			continue
		}
		if n := len(freed); n == 0 || freed[n-1].Since != c.entry.Since || freed[n-1].Sequence != c.entry.Sequence {
			freed = append(freed, metadata.FreedGarbage{Since: c.entry.Since, Sequence: c.entry.Sequence, Upload: c.entry.Upload})
		}
		if c.part == nil {
			continue
		}
		done++
		if c.entry.Part == nil {
			f := &freed[len(freed)-1]
			f.Parts = append(f.Parts, metadata.FreedPart{Number: c.part.Number, Attempt: c.part.Layout.Attempt})
		}
	}
	if len(freed) == 0 {
		return nil
	}
	if err := s.cfg.Queue.FreeGarbage(ctx, freed); err != nil {
		return err
	}
	s.Parts += done
	for _, c := range piece {
		if c.part != nil && s.isGone(c.part.Layout) {
			delete(s.gone, c.part.Layout.Attempt)
		}
	}
	return nil
}

func (c *Collector) isGone(l layout.Layout) bool {
	return c.gone[l.Attempt] == 1<<len(l.Slots)-1
}
