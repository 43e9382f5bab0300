package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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

// HealerConfig says how to heal the chunks of one store. All fields but Pacer and AtOnce
// are required.
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

// sick is a chunk of this store that is not what its record wants, or of which
// the record does not know that it is.
type sick struct {
	part  metadata.OwnedPart
	index int
	epoch uint32
	good  int // other chunks of the part that seem to be there
}

func (s sick) slot() slotID { return slotID{s.part.Layout.Group, s.part.Layout.Slots[s.index]} }

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

// pausePoll is how soon the end of a pause is noticed.
const pausePoll = time.Second

// whilePaused waits until the operator allows healing.
func (h *Healer) whilePaused(ctx context.Context) error {
	for {
		p, err := h.cfg.Records.RepairPolicy()
		if err != nil || !p.Paused {
			return err
		}
		if err := rest(ctx, pausePoll); err != nil {
			return err
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Discards are the uploads whose chunks are garbage, and so not to be healed, but
// for the parts that an object names. They only save work: a record that is gone
// cannot be made to name anything.
type Discards map[layout.UploadID]metadata.PartSet

// Has reports whether the chunks of a part are garbage.
func (d Discards) Has(p metadata.OwnedPart) bool {
	kept, found := d[p.Upload]
	return found && !kept.Has(p.Number)
}

// ReadDiscards reads them from the garbage queue, which list lists.
func ReadDiscards(list func(after *metadata.Garbage, limit int) ([]metadata.Garbage, error)) (Discards, error) {
	uploads := Discards{}
	for last := (*metadata.Garbage)(nil); ; {
		page, err := list(last, pageEntries)
		if err != nil || len(page) == 0 {
			return uploads, err
		}
		for _, g := range page {
			if g.Part == nil {
				uploads[g.Upload] = g.Kept
			}
		}
		last = &page[len(page)-1]
	}
}

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

func (h *Healer) verify(ctx context.Context, l layout.Layout, i int) error {
	return Verify(ctx, h.cfg.Store, l.Chunk(i), l.Scheme.ChunkSize(l.Size))
}

// Verify looks at all of a chunk: header and label, every block, and whether it
// is as long as its record wants. Damage of any kind is ErrCorrupt.
func Verify(ctx context.Context, s chunkstore.Store, id layout.ChunkID, want int64) (err error) {
	if _, err := s.Stat(ctx, id); err != nil {
		return err
	}
	r, err := s.Open(ctx, id, 0, -1)
	if err != nil {
		return err
	}
	return errors.Join(readWhole(r, id, want, func([]byte) error { return nil }), r.Close())
}

// readWhole hands on each block of a chunk and checks its length at the end; the
// reader checks the rest.
func readWhole(r chunkstore.Reader, id layout.ChunkID, want int64, block func([]byte) error) error {
	buf := make([]byte, layout.BlockSize)
	var size int64
	for {
		n, err := r.Next(buf)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = block(buf[:n])
		}
		if err != nil {
			return err
		}
		size += int64(n)
	}
	if size != want {
		return fmt.Errorf("chunk %s has %d bytes, its record wants %d: %w", id, size, want, chunkstore.ErrCorrupt)
	}
	return nil
}

// rebuild makes a chunk anew from the others.
func (h *Healer) rebuild(ctx context.Context, l layout.Layout, i int, start starter) error {
	label, err := h.label(ctx, l, i)
	if err != nil {
		return err
	}
	return h.write(ctx, l, i, label, start, func(w chunkstore.Writer) error {
		return h.cfg.Engine.Rebuild(ctx, h.source(l), i, h.paced(ctx, w, movedPerByte(l.Scheme, false)))
	})
}

// write makes a chunk durable and reads it back.
func (h *Healer) write(ctx context.Context, l layout.Layout, i int, label []byte, start starter, fill func(chunkstore.Writer) error) error {
	w, err := start(ctx, l.Chunk(i), label)
	if err != nil {
		return err
	}
	defer w.Abort() // does nothing once it is committed
	if err := fill(w); err != nil {
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
