package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// Names in the directory of a store. Part of the on-disk format.
const (
	lockName       = "lock"
	identityName   = "store"
	fencedName     = "fenced"
	tombstonesName = "tombstones"
	segmentsName   = "segments"
	probeName      = "probe" + tempSuffix
)

// Lengths of segments, in bytes. The longest record must fit into the shortest.
const (
	defaultSegmentBytes = 256 << 20
	minSegmentBytes     = 1 << 20
	maxSegmentBytes     = 16 << 30
)

// Errors of OpenDisk.
var (
	// ErrWrongStore reports a directory that belongs to another store, or to a
	// store of another cluster.
	ErrWrongStore = errors.New("directory belongs to another store")
	// ErrBadStore reports a directory whose identity file is damaged, or
	// missing although the directory is not empty.
	ErrBadStore = errors.New("store identity unusable")
)

// DiskConfig says how to open a Disk. The zero value of every optional field is
// a working default; required fields are marked.
type DiskConfig struct {
	// FS holds the store. Default: vfs.OS.
	FS vfs.FS

	// Dir is the store's own directory; made if absent. Required.
	Dir string

	// ID is the store expected in Dir; any other, or none, is ErrWrongStore (see Make).
	// Zero takes the one that is there, and makes a fresh one if Dir is empty.
	ID layout.StoreID

	// Make makes the store ID if Dir is empty.
	Make bool

	// Cluster is the cluster the store belongs to; a store of another is
	// ErrWrongStore. Required.
	Cluster layout.ClusterID

	// ReserveBytes of the file system's free space stay unused. Default 0.
	ReserveBytes int64

	// SegmentBytes is the length at which a segment is full. Default 256 MiB.
	SegmentBytes int64

	// OnFence, if set, is called once, with the reason, when the store fences
	// itself; it must not block. It is not called for a store that was already
	// fenced when it was opened.
	OnFence func(error)

	// Logger receives all logs of the store. Default: discard.
	Logger *slog.Logger
}

func (c DiskConfig) withDefaults() DiskConfig {
	if c.FS == nil {
		c.FS = vfs.OS{}
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c DiskConfig) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("field Dir is required"))
	}
	if c.Make && c.ID.IsZero() {
		errs = append(errs, errors.New("field Make wants an ID"))
	}
	if c.Cluster.IsZero() {
		errs = append(errs, errors.New("field Cluster is required"))
	}
	if c.ReserveBytes < 0 {
		errs = append(errs, fmt.Errorf("ReserveBytes %d is negative", c.ReserveBytes))
	}
	if c.SegmentBytes < minSegmentBytes || c.SegmentBytes > maxSegmentBytes {
		errs = append(errs, fmt.Errorf("SegmentBytes %d; at least %d and at most %d make sense", c.SegmentBytes, minSegmentBytes, maxSegmentBytes))
	}
	return errors.Join(errs...)
}

// Disk is a Store in a directory of a file system: chunks in segments, an index
// of them in memory.
type Disk struct {
	cfg  DiskConfig
	fs   vfs.FS
	log  *slog.Logger
	id   layout.StoreID
	lock io.Closer
	can  abilities

	segmentUnits uint32 // where a lane begins another segment
	sequence     atomic.Uint64
	fence        fence
	free         freeRoom

	short, long lane // of chunks that are one record, and of others
	graves      graveyard
	bury        batcher[tombstone] // its batches own graves
	files       openFiles
	keeper      keeper
	closing     context.Context // ends when the store closes
	stop        context.CancelFunc

	mu          sync.RWMutex
	index       index
	segments    map[uint32]*segment
	strange     map[uint32]bool // segments that are damaged and left alone
	lastSegment uint32
	liveUnits   int64
	claimed     map[layout.ChunkID]bool // being committed, moved or deleted
	unclaimed   *sync.Cond              // something was taken out of claimed
	ghosts      map[layout.ChunkID][]tombstone
}

// OpenDisk opens the store in cfg.Dir, or makes one if the directory is empty.
// One process at a time can have a store open; others get vfs.ErrLocked. A
// fenced store, or one on a read-only file system, opens for reading.
func OpenDisk(cfg DiskConfig) (_ *Disk, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("store config: %w", err)
	}
	d := &Disk{
		cfg: cfg, fs: cfg.FS, segmentUnits: uint32(cfg.SegmentBytes / unitSize),
		segments: map[uint32]*segment{}, strange: map[uint32]bool{}, claimed: map[layout.ChunkID]bool{},
		ghosts: map[layout.ChunkID][]tombstone{},
	}
	d.unclaimed = sync.NewCond(&d.mu)
	d.files.limit = maxOpenFiles
	d.closing, d.stop = context.WithCancel(context.Background())
	for _, l := range []*lane{&d.short, &d.long} {
		l.disk, l.commits.do = d, l.write
	}
	d.bury.do = d.writeTombstones
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open store in %s: %w", cfg.Dir, err), d.Close())
		}
	}()
	if err := vfs.MkdirAll(d.fs, cfg.Dir); err != nil {
		return nil, err
	}
	if d.lock, err = d.fs.Lock(path.Join(cfg.Dir, lockName)); err != nil {
		return nil, err
	}
	id, err := loadIdentity(cfg)
	if err != nil {
		return nil, err
	}
	d.id = id.store
	d.log = cfg.Logger.With("store", d.id)
	d.graves = graveyard{fs: d.fs, dir: cfg.Dir}
	if err := d.loadFence(); err != nil {
		return nil, err
	}
	return d, d.recover()
}

func (d *Disk) segmentsDir() string { return path.Join(d.cfg.Dir, segmentsName) }

// writable returns nil, or why the store takes nothing. It is asked for every
// block.
func (d *Disk) writable() error { return d.fence.Err() }

// syncDir is the only way to sync a directory of the store. Once the store is
// fenced it does not even try: a sync after a failed one proves nothing. A
// directory that could not be opened was not synced at all, which is no reason
// to fence.
func (d *Disk) syncDir(dir string) error {
	if err := d.Fenced(); err != nil {
		return err
	}
	err := d.fs.SyncDir(dir)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return d.raiseFence(err)
}

// ID names the store.
func (d *Disk) ID() layout.StoreID { return d.id }

// Fenced returns nil, or why the store takes no more writes.
func (d *Disk) Fenced() error { return d.fence.Err() }

// Space tells how much room a store has.
type Space struct {
	CapacityBytes int64
	FreeBytes     int64 // without the reserve; never negative
}

// Space tells how much room the store has.
func (d *Disk) Space() (Space, error) {
	s, err := d.fs.Space(d.cfg.Dir)
	if err != nil {
		return Space{}, fmt.Errorf("space of store %s: %w", d.id, err)
	}
	return Space{CapacityBytes: s.Capacity, FreeBytes: max(0, s.Free-d.cfg.ReserveBytes)}, nil
}

// freeRoom remembers how much room there was a moment ago, so that not every
// chunk asks the file system.
type freeRoom struct {
	asked atomic.Int64 // when, in nanoseconds since the epoch
	bytes atomic.Int64
}

// roomInterval is how old an answer of the file system may be. What is written
// meanwhile is far less than what a full store keeps for deletes.
const roomInterval = 100 * time.Millisecond

// room returns nil if there is room for a chunk.
func (d *Disk) room() error {
	now := time.Now().UnixNano()
	if asked := d.free.asked.Load(); now-asked > int64(roomInterval) || now < asked {
		space, err := d.Space()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		d.free.bytes.Store(space.FreeBytes)
		d.free.asked.Store(now)
	}
	if d.free.bytes.Load() == 0 {
		return ErrFull
	}
	return nil
}

// Usage tells what a store holds.
type Usage struct {
	Chunks    int
	LiveBytes int64 // what committed chunks take on the drive
	Segments  int
}

// Usage tells what the store holds. It costs nothing.
func (d *Disk) Usage() Usage {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return Usage{Chunks: d.index.count, LiveBytes: d.liveUnits * unitSize, Segments: len(d.segments)}
}

// Close seals what was being written and releases the directory. It may be
// called twice. Writers and readers still in use must have ended.
func (d *Disk) Close() error {
	d.stop()
	if d.lock == nil {
		return nil
	}
	d.keeper.wait() // a chunk that is being moved still needs the lanes
	d.short.close()
	d.long.close()
	d.keeper.wait()
	var errs []error
	for _, s := range d.segments {
		errs = append(errs, s.close())
	}
	errs = append(errs, d.graves.close(), d.lock.Close())
	d.lock = nil
	return errors.Join(errs...)
}
