package metadata

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

// MaxParts is what one registry was measured to hold within its bounds of
// memory, restart and listing (docs/benchmarks.md). It works beyond, slower.
const MaxParts = 10_000_000

// Capacity is how full this node's copy of the registry is.
type Capacity struct {
	Rows RowCounts

	RowsBytes      int64 // tables on disk, those of them included that only snapshots still have
	LogBytes       int64 // the file of the log, which never shrinks
	SnapshotBytes  int64 // what the kept snapshots would be as files of their own
	MemoryBytes    int64 // caches and rows not yet on disk
	AppliedIndex   uint64
	SnapshotsKept  int
	LogEntries     uint64
	PercentOfParts float64 // Rows.Parts of MaxParts
}

// Capacity counts this node's rows, which takes seconds for millions of them.
// It is for people: nothing may be decided by it.
func (r *Raft) Capacity(ctx context.Context) (c Capacity, err error) {
	if err := r.inService(); err != nil {
		return c, err
	}
	g, ok := r.state.acquire()
	if !ok {
		return c, errClosed
	}
	defer r.state.release(g)
	if err := c.Rows.count(ctx, g.db); err != nil {
		return c, err
	}
	m := g.db.Metrics()
	c.RowsBytes = int64(m.DiskSpaceUsage())
	c.MemoryBytes = m.BlockCache.Size + int64(m.MemTable.Size) + m.FileCache.Size
	c.SnapshotsKept, c.SnapshotBytes = r.snapshots.size()
	info, err := r.cfg.disk.fs.Stat(r.cfg.disk.fs.PathJoin(r.cfg.Dir, logName))
	if err == nil { // a test may keep its log elsewhere
		c.LogBytes = info.Size()
	}
	first, _ := r.files.log.FirstIndex()
	if last, _ := r.files.log.LastIndex(); last > 0 {
		c.LogEntries = last - first + 1
	}
	c.AppliedIndex = r.fsm.applied.load()
	c.PercentOfParts = 100 * float64(c.Rows.Parts) / MaxParts
	return c, nil
}

// count counts rows by their keys.
func (n *RowCounts) count(ctx context.Context, rows pebble.Reader) error {
	seen := 0
	return scan(rows, nil, func(key, _ []byte) error {
		n.add(key)
		if seen++; seen%4096 == 0 {
			return ctx.Err()
		}
		return nil
	})
}

// size returns how many snapshots there are and how large they are.
func (s *snapshotStore) size() (n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.stored {
		n++
		for _, f := range o.manifest.files {
			bytes += f.size
		}
	}
	return n, bytes
}
