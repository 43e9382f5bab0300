package chunkstore

import (
	"context"
	"fmt"

	"partstore/internal/layout"
)

// Replace implements Replacer. The successor is one more record under the same
// ID; of two, the later one counts, also for a start after a crash.
func (d *Disk) Replace(ctx context.Context, id layout.ChunkID, label []byte) (Writer, error) {
	err := d.admit(ctx, label)
	if err == nil && !d.has(id) {
		err = d.absent()
	}
	if err != nil {
		return nil, fmt.Errorf("replace chunk %s: %w", id, err)
	}
	w := d.newWriter(ctx, id, label)
	w.moving = true
	return &successor{w}, nil
}

// successor writes a chunk that takes the place of another.
type successor struct{ *diskWriter }

// Commit implements Writer. Nobody deletes or moves the old chunk meanwhile; one
// that was deleted before stays gone.
func (w *successor) Commit() error {
	d := w.disk
	old, err := d.condemn(w.id)
	if err != nil {
		err = w.fail(err)
		w.Abort()
		return err
	}
	defer d.unclaim(w.id)
	d.mu.RLock()
	table := d.index.table(old)
	d.mu.RUnlock()
	if err := w.diskWriter.Commit(); err != nil {
		return err
	}
	d.bereave(old, table, w.emptied)
	return nil
}

// bereave gives back the room of a record that has a durable successor. If its
// tombstone cannot be written, it keeps the room until the store opens again.
func (d *Disk) bereave(old entry, table []place, emptied []*segment) {
	t := tombstone{old.id, old.at.segment, old.sequence}
	if err := d.entomb(t); err != nil {
		d.haunt(t)
		d.log.Warn("a replaced chunk keeps its room", "chunk", old.id, "err", err)
		return
	}
	d.giveBack(old, table, emptied)
}

// entomb makes the death of a record durable, after that of older ones with its
// ID: a crash between the two must not bring an older one back. The caller has
// claimed the chunk.
func (d *Disk) entomb(t tombstone) error {
	d.mu.Lock()
	due := append(d.ghosts[t.id], t)
	delete(d.ghosts, t.id)
	d.mu.Unlock()
	for i, t := range due {
		if err := d.bury.add(t); err != nil {
			d.haunt(due[i : len(due)-1]...)
			return err
		}
	}
	return nil
}

// haunt remembers records that have a successor and no tombstone yet.
func (d *Disk) haunt(ghosts ...tombstone) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range ghosts {
		d.ghosts[t.id] = append(d.ghosts[t.id], t)
	}
}
