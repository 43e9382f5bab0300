package chunkstore

import (
	"errors"
	"slices"
	"sync"

	"partstore/internal/layout"
)

// lane appends to one growing segment. A store has two, so that the batches of
// short chunks do not wait for the data of long ones.
type lane struct {
	disk    *Disk
	commits batcher[*record]

	mu      sync.Mutex // guards reservations
	segment *segment   // nil until the first
}

// record is a chunk about to be committed.
type record struct {
	header
	label    []byte
	table    []place
	buf      []byte     // the record, but for its header's checksum; whole units
	segments []*segment // of the pieces
	moving   bool       // the chunk lies elsewhere so far
	emptied  []*segment // by the move
	at       place
}

// reserve finds room for so many units at the end of a lane's segment, or
// begins another. The caller has a use of the segment until release.
func (l *lane) reserve(units uint32) (*segment, uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.segment; s != nil && s.next+units > l.disk.segmentUnits {
		l.segment = nil
		l.disk.release(s)
	}
	if l.segment == nil {
		s, err := l.disk.addSegment()
		if err != nil {
			return nil, 0, l.disk.writeError(err)
		}
		s.users.Store(1)
		l.segment = s
	}
	s := l.segment
	if err := l.disk.allocate(s, s.next+units); err != nil {
		return nil, 0, l.disk.writeError(err)
	}
	unit := s.next
	s.next += units
	s.users.Add(1)
	return s, unit, nil
}

// allocateUnits is how much room is taken from the drive at a time.
const allocateUnits = 16 << 20 / unitSize

// allocate makes sure that a segment has room up to a unit, where that pays.
func (d *Disk) allocate(s *segment, end uint32) error {
	if !d.can.allocate || end <= s.allocated {
		return nil
	}
	to := min(max(end, s.allocated+allocateUnits), max(end, d.segmentUnits))
	if err := s.writer.Allocate(int64(s.allocated)*unitSize, int64(to)*unitSize); err != nil {
		return err
	}
	s.allocated = to
	return nil
}

// close has the lane's segment sealed.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.segment != nil {
		l.disk.release(l.segment)
		l.segment = nil
	}
}

// run is a run of records that lie one behind the other.
type run struct {
	segment *segment
	unit    uint32
	records []*record
	buffers [][]byte
}

// write makes records durable with one sync, and visible.
func (l *lane) write(records []*record) error {
	d := l.disk
	if err := d.writable(); err != nil {
		return err
	}
	runs, err := l.place(records)
	defer func() {
		for _, r := range runs {
			d.release(r.segment)
		}
	}()
	if err != nil {
		return err
	}
	var segments []*segment
	for _, r := range runs {
		if err := r.segment.writer.WriteBuffers(r.buffers, int64(r.unit)*unitSize); err != nil {
			return d.writeError(err)
		}
		segments = append(segments, r.segment)
	}
	for _, r := range records {
		for _, s := range r.segments {
			if !slices.Contains(segments, s) {
				segments = append(segments, s)
			}
		}
	}
	if err := d.syncAll(segments); err != nil {
		return err
	}
	d.show(runs)
	return nil
}

// place finds room for records. The caller releases the runs' segments, also
// after an error.
func (l *lane) place(records []*record) (runs []*run, err error) {
	var last *run
	for _, r := range records {
		s, unit, err := l.reserve(r.units())
		if err != nil {
			return runs, err
		}
		if last == nil || last.segment != s || last.unit+unitsOf(last.buffers) != unit {
			last = &run{segment: s, unit: unit}
			runs = append(runs, last)
		} else {
			l.disk.release(s) // one use per run is enough
		}
		r.at = place{s.number, unit}
		r.sequence = l.disk.sequence.Add(1)
		r.encode(r.buf[len(r.buf)-headerSize:], s.salt, unit)
		last.records = append(last.records, r)
		last.buffers = append(last.buffers, r.buf)
	}
	return runs, nil
}

func unitsOf(buffers [][]byte) (units uint32) {
	for _, b := range buffers {
		units += uint32(len(b) / unitSize)
	}
	return units
}

// syncAll makes segments durable. It is the only way to do so: once the store
// is fenced nothing is tried any more, because a sync after a failed one
// proves nothing.
func (d *Disk) syncAll(segments []*segment) error {
	for _, s := range segments {
		if err := d.Fenced(); err != nil {
			return err
		}
		if err := s.writer.Sync(); err != nil {
			return d.raiseFence(err)
		}
	}
	return d.checkNames(segments)
}

// checkNames makes sure that what was written can be found: a directory that
// was taken away goes on taking writes through open files.
func (d *Disk) checkNames(segments []*segment) error {
	for _, s := range segments {
		if _, err := d.fs.Stat(s.path); err != nil {
			return errors.Join(ErrUnavailable, err)
		}
	}
	return nil
}

// show makes durable records visible.
func (d *Disk) show(runs []*run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, run := range runs {
		for _, r := range run.records {
			e := entry{r.header, r.at}
			if r.moving {
				r.emptied = d.hide(r.id)
			}
			run.segment.records = append(run.segment.records, r.id)
			d.index.put(e, r.table)
			d.count(e, r.table, 1)
		}
	}
}

// count adds the units of a chunk to its segments' live ones, or takes them
// away if sign is -1. It returns segments that have none left. The caller
// holds d.mu.
func (d *Disk) count(e entry, table []place, sign int64) (emptied []*segment) {
	add := func(number uint32, units int64) {
		s := d.segments[number]
		if s == nil {
			return // lost; what is read of it is corrupt
		}
		s.live += sign * units
		d.liveUnits += sign * units
		if s.live == 0 && s.sealed {
			emptied = append(emptied, s)
		}
	}
	add(e.at.segment, int64(e.units()))
	for _, p := range table {
		add(p.segment, pieceUnits)
	}
	return emptied
}

// hide takes a chunk out of the index and returns the segments that it leaves
// empty. The caller holds d.mu.
func (d *Disk) hide(id layout.ChunkID) (emptied []*segment) {
	e, found := d.index.find(id)
	if !found {
		return nil
	}
	emptied = d.count(e, d.index.table(e), -1)
	d.index.remove(id)
	return emptied
}
