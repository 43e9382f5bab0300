package chunkstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"partstore/internal/layout"
)

// Memory is a Store in memory, for tests and measurements of what lies above
// a Store. Nothing in it outlives the process.
type Memory struct {
	mu     sync.RWMutex
	chunks map[layout.ChunkID]*memoryChunk
}

// memoryChunk never changes once it is in the map.
type memoryChunk struct {
	label  []byte
	size   int64
	frames [][]byte
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{chunks: map[layout.ChunkID]*memoryChunk{}} }

func (m *Memory) find(ctx context.Context, id layout.ChunkID) (*memoryChunk, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := m.chunks[id]
	if c == nil {
		return nil, ErrNotFound
	}
	return c, nil
}

// Create implements Store.
func (m *Memory) Create(ctx context.Context, id layout.ChunkID, label []byte) (Writer, error) {
	if len(label) > MaxLabelSize {
		return nil, fmt.Errorf("create chunk %s: label of %d bytes", id, len(label))
	}
	switch _, err := m.find(ctx, id); {
	case err == nil:
		return nil, fmt.Errorf("create chunk %s: %w", id, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("create chunk %s: %w", id, err)
	}
	return m.newWriter(ctx, id, label), nil
}

func (m *Memory) newWriter(ctx context.Context, id layout.ChunkID, label []byte) *memoryWriter {
	return &memoryWriter{memory: m, ctx: ctx, id: id, seal: NewSeal(id), chunk: &memoryChunk{label: bytes.Clone(label)}}
}

// Replace implements Replacer.
func (m *Memory) Replace(ctx context.Context, id layout.ChunkID, label []byte) (Writer, error) {
	_, err := m.find(ctx, id)
	if err == nil && len(label) > MaxLabelSize {
		err = fmt.Errorf("label of %d bytes", len(label))
	}
	if err != nil {
		return nil, fmt.Errorf("replace chunk %s: %w", id, err)
	}
	w := m.newWriter(ctx, id, label)
	w.replaces = true
	return w, nil
}

// Stat implements Store.
func (m *Memory) Stat(ctx context.Context, id layout.ChunkID) (Info, error) {
	c, err := m.find(ctx, id)
	if err != nil {
		return Info{}, fmt.Errorf("stat chunk %s: %w", id, err)
	}
	return Info{ID: id, Size: c.size, Label: bytes.Clone(c.label)}, nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, id layout.ChunkID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete chunk %s: %w", id, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chunks[id] == nil {
		return fmt.Errorf("delete chunk %s: %w", id, ErrNotFound)
	}
	delete(m.chunks, id)
	return nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, after layout.ChunkID, limit int) ([]Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list chunks: %w", err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var infos []Info
	for id, c := range m.chunks {
		if id.Compare(after) > 0 {
			infos = append(infos, Info{ID: id, Size: c.size, Label: bytes.Clone(c.label)})
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return a.ID.Compare(b.ID) })
	return infos[:min(len(infos), max(0, limit))], nil
}

// Open implements Store.
func (m *Memory) Open(ctx context.Context, id layout.ChunkID, first, count int64) (Reader, error) {
	c, err := m.find(ctx, id)
	if err == nil && first < 0 {
		err = fmt.Errorf("block %d", first)
	}
	if err != nil {
		return nil, fmt.Errorf("open chunk %s: %w", id, err)
	}
	frames := c.frames[min(first, int64(len(c.frames))):]
	if count >= 0 {
		frames = frames[:min(count, int64(len(frames)))]
	}
	return &memoryReader{ctx: ctx, id: id, seal: NewSeal(id), next: first, frames: frames}, nil
}
