package layout

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrBadLayout reports a layout that contradicts itself.
var ErrBadLayout = errors.New("malformed layout")

// GroupID names a placement group.
type GroupID uint32

// Layout says where the pieces of one part live. It is written once, at
// commit, and only ever changed by heal and move.
type Layout struct {
	Attempt AttemptID
	Scheme  Scheme
	Size    int64   // payload bytes of the part
	Group   GroupID // group whose slots hold the chunks
	Slots   []uint8 // slot of chunk i; Scheme.Total() of them, all different
	Durable uint32  // bit i: chunk i was durable at commit, or has been healed since
}

// Chunk returns the ID of chunk i.
func (l Layout) Chunk(i int) ChunkID { return ChunkID{Attempt: l.Attempt, Index: uint8(i)} }

// IsDurable reports whether chunk i was durable when the part was committed, or
// has been healed since.
func (l Layout) IsDurable(i int) bool { return l.Durable&(1<<i) != 0 }

// DurableCount is how many chunks are durable in that sense.
func (l Layout) DurableCount() int { return bits.OnesCount32(l.Durable) }

// Validate reports a layout no record may carry: slots missing or doubled, or
// fewer durable chunks than the write quorum. Errors wrap ErrBadLayout.
func (l Layout) Validate() error {
	if l.Size == 0 && l.Scheme == (Scheme{}) && len(l.Slots) == 0 && l.Durable == 0 {
		return nil // an empty part has no chunks
	}
	if err := l.Scheme.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadLayout, err)
	}
	var seen [256]bool
	for _, s := range l.Slots {
		if seen[s] {
			return fmt.Errorf("%w: slot %d twice", ErrBadLayout, s)
		}
		seen[s] = true
	}
	switch total := l.Scheme.Total(); {
	case l.Size <= 0:
		return fmt.Errorf("%w: size %d", ErrBadLayout, l.Size)
	case len(l.Slots) != total:
		return fmt.Errorf("%w: %d slots for scheme %s", ErrBadLayout, len(l.Slots), l.Scheme)
	case uint64(l.Durable) >= 1<<total:
		return fmt.Errorf("%w: durable mask %#x for scheme %s", ErrBadLayout, l.Durable, l.Scheme)
	case l.DurableCount() < l.Scheme.WriteQuorum():
		return fmt.Errorf("%w: %d chunks durable, write quorum is %d", ErrBadLayout, l.DurableCount(), l.Scheme.WriteQuorum())
	}
	return nil
}
