package repair

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/erasure"
)

// PartRecords is what a Healer needs of the registry.
type PartRecords interface {
	AllParts(after *metadata.OwnedPart, limit int) ([]metadata.OwnedPart, error)
	Garbage(after *metadata.Garbage, limit int) ([]metadata.Garbage, error)
	PartRows(id layout.UploadID, after, limit int) ([]metadata.Part, error)
	RecordDurable(ctx context.Context, chunks []metadata.DurableChunk) ([]bool, error)
	SettleSlot(ctx context.Context, s metadata.SettledSlot) error
	Widen(ctx context.Context, w metadata.WidenedPart) error
	RepairPolicy() (metadata.RepairPolicy, error)
}

// HealerConfig says how to heal the chunks of one store. All fields but Pacer, AtOnce
// and Quiet are required.
type HealerConfig struct {
	Records PartRecords
	Engine  *erasure.Engine
	Self    layout.StoreID
	Store   chunkstore.Replacer // the node's own
	// View is what the node believes of groups and stores.
	View func() *layout.View
	Holders
	// Topology reads the registry's, as a fact.
	Topology func(ctx context.Context) (metadata.Topology, error)
	// Attempt returns the ID of a fresh attempt of this node.
	Attempt func() (layout.AttemptID, error)
	// Relabel makes the label of a part's chunks that of its chunks in another
	// layout.
	Relabel func(label []byte, l layout.Layout) ([]byte, error)
	// Now is registry time, and Grace how long after a slot was settled readers
	// may still ask its former holder.
	Now   func() layout.RegistryTime
	Grace time.Duration
	// Interval is the pause before each pass over the records, if no slot
	// waits for the store to settle it.
	Interval time.Duration
	// Bandwidth is how many bytes are moved a second, as Moved counts them, unless the
	// policy in the registry says otherwise.
	Bandwidth int64
	// Pacer is shared by the healers that keep to one bandwidth together. Nil: no
	// other does.
	Pacer *Pacer
	// AtOnce is how many chunks a pass heals at a time: one alone waits most of its
	// time, for other nodes and for the drive. 0: 8.
	AtOnce int
	// Quiet reports whether no client waits for the node; a pass then heals up to
	// four times as many small chunks at a time. Nil: it never is.
	Quiet func() bool
	// Tell hears of changes an operator may want to know of: the kind of an
	// event and a reason. It must not block.
	Tell   func(kind, reason string)
	Logger *slog.Logger
}

// Healer makes the chunks whole that the records want on one store, and widens the
// parts that have their first chunk there. Only the node of that store runs one, so
// no two heal the same chunk. What it does can end at any point: the next pass finds
// what is left to do in the records and on the drive. It is safe for concurrent use.
type Healer struct {
	cfg  HealerConfig
	turn sync.Mutex      // one pass at a time
	work sync.RWMutex    // held for reading while chunks are healed, and alone while any are let go
	same [256]sync.Mutex // held while a chunk whose attempt ends in that byte is healed: no two heal one

	unrecorded *metadata.WidenedPart // proposed, and the outcome is not known. Guarded by turn

	restoring stopwatch

	mu   sync.Mutex
	last Healed
	sum  Healed // of all passes
}

// Healed is what one pass over the records did.
type Healed struct {
	Chunks   int `json:"chunks"`   // of the store, by the records
	Recorded int `json:"recorded"` // were there and whole, and the record did not say so
	Rebuilt  int `json:"rebuilt"`
	Left     int `json:"left"`    // could not be healed now
	Copied   int `json:"copied"`  // of Rebuilt, from the former holder of their slot
	Settled  int `json:"settled"` // slots of which the store has all chunks since
	LetGo    int `json:"let_go"`  // chunks deleted that are another store's by now
	Narrow   int `json:"narrow"`  // parts with the first chunk on the store that are narrow still
	Widened  int `json:"widened"` // those that are no more
}

// NewHealer returns a Healer that does nothing before Run or Sweep.
func NewHealer(cfg HealerConfig) *Healer {
	if cfg.Pacer == nil {
		cfg.Pacer = &Pacer{}
	}
	if cfg.AtOnce == 0 {
		cfg.AtOnce = 8
	}
	if cfg.Quiet == nil {
		cfg.Quiet = func() bool { return false }
	}
	return &Healer{cfg: cfg}
}

const (
	healPage = 256  // part rows looked at together
	maxSick  = 4096 // chunks put into an order of urgency together
)

// Last returns what the last complete pass did, and what all have done.
func (h *Healer) Last() (last, sum Healed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, h.sum
}

// Run makes one pass after the other until ctx ends.
func (h *Healer) Run(ctx context.Context) error {
	pause := time.Duration(0) // after a pass for slots that wait, before the next
	for {
		if h.await(ctx, pause) != nil {
			return nil
		}
		began := time.Now()
		healed, err := h.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			h.cfg.Logger.Info("heal", "err", err)
		case healed.Recorded+healed.Rebuilt+healed.Left+healed.Settled+healed.LetGo+healed.Narrow+healed.Widened > 0:
			h.cfg.Logger.Info("heal", "chunks", healed.Chunks, "recorded", healed.Recorded, "rebuilt", healed.Rebuilt, "left", healed.Left,
				"copied", healed.Copied, "settled", healed.Settled, "let_go", healed.LetGo, "narrow", healed.Narrow, "widened", healed.Widened)
		}
		if pause = time.Since(began); healed.Settled+healed.Rebuilt > 0 {
			pause = 0 // slots that came meanwhile wait
		}
	}
}

// Sweep makes one pass over the records. It rests between pages, so that it takes
// little of the node, or half a core while slots wait for the store: their parts lack
// a chunk. What it did before an error stays done.
func (h *Healer) Sweep(ctx context.Context) (Healed, error) {
	h.turn.Lock()
	defer h.turn.Unlock()
	var healed Healed
	discarded, err := ReadDiscards(h.cfg.Records.Garbage)
	if err != nil {
		return healed, err
	}
	a, w := h.arriving(), &widening{Healer: h}
	factor := time.Duration(restFactor)
	if len(a.waiting) > 0 {
		factor = 1
	}
	var list []sick
	for last := (*metadata.OwnedPart)(nil); ; {
		if err := h.whilePaused(ctx); err != nil {
			return healed, err
		}
		began := time.Now()
		page, err := h.cfg.Records.AllParts(last, healPage)
		if err != nil {
			return healed, err
		}
		for _, p := range page {
			if !discarded.Has(p) {
				list = h.examine(ctx, list, p, &healed)
				w.examine(p, &healed)
			}
			a.examine(ctx, p.Layout)
		}
		if len(page) == 0 || len(list) >= maxSick {
			if err := h.healAll(ctx, list, a, &healed); err != nil {
				return healed, err
			}
			if err := a.letGo(ctx, &healed); err != nil {
				return healed, err
			}
			list, began = nil, time.Now()
		}
		if len(page) == 0 {
			a.settle(ctx, &healed)
			if err := w.widenAll(ctx, &healed); err != nil { // last: nothing is missing of a narrow part
				return healed, err
			}
			h.finished(healed)
			return healed, nil
		}
		last = &page[len(page)-1]
		if err := rest(ctx, factor*time.Since(began)); err != nil {
			return healed, err
		}
	}
}

// finished tells of a complete pass and counts it.
func (h *Healer) finished(healed Healed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(h.last, healed)
	h.last = healed
	h.sum.Recorded, h.sum.Rebuilt, h.sum.Widened = h.sum.Recorded+healed.Recorded, h.sum.Rebuilt+healed.Rebuilt, h.sum.Widened+healed.Widened
	h.sum.Copied, h.sum.Settled, h.sum.LetGo = h.sum.Copied+healed.Copied, h.sum.Settled+healed.Settled, h.sum.LetGo+healed.LetGo
}

// tell tells what a complete pass changed since the last one.
func (h *Healer) tell(last, now Healed) {
	if now.Rebuilt > 0 {
		h.cfg.Tell(metadata.EventRebuilt, fmt.Sprintf("%d of %d chunks were missing or damaged and are rebuilt", now.Rebuilt, now.Chunks))
	}
	if now.Widened > 0 {
		h.cfg.Tell(metadata.EventWidened, fmt.Sprintf("%d parts were written while stores were away, and have the full scheme now; %d wait", now.Widened, now.Narrow))
	}
	switch {
	case now.Left > 0 && last.Left == 0:
		h.cfg.Tell(metadata.EventHealBlocked, fmt.Sprintf("%d of %d chunks cannot be healed now", now.Left, now.Chunks))
	case now.Left == 0 && last.Left > 0:
		h.cfg.Tell(metadata.EventHealClear, "no chunk is left that cannot be healed")
	}
}
