package chunkstore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"partstore/internal/layout"
)

// sparse reports whether a segment wastes most of its room and is better
// written anew: only where holes give nothing back. The caller holds d.mu.
func (d *Disk) sparse(s *segment) bool {
	return !d.can.punch && s.sealed && s.live > 0 && 2*s.live < int64(s.next)
}

// manyShort is how many short segments, which restarts leave, are put up with.
const manyShort = 16

// shortSegments returns the segments that are worth being written together.
func (d *Disk) shortSegments() []*segment {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var short []*segment
	for _, s := range d.segments {
		if s.sealed && s.live > 0 && s.next < d.segmentUnits/8 {
			short = append(short, s)
		}
	}
	if len(short) < manyShort {
		return nil
	}
	return short
}

// compact moves the chunks of a segment elsewhere, until nothing is left in it.
func (d *Disk) compact(s *segment) {
	d.mu.RLock()
	var chunks []layout.ChunkID
	d.index.all(func(e entry, table []place) {
		inside := func(p place) bool { return p.segment == s.number }
		if inside(e.at) || slices.ContainsFunc(table, inside) {
			chunks = append(chunks, e.id)
		}
	})
	d.mu.RUnlock()
	for _, id := range chunks {
		if d.closing.Err() != nil {
			return
		}
		if err := d.move(d.closing, id); err != nil && !errors.Is(err, ErrNotFound) {
			// A damaged chunk stays where it is, for others to find.
			d.log.Info("a chunk could not be moved", "chunk", id, "segment", segmentName(s.number), "err", err)
			if !errors.Is(err, ErrCorrupt) {
				return
			}
		}
	}
}

// move writes a chunk anew, frame by frame as it is, and kills the old copy
// before anybody can delete the new one.
func (d *Disk) move(ctx context.Context, id layout.ChunkID) error {
	old, err := d.condemn(id)
	if err != nil {
		return err
	}
	defer d.unclaim(id)
	c, err := d.acquire(id)
	if err != nil {
		return err
	}
	defer c.release()
	label, err := c.label()
	if err != nil {
		return err
	}
	w := d.newWriter(ctx, id, label)
	defer w.Abort()
	w.moving = true
	buf := make([]byte, MaxFrameSize)
	for n := range blockCount(c.size) {
		at, offset := c.locate(n)
		s, err := c.segment(at.segment)
		if err != nil {
			return err
		}
		frame := buf[:min(layout.BlockSize, c.size-n*layout.BlockSize)+ChecksumSize]
		if err := s.readAt(frame, at.offset()+offset); err != nil {
			return err
		}
		if err := w.writeRaw(frame); err != nil {
			return err
		}
	}
	if err := w.Commit(); err != nil {
		return err
	}
	t := tombstone{id, old.at.segment, old.sequence}
	if err := d.entomb(t); err != nil {
		d.haunt(t)
		return err
	}
	for _, s := range w.emptied {
		d.drop(s)
	}
	return nil
}

// span is a stretch of a segment.
type span struct{ start, end uint32 }

// maxWaste is how many units more than it should a segment may take on the
// drive: file systems need some for themselves.
const maxWaste = 16

// reclaim gives the room back that a crash left taken: of chunks that were
// never committed, and of chunks that were deleted but not punched out.
func (d *Disk) reclaim() {
	if !d.can.punch {
		return
	}
	wasteful := map[uint32][]span{}
	for _, s := range d.segments {
		info, err := d.fs.Stat(s.path)
		if err != nil {
			continue
		}
		needed := s.live + 1 + max(0, info.Size/unitSize-int64(s.next)) // chunks, header and footer
		if info.Allocated > (needed+maxWaste)*unitSize {
			wasteful[s.number] = []span{{s.next, s.next}}
		}
	}
	if len(wasteful) == 0 {
		return
	}
	use := func(p place, units uint32) {
		if spans := wasteful[p.segment]; spans != nil {
			wasteful[p.segment] = append(spans, span{p.unit, p.unit + units})
		}
	}
	d.index.all(func(e entry, table []place) {
		use(e.at, e.units())
		for _, p := range table {
			use(p, pieceUnits)
		}
	})
	for number, spans := range wasteful {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
		free := uint32(1)
		for _, used := range spans {
			if used.start > free {
				d.punch(place{number, free}, used.start)
			}
			free = max(free, used.end)
		}
	}
	d.log.Info("room that a crash left taken is free", "segments", len(wasteful))
}
