package chunkstore

import (
	"errors"
	"io/fs"
	"path"

	"partstore/internal/vfs"
)

// abilities are what the file system under a store can do besides the usual.
type abilities struct {
	direct   bool // writes around the page cache
	allocate bool // room ahead of writes; pays with direct writes only
	punch    bool // holes
}

// probe finds out what the file system can do, by trying.
func (d *Disk) probe() error {
	name := path.Join(d.cfg.Dir, probeName)
	can, err := d.tryProbe(name, vfs.Direct)
	if err != nil {
		// Some file systems take the flag and refuse the write.
		can, err = d.tryProbe(name, vfs.Buffered)
	}
	if err != nil {
		return err
	}
	d.can = can
	d.log.Debug("file system", "direct", can.direct, "allocate", can.allocate, "punch", can.punch)
	return nil
}

func (d *Disk) tryProbe(name string, mode vfs.Mode) (can abilities, err error) {
	if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return can, err
	}
	f, err := d.fs.Create(name, mode)
	if err != nil {
		return can, err
	}
	_, err = f.WriteAt(vfs.AlignedBuffer(2*unitSize), 0)
	full := isFull(err)
	if full {
		err = nil // it wants for room, not for the ability
	}
	can.direct = f.Direct()
	can.allocate = can.direct && (full || f.Allocate(0, 4*unitSize) == nil)
	can.punch = f.Punch(0, unitSize) == nil
	return can, errors.Join(err, f.Close(), d.fs.Remove(name))
}

// mode is how segments are written.
func (d *Disk) mode() vfs.Mode {
	if d.can.direct {
		return vfs.Direct
	}
	return vfs.Buffered
}
