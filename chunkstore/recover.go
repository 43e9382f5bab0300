package chunkstore

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// recover makes the index from what is on the drive: footers where there are
// any, whole segments where not, less what has a tombstone. Everything it lets
// count it makes durable: a chunk that was shown once must not vanish with the
// next power loss.
func (d *Disk) recover() error {
	tombstones, damaged, err := readTombstones(d.fs, d.cfg.Dir)
	if err != nil {
		return err
	}
	d.graves.end = int64(len(tombstones)+damaged) * tombstoneSize
	if damaged > 0 {
		d.log.Error("tombstones are damaged; deleted chunks may be back", "count", damaged)
	}
	dead := make(map[uint64]bool, len(tombstones))
	for _, t := range tombstones {
		dead[t.sequence] = true
		d.lastSegment = max(d.lastSegment, t.segment)
		d.sequence.Store(max(d.sequence.Load(), t.sequence))
	}
	scans, err := d.scanSegments(dead)
	if err != nil {
		return err
	}
	var found, loose []foundChunk
	for _, s := range scans {
		found, loose = append(found, s.sealed...), append(loose, s.loose...)
	}
	whole, err := d.wholeOf(loose)
	if err != nil {
		return err
	}
	found, doubles := newest(append(found, whole...))
	d.index = buildIndex(found)
	d.index.all(func(e entry, table []place) {
		d.sequence.Store(max(d.sequence.Load(), e.sequence))
		d.count(e, table, 1)
	})
	if d.Fenced() != nil {
		return nil
	}
	return d.settle(scans, tombstones, doubles)
}

// wholeOf returns the chunks of which nothing is missing. The others were never
// acknowledged, or have been damaged since; either way they are not there.
func (d *Disk) wholeOf(loose []foundChunk) ([]foundChunk, error) {
	whole := make([]bool, len(loose))
	err := each(len(loose), func(i int) error {
		err := d.verify(&loose[i])
		if errors.Is(err, ErrCorrupt) {
			d.log.Info("a chunk that is not whole does not count", "chunk", loose[i].id, "err", err)
			return nil
		}
		whole[i] = err == nil
		return err
	})
	var kept []foundChunk
	for i, c := range loose {
		if whole[i] {
			kept = append(kept, c)
		}
	}
	return kept, err
}

// newest puts chunks in order and keeps one of each ID: a move that was cut
// short leaves two.
func newest(found []foundChunk) (kept []foundChunk, doubles []tombstone) {
	slices.SortFunc(found, func(a, b foundChunk) int {
		if c := a.id.Compare(b.id); c != 0 || a.sequence == b.sequence {
			return c
		}
		if a.sequence > b.sequence {
			return -1
		}
		return 1
	})
	kept = slices.CompactFunc(found, func(a, b foundChunk) bool {
		if a.id != b.id {
			return false
		}
		if b.sequence != a.sequence {
			doubles = append(doubles, tombstone{b.id, b.at.segment, b.sequence})
		}
		return true
	})
	return kept, doubles
}

// settle makes what recover found durable and the store ready for writes.
func (d *Disk) settle(scans []*scan, tombstones, doubles []tombstone) error {
	if err := d.probe(); err != nil {
		return d.openError(d.writeError(err))
	}
	if err := d.syncDir(d.segmentsDir()); err != nil {
		return d.openError(err)
	}
	for _, s := range scans {
		if !s.unsealed || d.Fenced() != nil {
			continue
		}
		if err := d.syncSegment(s.segment); err != nil {
			return d.openError(err)
		}
	}
	needed := slices.DeleteFunc(slices.Concat(tombstones, doubles), func(t tombstone) bool { return !d.exists(t.segment) })
	err := d.graves.rewrite(needed)
	if isFull(err) {
		err = d.graves.keep(tombstones, doubles)
	}
	if err != nil {
		return d.openError(d.graveError(err))
	}
	d.findEnds(scans)
	for _, s := range scans {
		if s.unsealed || s.segment.live == 0 {
			d.seal(s.segment)
		}
	}
	d.reclaim()
	for _, s := range d.shortSegments() {
		d.keeper.add(func() { d.compact(s) })
	}
	return nil
}

// openError lets a store open that fenced itself while it was being opened.
func (d *Disk) openError(err error) error {
	if d.Fenced() != nil {
		return nil
	}
	return err
}

func (d *Disk) syncSegment(s *segment) error {
	f, err := d.fs.OpenWrite(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return d.raiseFence(err)
	}
	return nil
}

// findEnds finds out where what counts of each unsealed segment ends.
func (d *Disk) findEnds(scans []*scan) {
	ends := map[uint32]*segment{}
	for _, s := range scans {
		if s.unsealed {
			s.segment.next = 1
			ends[s.segment.number] = s.segment
		}
	}
	reach := func(p place, units uint32) {
		if s := ends[p.segment]; s != nil {
			s.next = max(s.next, p.unit+units)
		}
	}
	d.index.all(func(e entry, table []place) {
		reach(e.at, e.units())
		for _, p := range table {
			reach(p, pieceUnits)
		}
	})
}

// scan is what one segment holds.
type scan struct {
	segment  *segment
	sealed   []foundChunk // from the footer
	unsealed bool         // there is no sound footer
	strange  bool         // there is no sound header, and yet there is something
	loose    []foundChunk // of an unsealed segment: headers that are sound; the rest has to be verified
}

// scanSegments reads all segments, several at a time, and enters them.
func (d *Disk) scanSegments(dead map[uint64]bool) ([]*scan, error) {
	entries, err := d.fs.ReadDir(d.segmentsDir())
	if err != nil {
		return nil, err
	}
	var scans []*scan
	for _, e := range entries {
		if number, ok := parseSegmentName(e.Name); ok {
			scans = append(scans, &scan{segment: d.segment(number)})
			d.lastSegment = max(d.lastSegment, number)
		}
	}
	if err := each(len(scans), func(i int) error { return scans[i].read(dead) }); err != nil {
		return nil, err
	}
	for _, s := range scans {
		if s.strange {
			d.log.Error("segment is damaged; it is left alone", "segment", segmentName(s.segment.number))
			d.strange[s.segment.number] = true
			continue
		}
		d.segments[s.segment.number] = s.segment
		s.segment.sealed = !s.unsealed
		for _, c := range s.loose {
			s.segment.records = append(s.segment.records, c.id)
		}
	}
	return slices.DeleteFunc(scans, func(s *scan) bool { return s.strange }), nil
}

// read finds the chunks of a segment that have no tombstone.
func (s *scan) read(dead map[uint64]bool) error {
	s.segment.acquire()
	defer s.segment.release()
	err := s.readHeader()
	switch {
	case errors.Is(err, ErrCorrupt):
		// A header is durable before anything follows it.
		s.unsealed = true
		s.strange, err = s.hasContent()
	case err == nil:
		if err = s.readFooter(); errors.Is(err, ErrCorrupt) {
			s.unsealed = true
			err = s.readRecords()
		}
	}
	if err != nil {
		return fmt.Errorf("segment %s: %w", segmentName(s.segment.number), err)
	}
	isDead := func(c foundChunk) bool { return dead[c.sequence] }
	s.sealed = slices.DeleteFunc(s.sealed, isDead)
	s.loose = slices.DeleteFunc(s.loose, isDead)
	return nil
}

// readHeader reads the first of two copies that is sound.
func (s *scan) readHeader() error {
	b := make([]byte, unitSize)
	if err := s.segment.readAt(b, 0); err != nil {
		return err
	}
	h, err := parseSegmentHeader(b[:headerSize])
	if errors.Is(err, ErrCorrupt) {
		h, err = parseSegmentHeader(b[unitSize-headerSize:])
	}
	if err != nil {
		return err
	}
	if h.number != s.segment.number || h.store != s.segment.store {
		return fmt.Errorf("it is segment %s of store %s: %w", segmentName(h.number), h.store, ErrCorrupt)
	}
	s.segment.segmentHeader = h
	return nil
}

// units is the length of the segment's file in whole units.
func (s *scan) units() (uint32, error) {
	info, err := s.segment.fs.Stat(s.segment.path)
	if err != nil {
		return 0, err
	}
	if units := info.Size / unitSize; units < 1<<32 {
		return uint32(units), nil
	}
	return 0, fmt.Errorf("file of %d bytes: %w", info.Size, ErrCorrupt)
}

func (s *scan) readFooter() error {
	units, err := s.units()
	if err != nil {
		return err
	}
	b := make([]byte, headerSize)
	if err := s.segment.readAt(b, int64(units)*unitSize-headerSize); err != nil {
		return err
	}
	end, err := parseFooterEnd(b, s.segment.segmentHeader, units)
	if err != nil {
		return err
	}
	body := make([]byte, end.body)
	if err := s.segment.readAt(body, int64(end.unit)*unitSize); err != nil {
		return err
	}
	s.segment.next = end.unit
	s.sealed, err = parseFooterBody(body, end, s.segment.number)
	return err
}

// scanWindow is how much of a segment is read at a time.
const scanWindow = 256 * unitSize

// readRecords looks for the header of a record at the end of every unit. Where
// no record ends, a payload would have to guess the segment's salt to look
// like one.
func (s *scan) readRecords() error {
	units, err := s.units()
	if err != nil {
		return err
	}
	return s.eachUnit(1, units, func(unit uint32, b []byte) error {
		h, first, err := parseHeader(b[unitSize-headerSize:], s.segment.salt, unit)
		if err == nil {
			s.loose = append(s.loose, foundChunk{entry: entry{h, place{s.segment.number, first}}})
		}
		if errors.Is(err, ErrCorrupt) {
			return nil
		}
		return err
	})
}

// hasContent reports whether anything but zeros is in the file.
func (s *scan) hasContent() (found bool, err error) {
	units, err := s.units()
	if err != nil {
		return false, err
	}
	err = s.eachUnit(0, units, func(_ uint32, b []byte) error {
		found = found || len(bytes.TrimLeft(b, "\x00")) > 0
		return nil
	})
	return found, err
}

// eachUnit reads the units from start to end. Those that cannot be read are
// left out.
func (s *scan) eachUnit(start, end uint32, f func(unit uint32, b []byte) error) error {
	buf := make([]byte, scanWindow)
	for unit := start; unit < end; {
		window := buf[:min(scanWindow, int64(end-unit)*unitSize)]
		err := s.segment.readAt(window, int64(unit)*unitSize)
		if errors.Is(err, ErrCorrupt) && len(window) > unitSize {
			if err := s.eachUnit(unit, unit+1, f); err != nil {
				return err
			}
			unit++
			continue
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		for ; len(window) > 0; window, unit = window[unitSize:], unit+1 {
			if err != nil {
				continue
			}
			if err := f(unit, window[:unitSize]); err != nil {
				return err
			}
		}
	}
	return nil
}

// verify reads all of a chunk whose header was found and completes it with its
// table. An error that does not wrap ErrCorrupt says nothing about the chunk.
func (d *Disk) verify(found *foundChunk) error {
	c := chunk{entry: found.entry}
	defer c.release()
	c.add(d.segments[c.at.segment])
	buffer := stagingPool.Get().(*[stagingSize]byte)
	defer stagingPool.Put(buffer)
	record := buffer[:int64(c.units())*unitSize]
	if err := c.read(record, c.at); err != nil {
		return err
	}
	table, _, err := c.parseTail(record[int64(len(record))-c.tail():])
	if err != nil {
		return err
	}
	seal, blocks := NewSeal(c.id), int64(len(table))*pieceBlocks
	if err := verifyFrames(seal, blocks, record[:c.frames()]); err != nil {
		return err
	}
	c.table = table
	c.addPieces(d.segments)
	for i, at := range table {
		piece := buffer[:pieceSize]
		if err := c.read(piece, at); err != nil {
			return err
		}
		if err := verifyFrames(seal, int64(i)*pieceBlocks, piece); err != nil {
			return err
		}
	}
	found.table = table
	return nil
}

// read reads what begins at a place.
func (c *chunk) read(b []byte, at place) error {
	s, err := c.segment(at.segment)
	if err != nil {
		return err
	}
	return s.readAt(b, at.offset())
}

// verifyFrames checks frames that lie one behind the other, from block number n on.
func verifyFrames(seal Seal, n int64, frames []byte) error {
	for frame := range slices.Chunk(frames, MaxFrameSize) {
		if _, err := seal.Payload(n, frame); err != nil {
			return err
		}
		n++
	}
	return nil
}

// each calls f for 0 to n-1, several at a time, and joins the errors.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, 2*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
