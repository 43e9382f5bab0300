package metadata

import (
	"partstore/internal/layout"
)

// freeGarbage takes rows away whose chunks are gone. It needs no memory of having
// been done: an entry that is not there any more has been taken away.
type freeGarbage struct {
	Freed []FreedGarbage
}

func (*freeGarbage) kind() commandKind { return kindFreeGarbage }
func (x *freeGarbage) code(c *coder)   { codeList(c, &x.Freed, MaxFreedEntries, (*FreedGarbage).code) }

func (f *FreedGarbage) code(c *coder) {
	c.uint((*uint64)(&f.Since))
	c.uint(&f.Sequence)
	c.fixed(f.Upload[:])
	codeList(c, &f.Parts, MaxFreedParts, func(p *FreedPart, c *coder) {
		codeUint(c, &p.Number, layout.MaxPartNumber)
		c.fixed(p.Attempt[:])
	})
}

// apply refuses the whole command if a part of it makes no sense: then the
// worker is not what it should be.
func (x *freeGarbage) apply(m *machine) (result, error) {
	for i := range x.Freed {
		if ok, err := x.Freed[i].fits(m); err != nil {
			return result{}, err
		} else if !ok {
			return refuse(ErrInvalid), nil
		}
	}
	for i := range x.Freed {
		if err := x.Freed[i].free(m); err != nil {
			return result{}, err
		}
	}
	return result{}, nil
}

// fits reports whether the entry, if it is still there, is of that upload, gives
// these parts up, and the upload is not open.
func (f *FreedGarbage) fits(m *machine) (bool, error) {
	var g Garbage
	found, err := m.get(garbageKey(f.Since, f.Sequence), g.code)
	if !found || err != nil {
		return err == nil, err
	}
	if g.Upload != f.Upload || g.Part != nil && len(f.Parts) > 0 {
		return false, nil
	}
	if g.Part != nil {
		return true, nil
	}
	for _, p := range f.Parts {
		if g.Kept.Has(p.Number) {
			return false, nil
		}
	}
	open, err := m.has(uploadKey(f.Upload))
	return !open, err
}

func (f *FreedGarbage) free(m *machine) error {
	key := garbageKey(f.Since, f.Sequence)
	var g Garbage
	if found, err := m.get(key, g.code); !found || err != nil {
		return err
	}
	if g.Part != nil {
		return m.delete(key)
	}
	for _, p := range f.Parts {
		var row Part
		found, err := m.get(partKey(f.Upload, p.Number), row.code)
		if err != nil {
			return err
		}
		if found && row.Layout.Attempt == p.Attempt {
			if err := m.delete(partKey(f.Upload, p.Number)); err != nil {
				return err
			}
			g.left--
		}
	}
	if g.Kept != nil && g.left > 0 {
		return m.put(key, g.code)
	} else if g.Kept != nil {
		return m.forgetRest(f.Upload)
	}
	none, err := empty(m.batch, partsPrefix(f.Upload))
	if !none || err != nil {
		return err
	}
	return m.delete(key)
}
