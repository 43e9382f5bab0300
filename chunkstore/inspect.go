package chunkstore

import (
	"errors"
	"fmt"
	"path"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// InspectedStore is what the directory of a store says of itself.
type InspectedStore struct {
	ID                layout.StoreID
	Cluster           layout.ClusterID
	Tombstones        int
	DamagedTombstones int
}

// InspectedSegment is what a segment holds.
type InspectedSegment struct {
	Name            string
	Size, Allocated int64
	Sealed          bool // it has a sound footer; otherwise it was read in full
	Damaged         bool // it has no sound header, so nothing in it can be told
	Chunks          []InspectedChunk
}

// InspectedChunk is a record in a segment.
type InspectedChunk struct {
	Info
	LabelSize int
	Pieces    int
	Sequence  uint64
	Offset    int64 // in the segment
	Length    int64
	Dead      bool  // it has a tombstone
	Err       error // why the chunk is not sound, if it was looked at
}

// Inspect tells what lies in name: the directory of a store, or one of its
// segments. It calls f for each segment. If verify is set, every byte of the
// chunks that are not dead is read. Nothing is locked and nothing is changed,
// so what a running process writes meanwhile may look cut short.
func Inspect(fsys vfs.FS, name string, verify bool, f func(InspectedSegment) error) (InspectedStore, error) {
	dir, only := name, ""
	if _, ok := parseSegmentName(path.Base(name)); ok {
		dir, only = path.Dir(path.Dir(name)), path.Base(name)
	}
	store, cluster, err := Identify(fsys, dir)
	if err != nil {
		return InspectedStore{}, fmt.Errorf("store in %s: %w", dir, err)
	}
	d := &Disk{cfg: DiskConfig{Dir: dir}, fs: readOnly{fsys}, id: store, segments: map[uint32]*segment{}}
	tombstones, damaged, err := readTombstones(d.fs, dir)
	if err != nil {
		return InspectedStore{}, err
	}
	entries, err := d.fs.ReadDir(d.segmentsDir())
	if err != nil {
		return InspectedStore{}, err
	}
	dead := make(map[uint64]bool, len(tombstones))
	for _, t := range tombstones {
		dead[t.sequence] = true
	}
	for _, e := range entries {
		if number, ok := parseSegmentName(e.Name); ok {
			d.segments[number] = d.segment(number)
		}
	}
	for _, e := range entries {
		number, ok := parseSegmentName(e.Name)
		if !ok || only != "" && only != e.Name {
			continue
		}
		found, err := d.inspect(d.segments[number], dead, verify)
		if err == nil {
			err = f(found)
		}
		if err != nil {
			return InspectedStore{}, err
		}
	}
	return InspectedStore{store, cluster, len(tombstones), damaged}, nil
}

func (d *Disk) inspect(s *segment, dead map[uint64]bool, verify bool) (InspectedSegment, error) {
	info, err := d.fs.Stat(s.path)
	if err != nil {
		return InspectedSegment{}, err
	}
	scan := scan{segment: s}
	if err := scan.read(nil); err != nil {
		return InspectedSegment{}, err
	}
	found := InspectedSegment{
		Name: segmentName(s.number), Size: info.Size, Allocated: info.Allocated,
		Sealed: !scan.unsealed, Damaged: scan.strange,
	}
	for _, c := range append(scan.sealed, scan.loose...) {
		chunk := InspectedChunk{
			Info: Info{ID: c.id, Size: c.size}, LabelSize: c.labelSize, Pieces: c.pieces, Sequence: c.sequence,
			Offset: c.at.offset(), Length: int64(c.units()) * unitSize, Dead: dead[c.sequence],
		}
		if verify && !chunk.Dead {
			chunk.Label, chunk.Err = d.inspectChunk(c)
		}
		found.Chunks = append(found.Chunks, chunk)
	}
	return found, nil
}

// inspectChunk reads all of a chunk: first the header, which the footer may
// contradict, then the rest.
func (d *Disk) inspectChunk(found foundChunk) ([]byte, error) {
	c := chunk{entry: found.entry}
	defer c.release()
	c.add(d.segments[c.at.segment])
	_, label, err := c.readTail()
	return label, errors.Join(err, d.verify(&found))
}

// readOnly is a file system that opens nothing for writing.
type readOnly struct{ vfs.FS }

func (f readOnly) OpenWrite(name string) (vfs.File, error) { return f.Open(name) }
