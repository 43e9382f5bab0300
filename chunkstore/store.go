package chunkstore

import (
	"context"
	"errors"
	"io"

	"partstore/internal/layout"
)

// Errors of a Store, local or remote. Absent, damaged and unreachable are three
// different facts and stay three errors all the way up.
var (
	// ErrNotFound reports a chunk this store does not have: the store looked
	// and says so.
	ErrNotFound = errors.New("chunk not found")
	// ErrExists reports a Create or Commit of a chunk this store already has.
	ErrExists = errors.New("chunk exists")
	// ErrCorrupt reports a chunk whose bytes fail a check. They were not returned.
	ErrCorrupt = errors.New("chunk corrupt")
	// ErrFull reports that the store has no room for the chunk.
	ErrFull = errors.New("store full")
	// ErrFenced reports a store that stopped taking writes after a failed sync:
	// what it was told since its last good sync may be lost. It stays fenced.
	ErrFenced = errors.New("store fenced")
	// ErrUnavailable reports a store that could not be asked. It says nothing
	// about the chunk.
	ErrUnavailable = errors.New("store unavailable")
)

// MaxLabelSize bounds the label of a chunk, in bytes.
const MaxLabelSize = 3072

// Store keeps chunks. The local drive and a store of another node look the
// same; chunkstoretest.Run is the contract as a test. All methods may be called
// concurrently. Errors wrap the sentinels above, or the context's error.
type Store interface {
	// Create starts a chunk. Nobody sees it before Writer.Commit. The label is
	// opaque, at most MaxLabelSize bytes, and is kept with the chunk. An
	// existing chunk is ErrExists, here or at Commit. The context bounds the
	// whole life of the Writer: when it ends, the write is aborted.
	Create(ctx context.Context, id layout.ChunkID, label []byte) (Writer, error)

	// Open returns a reader of the blocks from first on, count of them, or all
	// that follow if count is negative. A range beyond the end is empty. The
	// context bounds the whole life of the Reader.
	Open(ctx context.Context, id layout.ChunkID, first, count int64) (Reader, error)

	// Stat describes a committed chunk. It checks header and label, not the
	// blocks: whether a chunk is whole takes a Stat and a read to the end.
	Stat(ctx context.Context, id layout.ChunkID) (Info, error)

	// Delete removes a chunk for good; when it returns nil the chunk stays
	// gone. An absent chunk is ErrNotFound.
	Delete(ctx context.Context, id layout.ChunkID) error

	// List returns up to limit committed chunks with IDs after the given one,
	// in the order of ChunkID.Compare; the zero ChunkID starts from the
	// beginning (it names no chunk). An empty page means that none follow; a
	// short one means nothing. A chunk whose header or label is damaged is
	// listed with Size -1 and no label.
	List(ctx context.Context, after layout.ChunkID, limit int) ([]Info, error)
}

// Replacer is a Store that can mend its chunks. Only the node of a store does
// that, so the store of another node is none. chunkstoretest.RunReplacer is the
// contract as a test.
type Replacer interface {
	Store

	// Replace starts the successor of a chunk; an absent one is ErrNotFound,
	// here or at Commit. Until Commit the old chunk stays what readers see; at
	// no instant, and after no crash, is there neither. A Reader that is under
	// way goes on with the old chunk, or ends with ErrUnavailable. Everything
	// else is as of Create.
	Replace(ctx context.Context, id layout.ChunkID, label []byte) (Writer, error)
}

// Info describes a committed chunk.
type Info struct {
	ID    layout.ChunkID
	Size  int64 // payload bytes; -1 in a List if the chunk is damaged
	Label []byte
}

// Writer takes one chunk, block by block. It is not safe for concurrent use.
// Exactly one of Commit and Abort ends it; Abort after Commit does nothing.
type Writer interface {
	// WriteBlock appends one block. Every block but the last must be exactly
	// layout.BlockSize bytes, the last 1 to layout.BlockSize. The slice is the
	// caller's again when WriteBlock returns.
	WriteBlock(block []byte) error

	// Commit makes the chunk visible and returns nil only when the chunk and
	// its name would survive power loss. After an error the chunk may or may
	// not exist.
	Commit() error

	// Abort drops what was written. It never fails in a way a caller could
	// mend: leftovers of an abort are swept when the store opens.
	Abort()
}

// Reader returns the blocks of a range in order, each one verified. It is not
// safe for concurrent use.
type Reader interface {
	// Next reads the next block into buf, which must hold layout.BlockSize
	// bytes, and returns its length, or io.EOF after the last block of the
	// range. After ErrCorrupt or ErrUnavailable the reader is of no more use.
	Next(buf []byte) (int, error)

	// Close releases the reader; it may be called early and twice.
	io.Closer
}
