package repair

import (
	"context"
	"errors"
	"fmt"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/erasure"
)

// A part that was written while stores of its group were away has a narrower
// scheme than others. Once a group is whole again, the part is stored anew, as a
// fresh attempt, and its record is given the new layout; the chunks it had become
// garbage in the same instant. The node that holds its first chunk does it. Should
// two take themselves for that, the record takes the attempt of one.

var (
	errNoWholeGroup = errors.New("no group has all its stores up")
	errOtherBytes   = errors.New("the bytes are not those of the record")
)

// maxNarrow is how many narrow parts a pass holds in memory.
const maxNarrow = 1 << 16

// widening is what one pass over the records does for narrow parts.
type widening struct {
	*Healer
	narrow []metadata.OwnedPart
}

// examine notes a narrow part whose first chunk belongs on this store.
func (w *widening) examine(p metadata.OwnedPart, healed *Healed) {
	view, l := w.cfg.View(), p.Layout
	group, known := view.Group(l.Group)
	if known && l.Narrow(view.Scheme) && group.Slots[l.Slots[0]] == w.cfg.Self {
		healed.Narrow++
		if len(w.narrow) < maxNarrow { // the next pass finds the others
			w.narrow = append(w.narrow, p)
		}
	}
}

// widenAll widens the parts that were noted, as far as that is possible now, and
// for no longer than the pause before a pass: what is missing is more urgent, and
// may have to be found first.
func (w *widening) widenAll(ctx context.Context, healed *Healed) error {
	end := time.Now().Add(w.cfg.Interval)
	for i, p := range w.narrow {
		if i > 0 && time.Now().After(end) {
			return nil
		}
		if err := w.whilePaused(ctx); err != nil {
			return err
		}
		began := time.Now()
		moved, err := w.widen(ctx, p)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			healed.Widened++
			healed.Narrow--
		case errors.Is(err, metadata.ErrPartChanged): // somebody replaced or deleted it, or it is wide already
			healed.Narrow--
		case !errors.Is(err, errNoWholeGroup):
			w.cfg.Logger.Info("part not widened", "upload", p.Upload, "part", p.Number, "err", err)
		}
		if w.unrecorded != nil || errors.Is(err, erasure.ErrBusy) || errors.Is(err, erasure.ErrWriteQuorum) {
			return nil // the next one would fare no better
		}
		if err := w.cfg.Pacer.rest(ctx, began, w.takes(moved)); err != nil {
			return err
		}
	}
	return nil
}

// widen stores a part anew and has its record name what was stored. An earlier
// attempt of which it is not known whether it was recorded comes first.
func (w *widening) widen(ctx context.Context, p metadata.OwnedPart) (moved int64, err error) {
	if x := w.unrecorded; x != nil {
		if err := w.recordWide(ctx, *x); unknown(err) || x.Attempt == p.Layout.Attempt {
			return 0, err
		}
	}
	id, err := w.cfg.Attempt()
	if err != nil {
		return 0, err
	}
	view := w.cfg.View() // after the attempt began: a slot that moves later refuses it
	place, err := layout.Place(view, id, p.Layout.Size)
	if errors.Is(err, layout.ErrNoMargin) || err == nil && place.Scheme != view.Scheme.ForPart(p.Layout.Size) {
		return 0, errNoWholeGroup
	}
	if err != nil {
		return 0, err
	}
	wide := layout.Layout{Attempt: id, Scheme: place.Scheme, Size: p.Layout.Size, Group: place.Group.ID, Slots: place.Slots}
	moved = wide.Size + int64(len(wide.Slots))*wide.Scheme.ChunkSize(wide.Size)
	if wide.Durable, err = w.storeWide(ctx, p, wide); err != nil {
		w.drop(ctx, wide) // nobody has proposed it
		return moved, err
	}
	return moved, w.recordWide(ctx, metadata.WidenedPart{
		PartRef: metadata.PartRef{Upload: p.Upload, Number: p.Number, Attempt: p.Layout.Attempt}, Layout: wide,
	})
}

// storeWide makes all chunks of the new layout durable. A part does not trade a
// chunk for a wider scheme, so fewer are an error.
func (h *Healer) storeWide(ctx context.Context, p metadata.OwnedPart, wide layout.Layout) (durable uint32, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := h.cfg.Pacer.enter(ctx, h.atOnce); err != nil {
		return 0, err
	}
	defer h.cfg.Pacer.leave()
	releaseRead, err := h.cfg.Engine.ReserveRead(ctx, p.Layout.Scheme, p.Layout.Size)
	if err != nil {
		return 0, err
	}
	defer releaseRead()
	releaseWrite, err := h.cfg.Engine.ReserveWrite(ctx, wide.Scheme, wide.Size)
	if err != nil {
		return 0, err
	}
	defer releaseWrite()
	label, err := h.label(ctx, p.Layout, -1)
	if err == nil {
		label, err = h.cfg.Relabel(label, wide)
	}
	if err != nil {
		return 0, err
	}
	r, err := h.cfg.Engine.Open(ctx, h.source(p.Layout), 0, p.Layout.Size)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }() // what was read is verified; nothing else can be lost
	body := h.cfg.Engine.NewEncoder(r)
	defer body.Close()
	chunks, err := body.Write(ctx, h.sink(wide, label))
	if err != nil {
		return 0, err
	}
	defer chunks.Abort() // does nothing once they are committed
	if chunks.Size != p.Layout.Size || !p.Sealed() && metadata.ETag(chunks.MD5) != p.ETag {
		return 0, fmt.Errorf("%w: %d bytes, MD5 %x", errOtherBytes, chunks.Size, chunks.MD5)
	}
	durable, err = chunks.Commit()
	if err == nil && durable != 1<<len(wide.Slots)-1 {
		err = fmt.Errorf("%w: chunks %b are durable", erasure.ErrWriteQuorum, durable)
	}
	return durable, err
}

func (h *Healer) sink(l layout.Layout, label []byte) erasure.Sink {
	return erasure.Sink{
		Scheme: l.Scheme,
		Create: func(ctx context.Context, i int) (erasure.ShardWriter, error) {
			store, err := h.cfg.Holder(l, i)
			if err != nil {
				return nil, err
			}
			return store.Create(ctx, l.Chunk(i), label)
		},
	}
}

// recordWide proposes a layout whose chunks are durable. While the outcome is not
// known it stays in mind, to be proposed again before anything else is widened.
func (h *Healer) recordWide(ctx context.Context, x metadata.WidenedPart) error {
	h.unrecorded = &x
	err := h.cfg.Records.Widen(ctx, x)
	if unknown(err) {
		return err
	}
	h.unrecorded = nil
	if errors.Is(err, metadata.ErrPartChanged) || errors.Is(err, metadata.ErrSlotsMoved) {
		h.drop(ctx, x.Layout) // it is not recorded and never will be
	}
	return err
}

// unknown reports whether a proposal that failed may have been, or may yet be,
// taken.
func unknown(err error) bool {
	return err != nil && !errors.Is(err, metadata.ErrPartChanged) && !errors.Is(err, metadata.ErrSlotsMoved) &&
		!errors.Is(err, metadata.ErrAttemptFenced) && !errors.Is(err, metadata.ErrInvalid)
}

// dropTime bounds the clean-up after an attempt. What it leaves are orphans.
const dropTime = 10 * time.Second

// drop deletes the chunks of an attempt that no record can name, but for those
// that are yet to come.
func (h *Healer) drop(ctx context.Context, l layout.Layout) {
	ctx, cancel := context.WithTimeout(ctx, dropTime)
	defer cancel()
	for i := range l.Slots {
		store, err := h.cfg.Holder(l, i)
		if err == nil {
			err = store.Delete(ctx, l.Chunk(i))
		}
		if err != nil && !errors.Is(err, chunkstore.ErrNotFound) {
			h.cfg.Logger.Info("chunk of an attempt stays for now", "chunk", l.Chunk(i), "err", err)
		}
	}
}
