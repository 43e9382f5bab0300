package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// messageSize is how much of a chunk is collected before it is sent, in bytes:
// one block, as most chunks of small parts have. A chunk that fits goes out as
// one message when it is committed.
const messageSize = requestSize + 2 + chunkstore.MaxLabelSize + chunkstore.ChecksumSize + maxRecordSize + headSize + endSize

var messages = sync.Pool{New: func() any { return new([messageSize]byte) }}

var (
	errEnded    = errors.New("writer has ended")
	errAnswered = fmt.Errorf("%w: answer before the end of the chunk", ErrUnreachable)
)

// Create implements chunkstore.Store. Nothing is sent before the second block
// or the commit, and so a refusal shows there.
func (s *remoteStore) Create(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error) {
	op := "create chunk " + id.String()
	if err := ctx.Err(); err != nil {
		return nil, s.fail(op, err)
	}
	if len(label) > chunkstore.MaxLabelSize {
		return nil, fmt.Errorf("%s: label of %d bytes; at most %d are kept", op, len(label), chunkstore.MaxLabelSize)
	}
	to, err := s.client.resolve(s.node)
	if err != nil {
		return nil, s.fail(op, err)
	}
	w := &remoteWriter{
		store: s, to: to, ctx: ctx, id: id, seal: chunkstore.NewSeal(id),
		message: messages.Get().(*[messageSize]byte),
	}
	w.buf = chunkRequest{op: opWrite, store: s.store, chunk: id}.append(w.message[:0])
	w.buf = appendLabel(w.buf, w.seal, label)
	return w, nil
}

var _ chunkstore.RunWriter = (*remoteWriter)(nil)

// remoteWriter sends one chunk: in one message if it is short, else as a stream
// of blocks that are sent from where they lie.
type remoteWriter struct {
	store *remoteStore
	to    target
	ctx   context.Context // bounds the life of the writer, see Store.Create
	id    layout.ChunkID
	seal  chunkstore.Seal
	seq   chunkstore.Sequence

	message *[messageSize]byte // nil once it has been sent
	buf     []byte             // the part of message that is filled
	conn    *chunkConn         // nil while all there is lies in buf
	agreed  bool               // the other side takes the chunk
	edges   []byte             // heads and checksums of the blocks being sent
	pieces  [][]byte           // all that is being sent
	err     error              // the first one; sticky
}

func (w *remoteWriter) fail(err error) error {
	if w.err == nil {
		w.err = w.store.fail("write chunk "+w.id.String(), w.store.client.explain(w.ctx, err))
	}
	return w.err
}

// WriteBlock implements chunkstore.Writer.
func (w *remoteWriter) WriteBlock(block []byte) error { return w.WriteRun([][]byte{block}) }

// WriteRun implements chunkstore.RunWriter. It takes as few system calls as the
// connection can do with.
func (w *remoteWriter) WriteRun(blocks [][]byte) error {
	if w.err != nil {
		return w.err
	}
	number := w.seq.Blocks
	if err := w.ctx.Err(); err != nil {
		return w.fail(err)
	}
	for _, block := range blocks {
		if err := w.seq.Add(len(block)); err != nil {
			w.err = fmt.Errorf("write chunk %s: %w", w.id, err) // the caller's mistake, not the store's
			return w.err
		}
	}
	if w.conn == nil && number == 0 && len(blocks) > 0 {
		w.buf = w.seal.AppendFrame(appendHead(w.buf, len(blocks[0])), 0, blocks[0])
		number, blocks = 1, blocks[1:]
	}
	if len(blocks) == 0 {
		return nil
	}
	if err := w.stream(); err != nil {
		return w.fail(err)
	}
	if err := w.hearRefusal(); err != nil {
		return w.fail(err)
	}
	if err := w.send(number, blocks); err != nil {
		return w.fail(w.refusal(err))
	}
	return nil
}

// send sends records of blocks from a number on; the blocks are sent from where
// they lie.
func (w *remoteWriter) send(number int64, blocks [][]byte) error {
	const size = headSize + chunkstore.ChecksumSize
	w.edges = slices.Grow(w.edges[:0], len(blocks)*size)
	for i, block := range blocks {
		w.edges = w.seal.AppendChecksum(appendHead(w.edges, len(block)), number+int64(i), block)
		edge := w.edges[i*size:]
		w.pieces = append(w.pieces, edge[:headSize], block, edge[headSize:])
	}
	err := w.conn.send(w.pieces...)
	clear(w.pieces)
	w.pieces = w.pieces[:0]
	return err
}

// stream makes sure that the chunk is being sent as a stream.
func (w *remoteWriter) stream() (err error) {
	if w.conn != nil {
		return nil
	}
	if w.conn, err = w.store.client.begin(w.ctx, w.to, false); err != nil {
		return err
	}
	w.buf[0] = opStream
	if err := w.conn.send(w.buf); err != nil {
		return w.refusal(err)
	}
	w.recycle()
	return nil
}

// hearRefusal looks for an answer that has come early.
func (w *remoteWriter) hearRefusal() error {
	if !w.conn.answered() {
		return nil
	}
	return w.hear(headAgreed)
}

// refusal is why a stream broke, if the other side said so before it hung up.
func (w *remoteWriter) refusal(broken error) error {
	if isTimeout(broken) {
		return broken // nothing was said, and nothing will be soon
	}
	for {
		if err := w.hear(headAgreed); err != nil {
			var said *reported
			if errors.As(err, &said) {
				return err
			}
			return broken
		}
	}
}

// hear reads answers up to the one wanted. Agreement comes first, once.
func (w *remoteWriter) hear(want uint32) error {
	for {
		head, err := w.conn.answer()
		switch {
		case err != nil:
			return err
		case head == headAgreed && !w.agreed:
			w.agreed = true
		case head == headAgreed || head != want:
			return errAnswered
		}
		if head == want {
			return nil
		}
	}
}

// Confirm returns nil once the other side has agreed to take the chunk. It
// sends what there is so far.
func (w *remoteWriter) Confirm() error {
	if w.err != nil {
		return w.err
	}
	if err := w.stream(); err != nil {
		return w.fail(err)
	}
	if w.agreed {
		return nil
	}
	if err := w.hear(headAgreed); err != nil {
		return w.fail(err)
	}
	return nil
}

// Commit implements chunkstore.Writer.
func (w *remoteWriter) Commit() error {
	defer w.Abort() // drops what a failure leaves; nothing after success
	if w.err != nil {
		return w.err
	}
	if err := w.ctx.Err(); err != nil {
		return w.fail(err)
	}
	if w.conn == nil {
		w.buf = appendEnd(w.buf, w.seal, w.seq.Blocks)
		if err := w.store.client.exchange(w.ctx, w.to, w.buf); err != nil {
			return w.fail(err)
		}
		return nil
	}
	if err := w.conn.send(appendEnd(nil, w.seal, w.seq.Blocks)); err != nil {
		return w.fail(w.refusal(err))
	}
	if err := w.hear(headDone); err != nil {
		return w.fail(err)
	}
	w.conn.keep()
	w.conn = nil
	return nil
}

// Abort implements chunkstore.Writer. The other side drops a chunk whose
// stream breaks off before its end record.
func (w *remoteWriter) Abort() {
	if w.err == nil {
		w.err = fmt.Errorf("write chunk %s: %w", w.id, errEnded)
	}
	if w.conn != nil {
		w.conn.drop()
		w.conn = nil
	}
	w.recycle()
}

func (w *remoteWriter) recycle() {
	if w.message != nil {
		messages.Put(w.message)
		w.message, w.buf = nil, nil
	}
}
