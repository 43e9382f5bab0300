package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/erasure"
	"partstore/node/qingstor"
)

// gateway moves payloads between clients and the stores of the cluster. It is
// what this node does for its own clients; put.go and get.go are its story.
type gateway struct {
	registry   metadata.Registry
	engine     *erasure.Engine
	view       func() *layout.View
	store      func(layout.StoreID) (chunkstore.Store, error)
	attempts   *attempts
	avoid      func(layout.StoreID, error)                                         // a store failed; leave it alone for a while
	avoidReads *avoidance                                                          // stores to be read from last
	recheck    func(context.Context)                                               // try the stores left alone once more
	now        func() time.Time                                                    // wall clock; decides nothing
	suspect    func(upload layout.UploadID, p metadata.Part, chunk int, err error) // hears of chunks that could not be read
	log        *slog.Logger
}

// maxPlacements bounds how often one payload is placed anew because stores
// failed before anything of it was lost.
const maxPlacements = 4

// dropTimeout bounds the clean-up after a refused attempt.
const dropTimeout = 10 * time.Second

// PutPart stores one part of an open upload. See the numbered steps in
// docs/architecture.md.
func (g *gateway) PutPart(ctx context.Context, ref metadata.UploadRef, number layout.PartNumber, p qingstor.Payload) (metadata.ETag, error) {
	part, err := g.storePayload(ctx, p, label{ref: ref, number: number})
	if err != nil {
		return metadata.ETag{}, err
	}
	part.Number = number
	err = g.registry.CommitPart(ctx, ref, part)
	g.dropRefused(ctx, part.Layout, err)
	return part.ETag, err
}

// PutObject stores an object in one piece. Its ID is fresh, so that it is an
// upload of one part that nobody else knows of.
func (g *gateway) PutObject(ctx context.Context, bucket, key string, headers metadata.Headers, p qingstor.Payload) (metadata.Object, error) {
	id := layout.NewUploadID()
	part, err := g.storePayload(ctx, p, label{ref: metadata.UploadRef{Bucket: bucket, Key: key, ID: id}})
	if err != nil {
		return metadata.Object{}, err
	}
	return g.registry.PutObject(ctx, metadata.PutObject{Bucket: bucket, Key: key, ID: id, Part: part, Headers: headers})
}

// storePayload makes a payload durable on the stores of a group and returns the
// record that would make it exist. Nothing else has happened when it fails.
func (g *gateway) storePayload(ctx context.Context, p qingstor.Payload, l label) (metadata.Part, error) {
	if p.Key != nil {
		return g.storeSealed(ctx, p, l)
	}
	return g.storePlain(ctx, p, l)
}

// storePlain stores the bytes of a payload as they are.
func (g *gateway) storePlain(ctx context.Context, p qingstor.Payload, l label) (metadata.Part, error) {
	// A payload nobody can place, or hold, is refused before its body is asked for.
	if p.Size != 0 {
		place, err := g.place(ctx, layout.AttemptID{}, p.Size)
		if err != nil {
			return metadata.Part{}, err
		}
		release, err := g.engine.ReserveWrite(ctx, place.Scheme, p.Size)
		if err != nil {
			return metadata.Part{}, err
		}
		defer release()
	}
	body := g.engine.NewEncoder(p.Body)
	defer body.Close()
	size := p.Size
	if size < 0 {
		n, whole, err := body.Peek(layout.SmallPartSize)
		if err != nil {
			return metadata.Part{}, err
		}
		if whole {
			size = int64(n)
		}
	}
	if size == 0 {
		return g.emptyPart(p)
	}
	for try := 1; ; try++ {
		part, err := g.attempt(ctx, body, size, p.MD5, l)
		if err == nil || !errors.Is(err, erasure.ErrWriteQuorum) || !body.Retryable() || try == maxPlacements {
			return part, err
		}
		g.log.InfoContext(ctx, "place payload anew", "upload", l.ref.ID, "part", l.number, "err", err)
	}
}

// attempt places, writes and commits the chunks of a payload once.
func (g *gateway) attempt(ctx context.Context, body *erasure.Encoder, size int64, promised *metadata.ETag, l label) (metadata.Part, error) {
	id, err := g.attempts.next()
	if err != nil {
		return metadata.Part{}, err
	}
	place, err := g.place(ctx, id, size)
	if err != nil {
		return metadata.Part{}, err
	}
	chunks, err := body.Write(ctx, g.sink(id, place, l))
	if err != nil {
		return metadata.Part{}, err
	}
	defer chunks.Abort() // does nothing once they are committed
	switch etag := metadata.ETag(chunks.MD5); {
	case size >= 0 && chunks.Size != size:
		return metadata.Part{}, fmt.Errorf("%w: %d of %d bytes", qingstor.ErrIncompleteBody, chunks.Size, size)
	case promised != nil && etag != *promised:
		return metadata.Part{}, qingstor.ErrBadDigest
	}
	durable, err := chunks.Commit()
	if err != nil {
		return metadata.Part{}, err
	}
	return metadata.Part{
		Size:     chunks.Size,
		ETag:     chunks.MD5,
		Modified: g.now(),
		Layout: layout.Layout{
			Attempt: id,
			Scheme:  place.Scheme,
			Size:    chunks.Size,
			Group:   place.Group.ID,
			Slots:   place.Slots,
			Durable: durable,
		},
	}, nil
}

// place chooses where an attempt goes. That a store is avoided is only a hint,
// so before a payload is refused the avoided ones are tried once more.
func (g *gateway) place(ctx context.Context, id layout.AttemptID, size int64) (layout.Placement, error) {
	place, err := layout.Place(g.view(), id, size)
	if errors.Is(err, layout.ErrNoMargin) {
		g.recheck(ctx)
		place, err = layout.Place(g.view(), id, size)
	}
	return place, err
}

// sink says where the chunks of an attempt go.
func (g *gateway) sink(id layout.AttemptID, place layout.Placement, l label) erasure.Sink {
	l.scheme, l.group, l.slots = place.Scheme, place.Group.ID, place.Slots
	encoded := l.encode()
	return erasure.Sink{
		Scheme: place.Scheme,
		Create: func(ctx context.Context, i int) (erasure.ShardWriter, error) {
			store, err := g.store(place.Store(i))
			if err != nil {
				return nil, err
			}
			return store.Create(ctx, layout.ChunkID{Attempt: id, Index: uint8(i)}, encoded)
		},
		Report: func(i int, err error) {
			g.log.InfoContext(context.Background(), "chunk not written", "attempt", id, "chunk", i, "store", place.Store(i), "err", err)
			g.avoid(place.Store(i), err)
		},
	}
}

// emptyPart is the part without stripes, and so without chunks.
func (g *gateway) emptyPart(p qingstor.Payload) (metadata.Part, error) {
	if p.MD5 != nil && *p.MD5 != emptyETag {
		return metadata.Part{}, qingstor.ErrBadDigest
	}
	id, err := g.attempts.next()
	return metadata.Part{ETag: emptyETag, Modified: g.now(), Layout: layout.Layout{Attempt: id}}, err
}

// emptyETag is the MD5 of no bytes.
var emptyETag = metadata.ETag{0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e}

// dropRefused deletes the chunks of an attempt whose upload has ended, or of an
// append that came too late: upload IDs never come back, and an append that was
// refused stays so; no copy of the command still under way can be accepted. After
// any other error the record may exist, or may yet come to
// exist, and the chunks stay.
func (g *gateway) dropRefused(ctx context.Context, l layout.Layout, err error) {
	if !errors.Is(err, metadata.ErrUploadNotFound) && !errors.Is(err, metadata.ErrPosition) && !errors.Is(err, metadata.ErrNotAppendable) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	for i := range l.Slots {
		if err := g.deleteChunk(ctx, l, i); err != nil && !errors.Is(err, chunkstore.ErrNotFound) {
			g.log.InfoContext(ctx, "delete chunk of refused attempt", "chunk", l.Chunk(i), "err", err)
		}
	}
}

func (g *gateway) deleteChunk(ctx context.Context, l layout.Layout, i int) error {
	store, err := g.holder(l, i)
	if err != nil {
		return err
	}
	return store.Delete(ctx, l.Chunk(i))
}
