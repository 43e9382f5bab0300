package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"partstore/internal/layout"
)

// Delete implements Store.
func (d *Disk) Delete(ctx context.Context, id layout.ChunkID) error {
	if err := d.delete(ctx, id); err != nil {
		return fmt.Errorf("delete chunk %s: %w", id, err)
	}
	return nil
}

func (d *Disk) delete(ctx context.Context, id layout.ChunkID) error {
	if err := errors.Join(ctx.Err(), d.Fenced()); err != nil {
		return err
	}
	e, err := d.condemn(id)
	if err != nil {
		return err
	}
	defer d.unclaim(id)
	if err := d.entomb(tombstone{id, e.at.segment, e.sequence}); err != nil {
		return err
	}
	d.forget(e)
	return nil
}

// condemn finds a chunk and claims it, so that nobody else moves or deletes it.
// Whoever is doing so is waited for: only then is it known what becomes of it.
func (d *Disk) condemn(id layout.ChunkID) (entry, error) {
	d.mu.Lock()
	e, found := d.index.find(id)
	for found && d.claimed[id] {
		d.unclaimed.Wait()
		e, found = d.index.find(id)
	}
	if found {
		d.claimed[id] = true
	}
	d.mu.Unlock()
	if !found {
		return entry{}, d.absent()
	}
	return e, nil
}

// exists reports whether a segment is there, of use or not. The caller holds d.mu.
func (d *Disk) exists(number uint32) bool { return d.segments[number] != nil || d.strange[number] }

// claim reserves the ID of a chunk about to be committed.
func (d *Disk) claim(id layout.ChunkID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, found := d.index.find(id); found || d.claimed[id] {
		return ErrExists
	}
	d.claimed[id] = true
	return nil
}

func (d *Disk) unclaim(id layout.ChunkID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.claimed, id)
	d.unclaimed.Broadcast()
}

// forget drops a chunk that is durably dead and gives its room back.
func (d *Disk) forget(e entry) {
	d.mu.Lock()
	table := d.index.table(e)
	emptied := d.hide(e.id)
	d.mu.Unlock()
	d.giveBack(e, table, emptied)
}

// giveBack frees the room of a record that is durably dead and not shown any
// more.
func (d *Disk) giveBack(e entry, table []place, emptied []*segment) {
	d.mu.Lock()
	var sparse []*segment
	for _, p := range append(table[:len(table):len(table)], e.at) {
		if s := d.segments[p.segment]; s != nil && d.sparse(s) && !s.compacting {
			s.compacting = true
			sparse = append(sparse, s)
		}
	}
	d.mu.Unlock()
	for _, s := range emptied {
		d.drop(s)
	}
	d.punchAll([]place{e.at}, e.units())
	d.punchAll(table, pieceUnits)
	for _, s := range sparse {
		d.keeper.add(func() { d.compact(s) })
	}
}

// writeTombstones makes the deletion of chunks durable.
func (d *Disk) writeTombstones(tombstones []tombstone) error {
	if err := d.Fenced(); err != nil {
		return err
	}
	if err := d.tidyGraves(); err != nil {
		return err
	}
	if err := d.graves.write(tombstones); err != nil {
		return d.graveError(err)
	}
	if _, err := d.fs.Stat(path.Join(d.cfg.Dir, tombstonesName)); err != nil {
		return errors.Join(ErrUnavailable, err)
	}
	return nil
}

func (d *Disk) graveError(err error) error {
	var failed *syncError
	if errors.As(err, &failed) {
		return d.raiseFence(err)
	}
	return d.writeError(err)
}

// tidyGraves drops the tombstones of segments that are gone, once there are
// many. It must be certain that those will not be back after a crash.
func (d *Disk) tidyGraves() error {
	d.mu.RLock()
	obsolete, total := 0, 0
	for number, n := range d.graves.graves {
		total += n
		if !d.exists(number) {
			obsolete += n
		}
	}
	d.mu.RUnlock()
	if obsolete < minObsolete || obsolete < total/2 {
		return nil
	}
	if err := d.syncDir(d.segmentsDir()); err != nil {
		return err
	}
	all, _, err := readTombstones(d.fs, d.cfg.Dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	d.mu.RLock()
	needed := slices.DeleteFunc(all, func(t tombstone) bool { return !d.exists(t.segment) })
	d.mu.RUnlock()
	err = d.graves.rewrite(needed)
	if err == nil || isFull(err) { // another time, when there is room for both files
		return nil
	}
	return d.graveError(err)
}

// punchAll punches holes for what begins at the places, each so many units long.
// It is a favour to the drive: failures cost room until the segment goes.
func (d *Disk) punchAll(places []place, units uint32) {
	if !d.can.punch || d.Fenced() != nil {
		return
	}
	for i := 0; i < len(places); {
		start, end := places[i], places[i].unit+units
		for i++; i < len(places) && places[i] == (place{start.segment, end}); i++ {
			end += units
		}
		d.punch(start, end)
	}
}

func (d *Disk) punch(start place, end uint32) {
	d.mu.RLock()
	s := d.segments[start.segment]
	if s != nil {
		s.acquire()
	}
	d.mu.RUnlock()
	if s == nil {
		return
	}
	defer s.release()
	f, err := s.file()
	if err == nil {
		err = f.Punch(start.offset(), int64(end)*unitSize)
	}
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		d.log.Warn("room of a deleted chunk is not free", "segment", segmentName(s.number), "err", err)
	}
}

// drop removes a segment without live chunks. A crash may bring it back; its
// tombstones are kept until it cannot.
func (d *Disk) drop(s *segment) {
	d.mu.Lock()
	delete(d.segments, s.number)
	d.mu.Unlock()
	s.remove()
	if d.Fenced() != nil {
		return
	}
	if err := d.fs.Remove(s.path); err != nil {
		d.log.Warn("empty segment stays", "segment", segmentName(s.number), "err", err)
	}
}

// absent is the error for a chunk that is not in the index: ErrNotFound,
// unless the whole directory is gone (a drive that fell out), which says nothing.
func (d *Disk) absent() error {
	if _, err := d.fs.Stat(path.Join(d.cfg.Dir, identityName)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return ErrNotFound
}
