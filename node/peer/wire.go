package peer

import (
	"encoding/binary"
	"fmt"
	"io"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// MaxCallSize bounds the request and the answer of a Call, in bytes.
const MaxCallSize = 8 << 20

// These constants are part of the protocol and must not change. DESIGN.md has
// the picture.
const (
	chunkPath   = "/v1/chunk/"
	statPath    = "/v1/stat/"
	listPath    = "/v1/list/"
	callPath    = "/v1/call/"
	raftPath    = "/v1/raft"
	raftUpgrade = "partstore-raft"

	streamPath    = "/v1/chunks"
	streamUpgrade = "partstore-chunks"

	headerNode        = "Partstore-Node"         // of an answer: who gave it
	headerError       = "Partstore-Error"        // code of an error of the protocol or a store
	headerRemoteError = "Partstore-Remote-Error" // code of an error of a Handler

	// A chunk stream is a sequence of records. A record begins with its head, a
	// little-endian uint32: the payload size of a block, or one of these.
	headEnd     = 1 << 31   // a count of the blocks, and its checksum: complete
	headFailure = 1<<31 + 1 // a code and a text: no more blocks will come
	headAgreed  = 1<<31 + 2 // to one who writes: the store takes the chunk, as far as it can tell at the start
	headDone    = 1<<31 + 3 // to one who writes: the chunk is committed

	headSize      = 4
	endSize       = 8 + chunkstore.ChecksumSize        // after the head
	maxRecordSize = headSize + chunkstore.MaxFrameSize // of a block
	maxListPage   = 1000
	maxErrorText  = 1024

	endNumber = chunkstore.LabelNumber - 2 // in place of a block number in the end's checksum
)

// A chunkRequest opens every exchange on a connection for chunks.
type chunkRequest struct {
	op           byte
	store        layout.StoreID
	chunk        layout.ChunkID
	first, count int64 // of opRead: blocks; a negative count means all that follow
}

const (
	opRead   = 1
	opWrite  = 2 // a chunk in one message: no agreement is awaited
	opStream = 3 // a chunk of unknown length

	requestSize = 1 + 16 + 16 + 1 + 8 + 8
)

func (r chunkRequest) append(dst []byte) []byte {
	dst = append(append(dst, r.op), r.store[:]...)
	dst = append(append(dst, r.chunk.Attempt[:]...), r.chunk.Index)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.first))
	return binary.LittleEndian.AppendUint64(dst, uint64(r.count))
}

func parseChunkRequest(b *[requestSize]byte) (chunkRequest, error) {
	r := chunkRequest{
		op:    b[0],
		store: layout.StoreID(b[1:17]),
		chunk: layout.ChunkID{Attempt: layout.AttemptID(b[17:33]), Index: b[33]},
		first: int64(binary.LittleEndian.Uint64(b[34:])),
		count: int64(binary.LittleEndian.Uint64(b[42:])),
	}
	if r.op < opRead || r.op > opStream || r.first < 0 || r.op != opRead && (r.first != 0 || r.count != 0) {
		return r, fmt.Errorf("chunk request %x: %w", b[:], ErrBadRequest)
	}
	return r, nil
}

// appendLabel appends what precedes the records of a chunk that is written.
func appendLabel(dst []byte, seal chunkstore.Seal, label []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(label)))
	return seal.AppendChecksum(append(dst, label...), chunkstore.LabelNumber, label)
}

func readLabel(r io.Reader, seal chunkstore.Seal) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint16(head[:]))
	if size > chunkstore.MaxLabelSize {
		return nil, fmt.Errorf("label of %d bytes: %w", size, ErrBadRequest)
	}
	b := make([]byte, size+chunkstore.ChecksumSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return b[:size], seal.Verify(chunkstore.LabelNumber, b[:size], b[size:])
}

// appendHead appends the head of the record of a block of size payload bytes;
// the block's frame follows it.
func appendHead(dst []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(size))
}

// appendEnd appends the record that says a stream of so many blocks is complete.
func appendEnd(dst []byte, seal chunkstore.Seal, blocks int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, headEnd)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(blocks))
	return seal.AppendChecksum(dst, endNumber, dst[len(dst)-8:])
}

func appendFailure(dst []byte, err error) []byte {
	code, _ := codeOf(err)
	text := err.Error()
	text = text[:min(len(text), maxErrorText)]
	dst = binary.LittleEndian.AppendUint32(dst, headFailure)
	dst = append(append(dst, byte(len(code))), code...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(text)))
	return append(dst, text...)
}

// An Info travels as attempt, index, size, label size, label.
const infoHeadSize = 16 + 1 + 8 + 2

func appendInfo(dst []byte, info chunkstore.Info) []byte {
	dst = append(append(dst, info.ID.Attempt[:]...), info.ID.Index)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(info.Size))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(info.Label)))
	return append(dst, info.Label...)
}

// parseInfos reads any number of Infos.
func parseInfos(b []byte) ([]chunkstore.Info, error) {
	var infos []chunkstore.Info
	for len(b) > 0 {
		if len(b) < infoHeadSize {
			return nil, fmt.Errorf("chunk info of %d bytes: %w", len(b), ErrBadRequest)
		}
		info := chunkstore.Info{
			ID:   layout.ChunkID{Attempt: layout.AttemptID(b[:16]), Index: b[16]},
			Size: int64(binary.LittleEndian.Uint64(b[17:])),
		}
		size := int(binary.LittleEndian.Uint16(b[25:]))
		b = b[infoHeadSize:]
		if info.Size < -1 || size > chunkstore.MaxLabelSize || size > len(b) {
			return nil, fmt.Errorf("chunk info with a label of %d bytes: %w", size, ErrBadRequest)
		}
		if size > 0 {
			info.Label = b[:size:size]
		}
		infos = append(infos, info)
		b = b[size:]
	}
	return infos, nil
}
