package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// OwnedPart is a part record and the upload it belongs to.
type OwnedPart struct {
	Upload layout.UploadID
	Part
}

// AllParts lists up to limit part rows of this node's copy that come after one
// of them (nil: from the start), in an order of no meaning. Rows of discarded
// uploads are among them until their chunks are gone.
func (r *Raft) AllParts(after *OwnedPart, limit int) (parts []OwnedPart, err error) {
	err = r.asTheyAre(func(rows pebble.Reader) error {
		parts, err = allParts(rows, after, limit)
		return err
	})
	return parts, err
}

func allParts(rows pebble.Reader, after *OwnedPart, limit int) (parts []OwnedPart, err error) {
	from := []byte{rowPart}
	if after != nil {
		from = append(partKey(after.Upload, after.Number), 0)
	}
	it, err := rows.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{rowPart + 1}})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok && len(parts) < limit; ok = it.Next() {
		p := OwnedPart{}
		err := decodeValue(it.Value(), p.Part.code)
		if len(it.Key()) != 1+len(p.Upload)+2 {
			err = errMalformed
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("row %q: %w", it.Key(), err), it.Close())
		}
		copy(p.Upload[:], it.Key()[1:])
		parts = append(parts, p)
	}
	return parts, it.Close()
}

// DurableChunk is a chunk that a store reported durable after its part was
// committed.
type DurableChunk struct {
	PartRef
	Epoch uint32 // of the part's group: since then the slot must not have changed hands
	Index uint8
}

// MaxDurableChunks bounds one call of RecordDurable.
const MaxDurableChunks = 256

// RecordDurable has part records name chunks that are durable now, and reports
// for each whether its record does. It does not if the record is another by now,
// or is gone, or if the chunk's slot has changed hands.
func (r *Raft) RecordDurable(ctx context.Context, chunks []DurableChunk) (recorded []bool, err error) {
	err = r.proposeFor(ctx, &recordDurable{chunks}, func(c *coder) {
		codeList(c, &recorded, MaxDurableChunks, func(b *bool, c *coder) { c.bool(b) })
	})
	if err == nil && len(recorded) != len(chunks) {
		err = fmt.Errorf("%w: %d results for %d chunks", errMalformed, len(recorded), len(chunks))
	}
	return recorded, err
}

// recordDurable needs no memory of having been done: doing it again changes
// nothing.
type recordDurable struct {
	Chunks []DurableChunk
}

func (*recordDurable) kind() commandKind { return kindRecordDurable }
func (x *recordDurable) code(c *coder) {
	codeList(c, &x.Chunks, MaxDurableChunks, func(d *DurableChunk, c *coder) {
		c.fixed(d.Upload[:])
		codeUint(c, &d.Number, layout.MaxPartNumber)
		c.fixed(d.Attempt[:])
		c.uint32(&d.Epoch)
		c.byte(&d.Index)
	})
}

func (x *recordDurable) apply(m *machine) (r result, err error) {
	recorded := make([]bool, len(x.Chunks))
	for i, d := range x.Chunks {
		if recorded[i], err = d.record(m); err != nil {
			return r, err
		}
	}
	r.payload, err = encodeValue(func(c *coder) {
		codeList(c, &recorded, MaxDurableChunks, func(b *bool, c *coder) { c.bool(b) })
	})
	return r, err
}

func (d *DurableChunk) record(m *machine) (bool, error) {
	key := partKey(d.Upload, d.Number)
	var p Part
	found, err := m.get(key, p.code)
	if !found || err != nil {
		return false, err
	}
	l := &p.Layout
	if l.Attempt != d.Attempt || int(d.Index) >= len(l.Slots) {
		return false, nil
	}
	if g := m.groups[l.Group]; d.Epoch > g.Epoch || d.Epoch < max(g.Move(l.Slots[d.Index]).Epoch, 1) {
		return false, nil // the slot was another store's
	}
	if l.IsDurable(int(d.Index)) {
		return true, nil
	}
	l.Durable |= 1 << d.Index
	return true, m.put(key, p.code)
}
