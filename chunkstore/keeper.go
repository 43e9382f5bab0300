package chunkstore

import (
	"errors"
	"sync"
)

// keeper does what segments need in the background, one thing at a time.
type keeper struct {
	mu      sync.Mutex
	queue   []func()
	running bool
	idle    sync.WaitGroup
}

// add has something done. Each segment is sealed once and compacted now and
// then, which bounds the queue.
func (k *keeper) add(task func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = append(k.queue, task)
	if !k.running {
		k.running = true
		k.idle.Go(k.run)
	}
}

func (k *keeper) run() {
	for {
		k.mu.Lock()
		if len(k.queue) == 0 {
			k.running = false
			k.mu.Unlock()
			return
		}
		task := k.queue[0]
		k.queue = k.queue[1:]
		k.mu.Unlock()
		task()
	}
}

// wait returns when all that was added has been done.
func (k *keeper) wait() { k.idle.Wait() }

// release ends a use of a growing segment.
func (d *Disk) release(s *segment) {
	if s.users.Add(-1) == 0 {
		d.keeper.add(func() { d.seal(s) })
	}
}

// seal writes the footer of a segment that grows no more, or removes the
// segment if nothing is left in it. Without a footer, which is only an index,
// the segment is read in full when the store opens.
func (d *Disk) seal(s *segment) {
	if d.Fenced() != nil {
		return
	}
	if s.writer != nil {
		if err := s.writer.Close(); err != nil {
			d.log.Warn("close segment", "segment", segmentName(s.number), "err", err)
		}
		s.writer = nil
	}
	if err := d.writeFooter(s); err != nil {
		d.log.Warn("segment has no footer", "segment", segmentName(s.number), "err", d.graveError(err))
	}
	d.mu.Lock()
	s.sealed, s.records = true, nil
	empty := s.live == 0
	d.mu.Unlock()
	if empty {
		d.drop(s)
	}
}

func (d *Disk) writeFooter(s *segment) error {
	d.mu.RLock()
	empty := s.live == 0
	var chunks []foundChunk
	for _, id := range s.records {
		if e, found := d.index.find(id); found && e.at.segment == s.number {
			chunks = append(chunks, foundChunk{e, d.index.table(e)})
		}
	}
	d.mu.RUnlock()
	if empty {
		return nil
	}
	footer := encodeFooter(chunks, s.segmentHeader, s.next)
	f, err := d.fs.OpenWrite(s.path)
	if err != nil {
		return err
	}
	at := int64(s.next) * unitSize
	_, err = f.WriteAt(footer, at)
	if err == nil {
		err = f.Truncate(at + int64(len(footer)))
	}
	if err == nil {
		if err = f.Sync(); err != nil {
			err = &syncError{err}
		}
	}
	return errors.Join(err, f.Close())
}

// addSegment makes a new segment for a lane.
func (d *Disk) addSegment() (*segment, error) {
	d.mu.Lock()
	d.lastSegment++
	number := d.lastSegment
	d.mu.Unlock()
	s, err := d.newSegment(number)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.segments[number] = s
	d.mu.Unlock()
	return s, nil
}
