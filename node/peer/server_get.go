package peer

import (
	"context"
	"errors"
	"io"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

// read sends the blocks of a range, several at a time, or why there are none.
// It reports whether the asker can go on from there: an asker that is gone does
// not care, and one that is there learns everything in the stream.
func (c *serverConn) read(ctx context.Context, store chunkstore.Store, request chunkRequest, refusal error) bool {
	if refusal != nil {
		return c.send(appendFailure(nil, refusal)) == nil
	}
	in, err := store.Open(ctx, request.chunk, request.first, request.count)
	if err != nil {
		return c.send(appendFailure(nil, err)) == nil
	}
	defer in.Close()
	buffer := sendBuffers.Get().(*[sendBufferSize]byte)
	defer sendBuffers.Put(buffer)
	out := outgoing{seal: chunkstore.NewSeal(request.chunk), next: request.first}
	buf := buffer[:0]
	for {
		record, err := out.appendNext(buf, in)
		if errors.Is(err, io.EOF) {
			return c.send(appendEnd(buf, out.seal, out.next-request.first)) == nil
		}
		if err != nil {
			return c.send(appendFailure(buf, err)) == nil
		}
		buf = record
		if len(buf)+maxRecordSize > cap(buf)-2*maxErrorText {
			if c.send(buf) != nil {
				return false
			}
			buf = buffer[:0]
		}
	}
}

// outgoing makes records of blocks.
type outgoing struct {
	seal chunkstore.Seal
	next int64 // number of the next block
}

// appendNext appends the record of the next block of in.
func (o *outgoing) appendNext(buf []byte, in chunkstore.Reader) ([]byte, error) {
	head := len(buf)
	space := buf[head+headSize : head+maxRecordSize]
	if in, ok := in.(chunkstore.FrameReader); ok {
		n, err := in.NextFrame(space)
		if err != nil {
			return nil, err
		}
		o.next++
		buf = appendHead(buf, n-chunkstore.ChecksumSize)
		return buf[:len(buf)+n], nil
	}
	n, err := in.Next(space[:layout.BlockSize])
	if err != nil {
		return nil, err
	}
	o.next++
	buf = appendHead(buf, n)
	buf = buf[:len(buf)+n]
	return o.seal.AppendChecksum(buf, o.next-1, buf[len(buf)-n:]), nil
}
