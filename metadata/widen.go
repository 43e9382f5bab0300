package metadata

import (
	"context"
	"errors"

	"partstore/internal/layout"
)

// WidenedPart is a part whose payload was stored once more, under the full
// scheme of the cluster.
type WidenedPart struct {
	PartRef               // as the record was when the payload was read
	Layout  layout.Layout // of a fresh attempt; all its chunks are durable
}

// Widen gives a part record the layout of a wider attempt in place of the one it
// has, whose chunks become garbage; all else about the part stays. It returns
// ErrPartChanged if the record is another by now, or gone, and ErrSlotsMoved if
// a slot changed hands when the attempt had begun. After both the attempt is not
// recorded, and never will be.
func (r *Raft) Widen(ctx context.Context, w WidenedPart) error {
	_, err := r.propose(ctx, &widenPart{w})
	return err
}

// widenPart needs no memory of having been done but what CommitPart has: the row
// names the attempt, or the attempt is known as superseded.
type widenPart struct{ WidenedPart }

func (*widenPart) kind() commandKind { return kindWidenPart }
func (x *widenPart) code(c *coder) {
	c.fixed(x.Upload[:])
	codeUint(c, &x.Number, layout.MaxPartNumber)
	c.fixed(x.Attempt[:])
	codeLayout(c, &x.Layout)
}

func (x *widenPart) apply(m *machine) (result, error) {
	key := partKey(x.Upload, x.Number)
	var p Part
	found, err := m.get(key, p.code)
	if err != nil {
		return result{}, err
	}
	if found && p.Layout.Attempt == x.Layout.Attempt {
		return result{}, nil
	}
	if superseded, err := m.has(attemptKey(x.Layout.Attempt)); superseded || err != nil {
		return result{}, err
	}
	if !found || p.Layout.Attempt != x.Attempt {
		return refuse(ErrPartChanged), nil
	}
	if !x.widens(m, p) {
		return refuse(ErrInvalid), nil
	}
	if !m.attemptMayCommit(x.Layout.Attempt) {
		return refuse(ErrAttemptFenced), nil
	}
	wide := x.Layout
	if m.forgetMoved(&wide); wide.Durable != x.Layout.Durable {
		return refuse(ErrSlotsMoved), nil
	}
	err = m.discardPart(x.Upload, p)
	p.Layout = wide
	return result{}, errors.Join(err, m.put(key, p.code))
}

// widens reports whether the part would be narrow no more, with all its chunks
// durable: a part does not trade a chunk for a wider scheme.
func (x *widenPart) widens(m *machine, p Part) bool {
	narrow := p.Layout
	p.Layout = x.Layout
	return narrow.Narrow(m.meta.scheme) && x.Layout.Size == narrow.Size &&
		x.Layout.Scheme == m.meta.scheme.ForPart(narrow.Size) &&
		x.Layout.DurableCount() == x.Layout.Scheme.Total() && m.partIsValid(&p)
}
