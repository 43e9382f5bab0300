package metadata

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// A registry must not run into a full disk: half of what Raft and Pebble do
// there cannot be undone. So it watches the room in its directory and gives
// way in time:
//
//	room        below         a node
//	low         LowSpace      says so; with a majority of voters low, commands that grow the registry are refused
//	none        LowSpace / 4  stores nothing any more: it acknowledges nothing and does not lead
//
// A ballast file of LowSpace / 2 is kept for the moment when room runs out
// nevertheless, because others use the disk too: it is given up, and what
// shrinks the registry goes on. All of it comes back by itself with the room.
type room int32

const (
	roomEnough room = 0
	roomLow    room = 1
	roomNone   room = 2
)

func (r room) String() string {
	return [...]string{"enough", "low", "none"}[min(max(r, 0), roomNone)]
}

const (
	// The default of LowSpace: a twentieth of the file system, but no more
	// than this.
	maxLowSpace = 256 << 20
	ballastName = "ballast"
	// spareFiles are file descriptors kept for when the process has no more.
	spareFiles = 16
)

// space watches the room of one directory.
type space struct {
	fs   vfs.FS
	dir  string
	low  uint64 // 0: by the size of the file system
	room atomic.Int32

	ranOut chan struct{} // room for one: look now

	mu      sync.Mutex // guards the reserves
	ballast bool
	spare   []vfs.File
}

// openSpace looks at the room once, and makes the reserves if there is enough.
func openSpace(cfg Config) *space {
	s := &space{fs: cfg.disk.fs, dir: cfg.Dir, low: cfg.LowSpace, ranOut: make(chan struct{}, 1)}
	s.look()
	return s
}

func (s *space) now() room { return room(s.room.Load()) }

// look judges the room there is and returns what it was before.
func (s *space) look() (before room) {
	before = s.now()
	s.refill()
	usage, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return before // a file system that does not tell is watched by its errors
	}
	low := s.limit(usage)
	now := judge(before, usage.AvailBytes, low)
	if now == roomNone && s.giveUpBallast() {
		if usage, err = s.fs.GetDiskUsage(s.dir); err == nil {
			now = judge(roomNone, usage.AvailBytes, low)
		}
	}
	s.room.Store(int32(now))
	if now == roomEnough && usage.AvailBytes > low+low/4+low/2 {
		s.makeBallast(low / 2)
	}
	return before
}

func (s *space) limit(u vfs.DiskUsage) uint64 {
	if s.low != 0 {
		return s.low
	}
	return min(maxLowSpace, u.TotalBytes/20)
}

// judge has some play in it, so that a state does not come and go with every
// file.
func judge(before room, avail, low uint64) room {
	switch stop := low / 4; {
	case avail < stop, before == roomNone && avail < stop+stop/2:
		return roomNone
	case avail < low, before != roomEnough && avail < low+low/4:
		return roomLow
	}
	return roomEnough
}

// exhausted is called when a write found no room, before it is tried again.
func (s *space) exhausted() {
	s.room.Store(int32(roomNone))
	s.giveUpBallast()
	select {
	case s.ranOut <- struct{}{}:
	default:
	}
}

func (s *space) giveUpBallast() (given bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ballast = false
	return s.fs.Remove(filepath.Join(s.dir, ballastName)) == nil // one of an earlier run counts as well
}

// makeBallast reserves room that nobody uses. Where that cannot be done, there
// is no ballast.
func (s *space) makeBallast(size uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ballast {
		return
	}
	path := filepath.Join(s.dir, ballastName)
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	err = errors.Join(f.Preallocate(0, int64(size)), f.Close())
	if s.ballast = err == nil; !s.ballast {
		_ = s.fs.Remove(path)
	}
}

// refill opens the spare files that are missing.
func (s *space) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.spare) < spareFiles {
		f, err := s.fs.OpenDir(s.dir)
		if err != nil {
			return
		}
		s.spare = append(s.spare, f)
	}
}

// giveUpSpares closes them, for somebody who needs a file now.
func (s *space) giveUpSpares() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.spare {
		_ = f.Close() // a directory that was only read
	}
	s.spare = nil
}

// isFull reports an error for want of room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isOutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// wrap returns a file system for the rows. A write that finds no room is tried
// once more without the ballast, an open that finds no descriptor once more
// without the spares.
func (s *space) wrap(fs vfs.FS) vfs.FS {
	return spareFS{vfs.OnDiskFull(fs, s.exhausted), s}
}

type spareFS struct {
	vfs.FS
	space *space
}

// Unwrap implements vfs.FS.
func (f spareFS) Unwrap() vfs.FS { return f.FS }

func (f spareFS) again(open func() (vfs.File, error)) (vfs.File, error) {
	file, err := open()
	if isOutOfFiles(err) {
		f.space.giveUpSpares()
		file, err = open()
	}
	return file, err
}

func (f spareFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.again(func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f spareFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.again(func() (vfs.File, error) { return f.FS.Open(name, opts...) })
}

func (f spareFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.again(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

func (f spareFS) OpenDir(name string) (vfs.File, error) {
	return f.again(func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

func (f spareFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.again(func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, c) })
}

// dutyLog is the log of a node that has room. Without, nothing is stored, and
// so nothing acknowledged: a follower does not answer for the entry, and a
// leader steps down. Any other fault of the disk ends the service of this copy.
type dutyLog struct {
	raft.LogStore
	space *space
	pace  *pace
	fail  func(error)
}

func (d dutyLog) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d dutyLog) StoreLogs(logs []*raft.Log) error {
	if d.space.now() == roomNone {
		return ErrFull
	}
	return d.see(d.pace.measure(func() error { return d.LogStore.StoreLogs(logs) }))
}

func (d dutyLog) DeleteRange(first, last uint64) error {
	return d.see(d.LogStore.DeleteRange(first, last))
}

// see draws the conclusions from an error. Those that are no fault of the disk,
// such as an entry that is refused, have none.
func (d dutyLog) see(err error) error {
	var errno syscall.Errno
	switch {
	case err == nil || isOutOfFiles(err):
	case isFull(err):
		d.space.exhausted()
	case errors.As(err, &errno) && !errors.Is(err, ErrDamaged):
		d.fail(fmt.Errorf("%w: log: %w", ErrDiskFault, err))
	}
	return err
}

// watchSpace keeps the judgement of the room fresh.
func (r *Raft) watchSpace() {
	tick := time.NewTicker(r.cfg.SpaceInterval)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.space.ranOut:
		case <-tick.C:
		}
		before := r.space.look()
		now := r.space.now()
		if now == before {
			continue
		}
		r.log.Warn("room for the registry", "room", now.String(), "before", before.String())
		if now == roomNone {
			ctx, cancel := context.WithTimeout(r.ctx, r.cfg.HeartbeatTimeout)
			_ = r.TransferLeadership(ctx) // if not, the first entry that is not stored ends it
			cancel()
		}
	}
}

// grows reports whether a command adds more to the registry than it takes
// away. CompleteUpload does not: the part rows stay what they are.
func grows(encoded []byte) bool {
	if len(encoded) < 2 {
		return false
	}
	switch commandKind(encoded[1]) {
	case kindCreateBucket, kindCreateUpload, kindCommitPart, kindPutObject, kindCopyObject, kindAppendObject, kindWidenPart,
		kindCreateUser, kindCreateKey, kindChangeSetting, kindBindDomain:
		return true
	}
	return false
}

// noteRoom decides, on the leader, whether the registry may grow: while fewer
// than a majority of the voters have room, or are not known to, it may not.
func (r *Raft) noteRoom(seats []seat) {
	voters, low := 0, 0
	for _, s := range seats {
		if s.votes {
			voters++
			if s.answers && s.room != roomEnough {
				low++
			}
		}
	}
	full := low > 0 && voters-low <= voters/2
	if r.lead.full.Swap(full) != full {
		r.log.Warn("room of the voters", "voters", voters, "low", low, "refuse growth", full)
	}
}
