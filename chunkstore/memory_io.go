package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"partstore/internal/layout"
)

type memoryWriter struct {
	memory *Memory
	ctx    context.Context // bounds the life of the writer, see Store.Create
	id     layout.ChunkID
	seal   Seal
	seq    Sequence
	chunk  *memoryChunk
	err    error // the first one; sticky

	replaces bool // a chunk that is there
}

func (w *memoryWriter) fail(err error) error {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("write chunk %s: %w", w.id, err)
	}
	return w.err
}

// WriteBlock implements Writer.
func (w *memoryWriter) WriteBlock(block []byte) error {
	number := w.seq.Blocks
	if err := w.fail(errors.Join(w.ctx.Err(), w.seq.Add(len(block)))); err != nil {
		return err
	}
	frame := make([]byte, 0, len(block)+ChecksumSize)
	w.chunk.frames = append(w.chunk.frames, w.seal.AppendFrame(frame, number, block))
	return nil
}

// WriteFrame implements FrameWriter.
func (w *memoryWriter) WriteFrame(size int, read func(room []byte) error) error {
	number := w.seq.Blocks
	if err := w.fail(errors.Join(w.ctx.Err(), w.seq.Add(size-ChecksumSize))); err != nil {
		return err
	}
	room := make([]byte, size+FrameSpare)
	if err := w.fail(read(room)); err != nil {
		return err
	}
	frame := room[:size:size]
	if _, err := w.seal.Payload(number, frame); err != nil {
		return w.fail(err)
	}
	w.chunk.frames = append(w.chunk.frames, frame)
	return nil
}

// Commit implements Writer.
func (w *memoryWriter) Commit() error {
	if err := w.fail(w.ctx.Err()); err != nil {
		return err
	}
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	switch old := w.memory.chunks[w.id]; {
	case old != nil && !w.replaces:
		return w.fail(ErrExists)
	case old == nil && w.replaces:
		return w.fail(ErrNotFound)
	}
	w.chunk.size = w.seq.Size
	w.memory.chunks[w.id] = w.chunk
	w.err = errEnded
	return nil
}

// Abort implements Writer.
func (w *memoryWriter) Abort() { _ = w.fail(errEnded) }

type memoryReader struct {
	ctx    context.Context // bounds the life of the reader, see Store.Open
	id     layout.ChunkID
	seal   Seal
	next   int64
	frames [][]byte // still to come; nil once closed
	closed bool
}

// Next implements Reader.
func (r *memoryReader) Next(buf []byte) (int, error) {
	frame, err := r.frame()
	if err != nil {
		return 0, err
	}
	return copy(buf, frame[:len(frame)-ChecksumSize]), nil
}

// NextFrame implements FrameReader.
func (r *memoryReader) NextFrame(buf []byte) (int, error) {
	frame, err := r.frame()
	if err != nil {
		return 0, err
	}
	return copy(buf, frame), nil
}

func (r *memoryReader) frame() ([]byte, error) {
	switch {
	case r.closed:
		return nil, fmt.Errorf("read chunk %s: %w", r.id, fs.ErrClosed)
	case r.ctx.Err() != nil:
		return nil, fmt.Errorf("read chunk %s: %w", r.id, r.ctx.Err())
	case len(r.frames) == 0:
		return nil, io.EOF
	}
	frame := r.frames[0]
	if _, err := r.seal.Payload(r.next, frame); err != nil {
		return nil, fmt.Errorf("read chunk %s: %w", r.id, err)
	}
	r.next++
	r.frames = r.frames[1:]
	return frame, nil
}

// Close implements Reader.
func (r *memoryReader) Close() error {
	r.closed, r.frames = true, nil
	return nil
}
