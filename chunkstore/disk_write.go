package chunkstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"partstore/internal/layout"
	"partstore/internal/vfs"
)

// stagingSize is the memory of a writer: a piece, or any record.
const stagingSize = maxRecordUnits * unitSize

// stagingPool recycles staging buffers, so that they exist per write under
// way. Most of a buffer is never touched by short chunks.
var stagingPool = sync.Pool{New: func() any { return (*[stagingSize]byte)(vfs.AlignedBuffer(stagingSize)) }}

// Create implements Store. Nothing touches the drive before the first piece is
// full or the chunk is committed.
func (d *Disk) Create(ctx context.Context, id layout.ChunkID, label []byte) (Writer, error) {
	err := d.admit(ctx, label)
	if err == nil && d.has(id) {
		err = ErrExists
	}
	if err != nil {
		return nil, fmt.Errorf("create chunk %s: %w", id, err)
	}
	return d.newWriter(ctx, id, label), nil
}

func (d *Disk) newWriter(ctx context.Context, id layout.ChunkID, label []byte) *diskWriter {
	return &diskWriter{
		disk: d, ctx: ctx, id: id, seal: NewSeal(id), label: bytes.Clone(label),
		staging: stagingPool.Get().(*[stagingSize]byte),
	}
}

// admit refuses a chunk that could not be committed anyway.
func (d *Disk) admit(ctx context.Context, label []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.writable(); err != nil {
		return err
	}
	if len(label) > MaxLabelSize {
		return fmt.Errorf("label of %d bytes; at most %d are kept", len(label), MaxLabelSize)
	}
	if err := d.room(); err != nil {
		return err
	}
	// Here, not only at Commit: a refused chunk can still be placed elsewhere.
	if _, err := d.fs.Stat(d.segmentsDir()); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (d *Disk) has(id layout.ChunkID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, found := d.index.find(id)
	return found
}

// diskWriter writes one chunk: pieces as they are full, then, with the rest,
// the record that makes it count.
type diskWriter struct {
	disk  *Disk
	ctx   context.Context // bounds the life of the writer, see Store.Create
	id    layout.ChunkID
	label []byte
	seal  Seal
	seq   Sequence

	staging  *[stagingSize]byte // nil once the writer has ended
	filled   int                // frames
	table    []place            // of the pieces
	segments []*segment         // in use for the pieces
	moving   bool               // Disk.move or successor has claimed the chunk, which lies elsewhere so far
	emptied  []*segment         // by the move
	err      error              // the first one; sticky
}

var errEnded = errors.New("writer has ended")

// WriteBlock implements Writer.
func (w *diskWriter) WriteBlock(block []byte) error {
	number, err := w.begin(len(block))
	if err != nil {
		return err
	}
	w.stage(block)
	w.seal.AppendChecksum(w.staging[:w.filled], number, block)
	w.filled += ChecksumSize
	return nil
}

// WriteFrame implements FrameWriter. The frame is read to where it is staged.
func (w *diskWriter) WriteFrame(size int, read func(room []byte) error) error {
	number, err := w.begin(size - ChecksumSize)
	if err != nil {
		return err
	}
	const _ = uint(pieceUnits*unitSize - pieceSize - FrameSpare) // there is room behind the last frame of a piece
	room := w.staging[w.filled:][:size+FrameSpare]
	if err := read(room); err != nil {
		return w.fail(err)
	}
	if _, err := w.seal.Payload(number, room[:size]); err != nil {
		return w.fail(err)
	}
	w.filled += size
	return nil
}

// writeRaw writes a frame that is kept as it is, sound or not.
func (w *diskWriter) writeRaw(frame []byte) error {
	if _, err := w.begin(len(frame) - ChecksumSize); err != nil {
		return err
	}
	w.stage(frame)
	return nil
}

// begin admits the next block, makes room for it and returns its number.
func (w *diskWriter) begin(size int) (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	if err := w.ctx.Err(); err != nil {
		return 0, w.fail(err)
	}
	if err := w.disk.writable(); err != nil {
		return 0, w.fail(err)
	}
	number := w.seq.Blocks
	if err := w.seq.Add(size); err != nil {
		return 0, w.fail(err)
	}
	if number > 0 && number%pieceBlocks == 0 {
		if err := w.flush(); err != nil {
			return 0, w.fail(err)
		}
	}
	return number, nil
}

func (w *diskWriter) fail(err error) error {
	if w.err == nil {
		w.err = fmt.Errorf("write chunk %s: %w", w.id, err)
	}
	return w.err
}

func (w *diskWriter) stage(b []byte) { w.filled += copy(w.staging[w.filled:], b) }

// flush writes a full piece.
func (w *diskWriter) flush() error {
	if len(w.table) == maxPieces {
		return fmt.Errorf("longer than %d bytes", int64(maxPieces+1)*pieceBlocks*layout.BlockSize)
	}
	piece := w.staging[:pieceUnits*unitSize]
	clear(piece[w.filled:])
	s, unit, err := w.disk.long.reserve(pieceUnits)
	if err != nil {
		return err
	}
	if slices.Contains(w.segments, s) {
		w.disk.release(s) // one use per writer is enough
	} else {
		w.segments = append(w.segments, s)
	}
	w.table = append(w.table, place{s.number, unit})
	if _, err := s.writer.WriteAt(piece, int64(unit)*unitSize); err != nil {
		return w.disk.writeError(err)
	}
	w.filled = 0
	return nil
}

// Commit implements Writer.
func (w *diskWriter) Commit() error {
	if w.staging == nil {
		return w.fail(errEnded)
	}
	defer w.Abort() // drops what a failure leaves; nothing after success
	if w.err != nil {
		return w.err
	}
	if err := w.ctx.Err(); err != nil {
		return w.fail(err)
	}
	if !w.moving {
		if err := w.disk.claim(w.id); err != nil {
			return w.fail(err)
		}
		defer w.disk.unclaim(w.id)
	}
	lane := &w.disk.short
	if len(w.table) > 0 {
		lane = &w.disk.long
	}
	r := w.record()
	if err := lane.commits.add(r); err != nil {
		return w.fail(err)
	}
	w.table, w.emptied = nil, r.emptied // the table is the chunk's now
	return nil
}

// record finishes what lies in the staging buffer.
func (w *diskWriter) record() *record {
	h := header{id: w.id, labelSize: len(w.label), pieces: len(w.table), size: w.seq.Size}
	buf := w.staging[:int(h.units())*unitSize]
	tail := len(buf) - int(h.tail())
	clear(buf[w.filled:tail])
	appendTail(buf[:tail], w.seal, w.table, w.label)
	return &record{header: h, label: w.label, table: w.table, buf: buf, segments: w.segments, moving: w.moving}
}

// Abort implements Writer.
func (w *diskWriter) Abort() {
	if w.staging == nil {
		return
	}
	stagingPool.Put(w.staging)
	w.staging = nil
	if w.err == nil {
		w.err = errEnded
	}
	w.disk.punchAll(w.table, pieceUnits)
	for _, s := range w.segments {
		w.disk.release(s)
	}
}
