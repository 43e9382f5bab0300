package chunkstore

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"partstore/internal/layout"
)

// chunk is a committed chunk as a reader sees it: its content stays where it is
// until release, unless the chunk is deleted.
type chunk struct {
	entry
	table    []place
	segments []*segment // those that the chunk lies in, as far as they exist
}

// acquire looks a chunk up.
func (d *Disk) acquire(id layout.ChunkID) (chunk, error) {
	d.mu.RLock()
	e, found := d.index.find(id)
	if !found {
		d.mu.RUnlock()
		return chunk{}, d.absent()
	}
	defer d.mu.RUnlock()
	c := chunk{entry: e, table: d.index.table(e)}
	c.add(d.segments[e.at.segment])
	c.addPieces(d.segments)
	return c, nil
}

func (c *chunk) addPieces(segments map[uint32]*segment) {
	last := c.at.segment
	for _, p := range c.table {
		if p.segment == last {
			continue
		}
		if s, _ := c.segment(p.segment); s == nil {
			c.add(segments[p.segment])
		}
		last = p.segment
	}
}

func (c *chunk) add(s *segment) {
	if s != nil {
		s.acquire()
		c.segments = append(c.segments, s)
	}
}

func (c *chunk) segment(number uint32) (*segment, error) {
	for _, s := range c.segments {
		if s.number == number {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no segment %s: %w", segmentName(number), ErrCorrupt)
}

func (c *chunk) release() {
	for _, s := range c.segments {
		s.release()
	}
	c.segments = nil
}

// explain corrects the error of a read whose chunk was deleted meanwhile.
func (d *Disk) explain(e entry, err error) error {
	d.mu.RLock()
	now, found := d.index.find(e.id)
	d.mu.RUnlock()
	switch {
	case !found:
		return d.absent()
	case now.sequence != e.sequence:
		return fmt.Errorf("%w: the chunk was replaced meanwhile", ErrUnavailable)
	}
	return err
}

// Stat implements Store.
func (d *Disk) Stat(ctx context.Context, id layout.ChunkID) (Info, error) {
	info, err := d.stat(ctx, id)
	if err != nil {
		return Info{}, fmt.Errorf("stat chunk %s: %w", id, err)
	}
	return info, nil
}

func (d *Disk) stat(ctx context.Context, id layout.ChunkID) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	c, err := d.acquire(id)
	if err != nil {
		return Info{}, err
	}
	defer c.release()
	label, err := c.label()
	if err != nil {
		return Info{}, d.explain(c.entry, err)
	}
	return Info{ID: id, Size: c.size, Label: label}, nil
}

// label reads the end of the record and checks all of it: table, label and
// header. The index has most of that too, and yet the next start may need it.
func (c *chunk) label() ([]byte, error) {
	table, label, err := c.readTail()
	if err == nil && !slices.Equal(table, c.table) {
		err = fmt.Errorf("table of another chunk: %w", ErrCorrupt)
	}
	return label, err
}

// readTail reads the end of the record and checks what it says by itself.
func (c *chunk) readTail() (table []place, label []byte, err error) {
	s, err := c.segment(c.at.segment)
	if err != nil {
		return nil, nil, err
	}
	size := c.tail()
	b := make([]byte, size)
	end := c.at.unit + c.units()
	if err := s.readAt(b, int64(end)*unitSize-size); err != nil {
		return nil, nil, err
	}
	h, first, err := parseHeader(b[size-headerSize:], s.salt, end-1)
	if err != nil {
		return nil, nil, err
	}
	if h != c.header || first != c.at.unit {
		return nil, nil, fmt.Errorf("header of another chunk: %w", ErrCorrupt)
	}
	return c.parseTail(b)
}

// Open implements Store. It reads nothing: the index knows where the blocks are.
func (d *Disk) Open(ctx context.Context, id layout.ChunkID, first, count int64) (Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open chunk %s: %w", id, err)
	}
	if first < 0 {
		return nil, fmt.Errorf("open chunk %s: block %d", id, first)
	}
	c, err := d.acquire(id)
	if err != nil {
		return nil, fmt.Errorf("open chunk %s: %w", id, err)
	}
	end := blockCount(c.size)
	if count >= 0 && count < end-first {
		end = first + count
	}
	return &diskReader{disk: d, ctx: ctx, chunk: c, seal: NewSeal(id), next: first, end: end}, nil
}

var _ RunReader = (*diskReader)(nil)

// diskReader reads the blocks next to end-1 of a chunk.
type diskReader struct {
	disk      *Disk
	ctx       context.Context // bounds the life of the reader, see Store.Open
	chunk     chunk
	seal      Seal
	next, end int64
	closed    bool
}

// Next implements Reader. It reads the payload straight into buf.
func (r *diskReader) Next(buf []byte) (int, error) {
	return r.read(func(s *segment, offset int64, size int) (int, error) {
		var sum [ChecksumSize]byte
		if err := s.readAt(buf[:size], offset); err != nil {
			return 0, err
		}
		if err := s.readAt(sum[:], offset+int64(size)); err != nil {
			return 0, err
		}
		return size, r.seal.Verify(r.next, buf[:size], sum[:])
	})
}

// NextRun implements RunReader. Of frames that cannot be read together, and of
// those after a damaged one, it leaves the finding to the next call.
func (r *diskReader) NextRun(buf []byte, dst [][]byte) ([][]byte, error) {
	n := min(int64(len(buf)/layout.BlockRoom), r.end-r.next, r.chunk.together(r.next))
	if n > 1 && !r.closed && r.ctx.Err() == nil {
		if run := r.readTogether(buf, n, dst); len(run) > len(dst) {
			return run, nil
		}
	}
	frame, err := r.NextFrame(buf)
	if err != nil {
		return dst, err
	}
	return append(dst, buf[:frame-ChecksumSize]), nil
}

// readTogether reads the next n frames, which lie one behind the other, and
// appends the payloads of those before the first that is not sound.
func (r *diskReader) readTogether(buf []byte, n int64, dst [][]byte) [][]byte {
	at, offset := r.chunk.locate(r.next)
	s, err := r.chunk.segment(at.segment)
	if err != nil {
		return dst
	}
	frames := buf[:(n-1)*MaxFrameSize+r.blockSize(r.next+n-1)+ChecksumSize]
	if s.readAt(frames, at.offset()+offset) != nil {
		return dst
	}
	for ; len(frames) > 0; r.next++ {
		frame := frames[:min(MaxFrameSize, len(frames))]
		payload, err := r.seal.Payload(r.next, frame)
		if err != nil {
			break
		}
		dst, frames = append(dst, payload), frames[len(frame):]
	}
	return dst
}

// NextFrame implements FrameReader.
func (r *diskReader) NextFrame(buf []byte) (int, error) {
	return r.read(func(s *segment, offset int64, size int) (int, error) {
		frame := buf[:size+ChecksumSize]
		if err := s.readAt(frame, offset); err != nil {
			return 0, err
		}
		_, err := r.seal.Payload(r.next, frame)
		return len(frame), err
	})
}

// read finds the next block and has it read.
func (r *diskReader) read(block func(s *segment, offset int64, size int) (int, error)) (int, error) {
	if r.closed {
		return 0, fmt.Errorf("read chunk %s: %w", r.chunk.id, fs.ErrClosed)
	}
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("read chunk %s: %w", r.chunk.id, err)
	}
	if r.next >= r.end {
		return 0, io.EOF
	}
	at, offset := r.chunk.locate(r.next)
	n := 0
	s, err := r.chunk.segment(at.segment)
	if err == nil {
		n, err = block(s, at.offset()+offset, int(r.blockSize(r.next)))
	}
	if err != nil {
		return 0, fmt.Errorf("read chunk %s: %w", r.chunk.id, r.disk.explain(r.chunk.entry, err))
	}
	r.next++
	return n, nil
}

// blockSize is the payload of block number n, in bytes.
func (r *diskReader) blockSize(n int64) int64 {
	return min(layout.BlockSize, r.chunk.size-n*layout.BlockSize)
}

// together is how many frames lie one behind the other from block number n on.
func (c *chunk) together(n int64) int64 {
	if n/pieceBlocks < int64(len(c.table)) {
		return pieceBlocks - n%pieceBlocks
	}
	return blockCount(c.size) - n
}

// locate returns the piece or record with block number n, and where in it the
// block's frame begins.
func (c *chunk) locate(n int64) (at place, offset int64) {
	if piece := n / pieceBlocks; piece < int64(len(c.table)) {
		return c.table[piece], n % pieceBlocks * MaxFrameSize
	}
	return c.at, (n - int64(len(c.table))*pieceBlocks) * MaxFrameSize
}

// Close implements Reader.
func (r *diskReader) Close() error {
	if !r.closed {
		r.closed = true
		r.chunk.release()
	}
	return nil
}
