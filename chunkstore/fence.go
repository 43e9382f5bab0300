package chunkstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
)

// maxReasonSize bounds the text in the marker of a fenced store, in bytes.
const maxReasonSize = 1024

// fence remembers that a store takes no more writes, and why.
type fence struct{ reason atomic.Pointer[error] }

// Err returns nil, or an error wrapping ErrFenced.
func (f *fence) Err() error {
	if reason := f.reason.Load(); reason != nil {
		return *reason
	}
	return nil
}

// raise fences once; later causes are of no interest.
func (f *fence) raise(reason error) (first bool) {
	return f.reason.CompareAndSwap(nil, &reason)
}

// raiseFence stops all writes for good. After a failed sync nobody knows what
// the drive kept, and a repeated sync would claim success without having
// written the lost pages; so the first failure is the last.
func (d *Disk) raiseFence(cause error) error {
	reason := fmt.Errorf("%w: %w", ErrFenced, cause)
	if !d.fence.raise(reason) {
		return d.fence.Err()
	}
	d.log.Error("store fenced itself", "err", cause)
	text := []byte(cause.Error())
	if err := writeSmall(d.fs, d.cfg.Dir, fencedName, text[:min(len(text), maxReasonSize)]); err != nil {
		d.log.Error("cannot leave the marker of a fenced store", "err", err)
	}
	if d.cfg.OnFence != nil {
		d.cfg.OnFence(reason)
	}
	return reason
}

// loadFence reads the marker that an earlier process left.
func (d *Disk) loadFence() error {
	text, err := readSmall(d.fs, path.Join(d.cfg.Dir, fencedName), maxReasonSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	reason := fmt.Errorf("%w earlier: %s", ErrFenced, strings.ToValidUTF8(string(text), "?"))
	d.fence.raise(reason)
	d.log.Error("store is fenced", "err", reason)
	return nil
}

// writeError turns an error of the write path, other than of a sync, into one
// of the seam. A drive that reports a failed write, or that the system has
// turned read-only, has lost something: as bad as a failed sync.
func (d *Disk) writeError(err error) error {
	switch {
	case errors.Is(err, ErrFenced), errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull):
		return err // it is one already
	case isFull(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EROFS):
		return d.raiseFence(err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// isFull reports an error for want of room.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// readError turns an error of the read path into one of the seam. Bytes the
// drive cannot give back are damage: the reader takes another chunk, and heal
// replaces this one.
func readError(err error) error {
	if errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
