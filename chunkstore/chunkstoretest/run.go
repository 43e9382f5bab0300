// Package chunkstoretest is the contract of chunkstore.Store as a test. Every
// Store must pass Run: the drive, the memory, the store of another node.
package chunkstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// Run tests the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) chunkstore.Store) {
	for _, tc := range []struct {
		name string
		test func(t *testing.T, s chunkstore.Store)
	}{
		{"sizes round-trip", testSizes},
		{"labels round-trip", testLabels},
		{"ranges are exact", testRanges},
		{"runs are exact", testRuns},
		{"nothing is seen before commit", testInvisible},
		{"abort leaves nothing", testAbort},
		{"writer ends once", testEnded},
		{"writer refuses what it must", testRefusals},
		{"runs are written whole", testWrittenRuns},
		{"frames are written whole", testWrittenFrames},
		{"absent chunk is not found", testAbsent},
		{"existing chunk stays", testExists},
		{"racing commits have one winner", testRace},
		{"delete is for good", testDelete},
		{"list is ordered and complete", testList},
		{"context bounds the writer", testWriterContext},
		{"context bounds the reader", testReaderContext},
		{"ended context is told", testEndedContext},
		{"reader closes early and twice", testReaderClose},
		{"caller keeps its slices", testSlices},
		{"many at once", testConcurrent},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, open(t)) })
	}
}

// ID returns the n-th of a series of chunk IDs in ascending order.
func ID(n int) layout.ChunkID {
	return layout.ChunkID{Attempt: layout.NewAttemptID(7, layout.RegistryTime(1<<20+n/4<<15), uint64(n)), Index: uint8(n % 3)}
}

// Content returns size bytes that depend on id.
func Content(id layout.ChunkID, size int) []byte {
	var seed [32]byte
	copy(seed[:], id.Attempt[:])
	seed[31] = id.Index
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// Write writes a chunk and commits it.
func Write(ctx context.Context, s chunkstore.Store, id layout.ChunkID, label, content []byte) error {
	w, err := s.Create(ctx, id, label)
	if err != nil {
		return err
	}
	defer w.Abort()
	for block := range slices.Chunk(content, layout.BlockSize) {
		if err := w.WriteBlock(block); err != nil {
			return err
		}
	}
	return w.Commit()
}

// Read reads the blocks from first on, count of them or all.
func Read(ctx context.Context, s chunkstore.Store, id layout.ChunkID, first, count int64) ([]byte, error) {
	r, err := s.Open(ctx, id, first, count)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var content []byte
	buf := make([]byte, layout.BlockSize)
	for {
		n, err := r.Next(buf)
		if errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return nil, err
		}
		content = append(content, buf[:n]...)
	}
}

// ReadRuns is Read in runs of so many blocks at most. It returns what it read
// before an error, too.
func ReadRuns(ctx context.Context, s chunkstore.Store, id layout.ChunkID, first, count int64, atOnce int) ([]byte, error) {
	r, err := s.Open(ctx, id, first, count)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	runs, ok := r.(chunkstore.RunReader)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	var content []byte
	buf := make([]byte, atOnce*layout.BlockRoom)
	for {
		blocks, err := runs.NextRun(buf, nil)
		switch {
		case errors.Is(err, io.EOF):
			return content, nil
		case err != nil:
			return content, err
		case len(blocks) == 0 || len(blocks) > atOnce:
			return content, fmt.Errorf("run of %d blocks, want 1 to %d", len(blocks), atOnce)
		}
		for _, b := range blocks {
			content = append(content, b...)
		}
	}
}

func mustWrite(t *testing.T, s chunkstore.Store, id layout.ChunkID, label, content []byte) {
	t.Helper()
	if err := Write(t.Context(), s, id, label, content); err != nil {
		t.Fatalf("write chunk %s of %d bytes: %v", id, len(content), err)
	}
}

func checkRead(t *testing.T, s chunkstore.Store, id layout.ChunkID, first, count int64, want []byte) {
	t.Helper()
	got, err := Read(t.Context(), s, id, first, count)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read chunk %s, blocks %d+%d = %d bytes, %v; want %d bytes, equal: %t",
			id, first, count, len(got), err, len(want), bytes.Equal(got, want))
	}
}

func checkError(t *testing.T, call string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s = %v, want %v", call, got, want)
	}
}
