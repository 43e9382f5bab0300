package chunkstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// Constants of the on-disk format.
const (
	tombstoneMagic = "PSTB"
	tombstoneSize  = 40
)

// tombstone says that a chunk was deleted, or moved elsewhere. The sequence
// number names one life of the chunk: another with the same ID is not meant.
type tombstone struct {
	id       layout.ChunkID
	segment  uint32 // of the record
	sequence uint64
}

func (t tombstone) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, tombstoneMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, t.segment)
	dst = binary.LittleEndian.AppendUint64(dst, t.sequence)
	dst = append(dst, t.id.Attempt[:]...)
	dst = append(dst, t.id.Index, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

func parseTombstone(b []byte) (tombstone, error) {
	if len(b) != tombstoneSize || string(b[:4]) != tombstoneMagic {
		return tombstone{}, fmt.Errorf("no tombstone: %w", ErrCorrupt)
	}
	t := tombstone{
		id:       layout.ChunkID{Attempt: layout.AttemptID(b[16:32]), Index: b[32]},
		segment:  binary.LittleEndian.Uint32(b[4:]),
		sequence: binary.LittleEndian.Uint64(b[8:]),
	}
	if [tombstoneSize]byte(t.append(nil)) != [tombstoneSize]byte(b) {
		return tombstone{}, fmt.Errorf("tombstone: %w", ErrCorrupt)
	}
	return t, nil
}

// graveyard is the file of tombstones. A tombstone is needed for as long as
// its segment may be found after a crash; the file is written anew when most
// are not.
type graveyard struct {
	fs   vfs.FS
	dir  string
	file vfs.File
	end  int64 // where the next tombstone goes
	room int64 // up to where zeros keep room on the drive

	graves map[uint32]int // tombstones by segment
}

const (
	// graveyardRoom is how much room is kept for tombstones to come, so that a
	// full drive can be emptied. Each batch of deletes frees more than it takes.
	graveyardRoom = 64 << 10
	// minObsolete is how many tombstones nobody needs are put up with.
	minObsolete = 4096
)

// readTombstones returns the sound tombstones in the file, and how many others
// there are in front of the last sound one: those were damaged.
func readTombstones(fsys vfs.FS, dir string) (found []tombstone, damaged int, err error) {
	f, err := fsys.Open(path.Join(dir, tombstonesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, 0, err
	}
	r := io.NewSectionReader(f, 0, size)
	b := make([]byte, tombstoneSize<<12)
	bad := 0
	for {
		n, err := io.ReadFull(r, b)
		for at := 0; at+tombstoneSize <= n; at += tombstoneSize {
			t, err := parseTombstone(b[at:][:tombstoneSize])
			if err != nil {
				bad++
				continue
			}
			found, damaged = append(found, t), bad
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return found, damaged, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

// rewrite replaces the file by one with the given tombstones.
func (g *graveyard) rewrite(tombstones []tombstone) error {
	temp, name := path.Join(g.dir, tombstonesName+tempSuffix), path.Join(g.dir, tombstonesName)
	if err := g.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := g.fs.Create(temp, vfs.Buffered)
	if err != nil {
		return err
	}
	fresh := graveyard{fs: g.fs, dir: g.dir, file: f, graves: map[uint32]int{}}
	if err := fresh.write(tombstones); err != nil {
		return errors.Join(err, f.Close(), g.fs.Remove(temp))
	}
	if err := g.fs.Rename(temp, name); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := g.fs.SyncDir(g.dir); err != nil {
		return errors.Join(&syncError{err}, f.Close())
	}
	old := g.file
	*g = fresh
	if old != nil {
		return old.Close()
	}
	return nil
}

// keep goes on with the file that is there, which has the given tombstones and room
// for more, because there is no room for another.
func (g *graveyard) keep(there, more []tombstone) (err error) {
	if g.file, err = g.fs.OpenWrite(path.Join(g.dir, tombstonesName)); err != nil {
		return err
	}
	if g.room, err = g.file.Size(); err != nil {
		return err
	}
	g.graves = map[uint32]int{}
	for _, t := range there {
		g.graves[t.segment]++
	}
	return g.write(more)
}

// syncError marks the error of a failed sync, which fences the store.
type syncError struct{ error }

func (e *syncError) Unwrap() error { return e.error }

// write appends tombstones and makes them durable.
func (g *graveyard) write(tombstones []tombstone) error {
	b := make([]byte, 0, len(tombstones)*tombstoneSize)
	for _, t := range tombstones {
		b = t.append(b)
	}
	end := g.end + int64(len(b))
	if end+graveyardRoom/2 > g.room {
		// Zeros, because not every file system can allocate; if there is no
		// room for them, what was kept is used up. A file that has none yet is of
		// no use.
		zeros := make([]byte, graveyardRoom)
		if _, err := g.file.WriteAt(zeros, max(g.room, end)); err == nil {
			g.room = max(g.room, end) + graveyardRoom
		} else if end > g.room || g.room == 0 {
			return err
		}
	}
	if _, err := g.file.WriteAt(b, g.end); err != nil {
		return err
	}
	if err := g.file.Sync(); err != nil {
		return &syncError{err}
	}
	g.end = end
	for _, t := range tombstones {
		g.graves[t.segment]++
	}
	return nil
}

func (g *graveyard) close() error {
	if g.file == nil {
		return nil
	}
	f := g.file
	g.file = nil
	return f.Close()
}
