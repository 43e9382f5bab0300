package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/erasure"
	"partstore/node/qingstor"
	"partstore/node/repair"
)

// OpenObject finds an object and its parts.
func (g *gateway) OpenObject(ctx context.Context, bucket, key string) (qingstor.Object, error) {
	info, parts, err := g.registry.ObjectParts(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	o := &object{g: g, info: info, parts: parts, starts: make([]int64, len(parts))}
	var size int64
	for i, p := range parts {
		o.starts[i] = size
		size += p.Size
	}
	if size != info.Size {
		return nil, fmt.Errorf("object of %d bytes has parts of %d bytes", info.Size, size)
	}
	return o, nil
}

// object is an object as of the instant it was opened.
type object struct {
	g      *gateway
	info   metadata.Object
	parts  []metadata.Part
	starts []int64               // offset of each part in the object
	key    *qingstor.CustomerKey // of an encrypted object
}

func (o *object) Info() metadata.Object { return o.info }

func (o *object) Unlock(key *qingstor.CustomerKey) { o.key = key }

// Range returns the bytes of a range once their first stripe is in hand.
func (o *object) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	release, err := o.g.engine.ReserveRead(ctx, o.g.view().Scheme, length)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &rangeReader{ctx: ctx, cancel: cancel, release: sync.OnceFunc(release), pieces: o.pieces(offset, length), g: o.g}
	if err := r.advance(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// piece is the part of a range that lies in one part.
type piece struct {
	upload         layout.UploadID
	part           metadata.Part
	offset, length int64 // bytes of the payload
	key            *qingstor.CustomerKey
}

func (o *object) pieces(offset, length int64) []piece {
	first := sort.Search(len(o.starts), func(i int) bool { return o.starts[i]+o.parts[i].Size > offset })
	var ps []piece
	for i := first; i < len(o.parts) && length > 0; i++ {
		from := offset - o.starts[i]
		n := min(length, o.parts[i].Size-from)
		if n > 0 {
			ps = append(ps, piece{o.info.ID, o.parts[i], from, n, o.key})
		}
		offset, length = offset+n, length-n
	}
	return ps
}

// rangeReader reads the pieces of a range one after the other. While one is
// read, the next is being opened, so that a part's end costs no pause.
type rangeReader struct {
	ctx     context.Context // of the request: bounds every piece
	cancel  context.CancelFunc
	release func() // of memory, once
	g       *gateway
	pieces  []piece // not opened yet
	now     io.ReadCloser
	next    chan opened // nil if nothing is being opened
}

type opened struct {
	r   io.ReadCloser
	err error
}

// advance makes the next piece the current one; io.EOF after the last.
func (r *rangeReader) advance() error {
	if r.next == nil {
		r.prefetch()
	}
	if r.next == nil {
		return io.EOF
	}
	o := <-r.next
	r.next = nil
	if o.err != nil {
		return o.err
	}
	r.now = o.r
	r.prefetch()
	return nil
}

func (r *rangeReader) prefetch() {
	if len(r.pieces) == 0 {
		return
	}
	p := r.pieces[0]
	r.pieces = r.pieces[1:]
	next := make(chan opened, 1)
	r.next = next
	go func() { // advance or Close waits for it
		piece, err := r.g.openPiece(r.ctx, p)
		next <- opened{piece, err}
	}()
}

func (r *rangeReader) Read(b []byte) (int, error) {
	for {
		if r.now == nil {
			if err := r.advance(); err != nil {
				return 0, err
			}
		}
		n, err := r.now.Read(b)
		if err == io.EOF {
			err = r.now.Close()
			r.now = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// WriteTo hands each stripe to w without another copy.
func (r *rangeReader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if r.now == nil {
			if err := r.advance(); err != nil {
				if err == io.EOF {
					err = nil
				}
				return total, err
			}
		}
		n, err := io.Copy(w, r.now)
		total += n
		err = errors.Join(err, r.now.Close())
		r.now = nil
		if err != nil {
			return total, err
		}
	}
}

func (r *rangeReader) Close() (err error) {
	r.cancel()
	if r.now != nil {
		err = r.now.Close()
		r.now = nil
	}
	if r.next != nil {
		if o := <-r.next; o.r != nil {
			err = errors.Join(err, o.r.Close())
		}
		r.next = nil
	}
	r.pieces = nil
	r.release()
	return err
}

// openPiece returns the bytes of a piece once its first stripe is in hand.
func (g *gateway) openPiece(ctx context.Context, p piece) (io.ReadCloser, error) {
	if p.part.Sealed() {
		return openSealed(p, func(stored piece) (io.ReadCloser, error) { return g.openPlain(ctx, stored) })
	}
	return g.openPlain(ctx, p)
}

// openPlain returns the stored bytes of a piece as they are. Stores that seem
// down are left for last, not left out: that is only a hint.
func (g *gateway) openPlain(ctx context.Context, p piece) (io.ReadCloser, error) {
	return g.engine.Open(ctx, erasure.Source{
		Scheme: p.part.Layout.Scheme,
		Size:   p.part.Layout.Size,
		Last:   g.unlikely(p.part.Layout),
		Open: func(ctx context.Context, i int, first, count int64) (erasure.ShardReader, error) {
			return g.holders().Open(ctx, p.part.Layout, i, first, count)
		},
		Report: func(i int, err error) {
			g.log.InfoContext(ctx, "chunk not read", "chunk", p.part.Layout.Chunk(i), "err", err)
			if id, known := g.holderID(p.part.Layout, i); known && (errors.Is(err, erasure.ErrSlow) || errors.Is(err, chunkstore.ErrUnavailable)) {
				g.avoidReads.add(id, err)
			}
			g.suspect(p.upload, p.part, i, err)
		},
	}, p.offset, p.length)
}

// unlikely is the mask of the chunks that are probably not to be had.
func (g *gateway) unlikely(l layout.Layout) (mask uint32) {
	view := g.view()
	group, known := view.Group(l.Group)
	for i, slot := range l.Slots {
		if !known || !l.IsDurable(i) || !g.likely(view, group.Slots[slot]) && !(group.Unsettled(slot) && g.likely(view, group.Move(slot).Former)) {
			mask |= 1 << i
		}
	}
	return mask
}

func (g *gateway) likely(view *layout.View, id layout.StoreID) bool {
	return view.Stores[id].Alive && !g.avoidReads.has(id)
}

// reach is a gateway that only finds stores.
func (n *Node) reach() *gateway { return &gateway{view: n.currentView, store: n.storeByID} }

// holders finds the stores of chunks in what this node believes now.
func (g *gateway) holders() repair.Holders { return repair.Holders{Holder: g.holder, Former: g.former} }

// holder returns the store that holds chunk i of a layout.
func (g *gateway) holder(l layout.Layout, i int) (chunkstore.Store, error) {
	id, known := g.holderID(l, i)
	if !known {
		return nil, fmt.Errorf("group %d is not known here yet: %w", l.Group, chunkstore.ErrUnavailable)
	}
	return g.store(id)
}

func (g *gateway) holderID(l layout.Layout, i int) (id layout.StoreID, known bool) {
	group, known := g.view().Group(l.Group)
	if !known {
		return id, false
	}
	return group.Slots[l.Slots[i]], true
}

// former returns the store that may still be the only one with chunk i of a
// layout, if its slot has not settled.
func (g *gateway) former(l layout.Layout, i int) (chunkstore.Store, bool) {
	group, known := g.view().Group(l.Group)
	if !known || !group.Unsettled(l.Slots[i]) {
		return nil, false
	}
	store, err := g.store(group.Move(l.Slots[i]).Former)
	return store, err == nil
}
