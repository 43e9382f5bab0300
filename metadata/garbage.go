package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// The garbage queue says whose chunks nobody will ask for again. The state
// machine fills it; a worker deletes the chunks and then has the rows taken
// away. The part rows of a whole upload, and those its object does not name, stay
// until then: they say where the chunks are.

// Garbage is one entry of the garbage queue: chunks that no record names any
// more.
type Garbage struct {
	Since    layout.RegistryTime
	Sequence uint64 // with Since: which entry it is
	Upload   layout.UploadID
	Part     *Part   // nil: every part of the upload
	Kept     PartSet // of every part: but these, which the upload's object names

	left int // part rows that are not kept
}

// garbageExtent says which parts of an upload an entry is about.
type garbageExtent = uint8

const (
	garbageWhole garbageExtent = 0
	garbagePart  garbageExtent = 1
	garbageRest  garbageExtent = 2 // all but some
)

func (g *Garbage) extent() garbageExtent {
	switch {
	case g.Part != nil:
		return garbagePart
	case g.Kept != nil:
		return garbageRest
	}
	return garbageWhole
}

func (g *Garbage) code(c *coder) {
	c.fixed(g.Upload[:])
	extent := g.extent()
	c.byte(&extent)
	switch extent {
	case garbageWhole:
	case garbagePart:
		if c.decoding {
			g.Part = &Part{}
		}
		g.Part.code(c)
	case garbageRest:
		codeUint(c, &g.left, maxParts)
		g.Kept.code(c)
	default:
		c.fail("garbage of extent %d", extent)
	}
}

// Garbage lists up to limit entries of this node's copy of the garbage queue,
// oldest first, that come after the given one (nil: from the start).
func (r *Raft) Garbage(after *Garbage, limit int) (page []Garbage, err error) {
	from := []byte{rowGarbage}
	if after != nil {
		from = append(garbageKey(after.Since, after.Sequence), 0)
	}
	err = r.asTheyAre(func(rows pebble.Reader) error {
		it, err := rows.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{rowGarbage + 1}})
		if err != nil {
			return err
		}
		for ok := it.First(); ok && len(page) < limit; ok = it.Next() {
			g := Garbage{}
			if err := decodeGarbage(it.Key(), it.Value(), &g); err != nil {
				return errors.Join(err, it.Close())
			}
			page = append(page, g)
		}
		return it.Close()
	})
	return page, err
}

func decodeGarbage(key, value []byte, g *Garbage) error {
	if len(key) != 17 {
		return fmt.Errorf("garbage row %x: %w", key, errMalformed)
	}
	g.Since = layout.RegistryTime(binary.BigEndian.Uint64(key[1:]))
	g.Sequence = binary.BigEndian.Uint64(key[9:])
	if err := decodeValue(value, g.code); err != nil {
		return fmt.Errorf("garbage row %x: %w", key, err)
	}
	return nil
}

// PartRows lists up to limit part rows of an upload in this node's copy, with
// numbers above after (-1: from the lowest), whatever has become of the upload.
func (r *Raft) PartRows(id layout.UploadID, after, limit int) (parts []Part, err error) {
	err = r.asTheyAre(func(rows pebble.Reader) error {
		parts, err = appendParts(nil, rows, id, after, limit)
		return err
	})
	return parts, err
}

// GarbageParts lists up to limit part rows that an entry of the garbage queue
// gives up, in this node's copy, with numbers above after (-1: from the lowest).
// An entry for one part has none.
func (r *Raft) GarbageParts(g Garbage, after, limit int) (parts []Part, err error) {
	err = r.asTheyAre(func(rows pebble.Reader) (err error) {
		parts, err = garbageParts(rows, &g, after, limit)
		return err
	})
	return parts, err
}

func garbageParts(rows pebble.Reader, g *Garbage, after, limit int) (parts []Part, err error) {
	if g.Part != nil || limit <= 0 {
		return nil, nil
	}
	err = scanParts(rows, g.Upload, after+1, g.Kept, false, func(value []byte) (bool, error) {
		parts = append(parts, Part{})
		return len(parts) < limit, decodeValue(value, parts[len(parts)-1].code)
	})
	return parts, err
}

// StillNamed reports for each entry of the garbage queue whether, against all
// rules, something names its chunks. It does not ask what queued them: for a
// whole upload it looks through all objects and at the open uploads, for one
// part at the rows of its upload, and for what an object does not name at how
// much that object has.
func (r *Raft) StillNamed(ctx context.Context, entries []Garbage) (named []bool, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		named, err = stillNamed(rows, entries)
		return err
	})
	return named, err
}

func stillNamed(rows pebble.Reader, entries []Garbage) (named []bool, err error) {
	named = make([]bool, len(entries))
	uploads := map[layout.UploadID]keptOf{}
	for i, g := range entries {
		switch g.extent() {
		case garbagePart:
			err = eachAttempt(rows, partsPrefix(g.Upload), func(a layout.AttemptID) {
				named[i] = named[i] || a == g.Part.Layout.Attempt
			})
		case garbageRest:
			uploads[g.Upload], err = readKept(rows, i, g)
		default:
			uploads[g.Upload] = keptOf{entry: i}
		}
		if err == nil && g.Part == nil {
			named[i], err = getRow(rows, uploadKey(g.Upload), nil)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(uploads) == 0 {
		return named, nil
	}
	var o Object // one for all rows: there may be millions
	code := o.code
	return named, scan(rows, []byte{rowObject}, func(_, v []byte) error {
		o = Object{}
		err := decodeValue(v, code)
		if k, found := uploads[o.ID]; found && (k.parts == 0 || k.parts != o.Parts || k.bytes != o.Size) {
			named[k.entry] = true
		}
		return err
	})
}

// keptOf is what an entry for every part of an upload leaves to its object.
type keptOf struct {
	entry int // which it is
	parts int
	bytes int64
}

func readKept(rows pebble.Reader, entry int, g Garbage) (k keptOf, err error) {
	k.entry = entry
	var p Part
	code := p.code
	err = scanParts(rows, g.Upload, 0, g.Kept, true, func(value []byte) (bool, error) {
		p = Part{}
		err := decodeValue(value, code)
		k.parts++
		k.bytes += p.Size
		return true, err
	})
	return k, err
}

// FreedGarbage is what a worker deleted of one entry of the garbage queue: all
// chunks of these parts.
type FreedGarbage struct {
	Since    layout.RegistryTime
	Sequence uint64
	Upload   layout.UploadID
	Parts    []FreedPart // of an entry for more than one part
}

// FreedPart names a part whose chunks are gone.
type FreedPart struct {
	Number  layout.PartNumber
	Attempt layout.AttemptID
}

// Bounds of what one call of FreeGarbage takes.
const (
	MaxFreedEntries = 256
	MaxFreedParts   = 1024 // of one entry
)

// FreeGarbage takes entries away whose chunks are gone. The parts of an entry for
// more than one are taken away a piece at a time, and the entry with the last.
func (r *Raft) FreeGarbage(ctx context.Context, freed []FreedGarbage) error {
	_, err := r.propose(ctx, &freeGarbage{Freed: freed})
	return err
}

// Collectable reports which of the attempts' chunks may be deleted, because no
// record names them and none ever will: a fact that stays one. It reads all part
// rows.
func (r *Raft) Collectable(ctx context.Context, attempts []layout.AttemptID) (free map[layout.AttemptID]bool, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		free, err = collectable(rows, attempts)
		return err
	})
	return free, err
}

// PartRef names an attempt at a part.
type PartRef struct {
	Upload  layout.UploadID
	Number  layout.PartNumber
	Attempt layout.AttemptID
}

// NamedHere reports for each attempt whether the row of that part names it, in
// this node's copy. It is a cheap look before Collectable: a copy may lag.
func (r *Raft) NamedHere(refs []PartRef) (named []bool, err error) {
	named = make([]bool, len(refs))
	err = r.asTheyAre(func(rows pebble.Reader) error {
		for i, ref := range refs {
			var p Part
			found, err := getRow(rows, partKey(ref.Upload, ref.Number), p.code)
			if err != nil {
				return err
			}
			named[i] = found && p.Layout.Attempt == ref.Attempt
		}
		return nil
	})
	return named, err
}
