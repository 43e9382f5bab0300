package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// PartSet is a set of part numbers, a bit for each; nil is the empty one.
type PartSet []byte

// Has reports whether a number is in the set.
func (s PartSet) Has(n layout.PartNumber) bool {
	i := int(n) / 8
	return i < len(s) && s[i]>>(n%8)&1 == 1
}

// with is the set with one more number. It may be s itself.
func (s PartSet) with(n layout.PartNumber) PartSet {
	if more := int(n)/8 + 1 - len(s); more > 0 {
		s = append(s, make([]byte, more)...)
	}
	s[n/8] |= 1 << (n % 8)
	return s
}

// next is the first number from n on that is in the set, or that is not. It may
// be above layout.MaxPartNumber, and then there is none.
func (s PartSet) next(n int, in bool) int {
	for n <= int(layout.MaxPartNumber) && s.Has(layout.PartNumber(n)) != in {
		n++
	}
	return n
}

// code accepts one encoding of each set, and not the empty one.
func (s *PartSet) code(c *coder) {
	c.bytes((*[]byte)(s), int(layout.MaxPartNumber)/8+1)
	if c.err == nil && (len(*s) == 0 || (*s)[len(*s)-1] == 0) {
		c.fail("set of parts ends in nothing")
	}
}

// scanParts visits the part rows of an upload whose numbers are first or above and
// are in the set, or are not, until visit returns false. It steps over the others.
func scanParts(r pebble.Reader, id layout.UploadID, first int, set PartSet, in bool, visit func(value []byte) (more bool, err error)) error {
	next := set.next(max(first, int(layout.MinPartNumber)), in)
	if next > int(layout.MaxPartNumber) {
		return nil
	}
	it, err := r.NewIter(&pebble.IterOptions{
		LowerBound: partKey(id, layout.PartNumber(next)), UpperBound: successor(partsPrefix(id)),
	})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		n, err := partNumberOf(it.Key())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if next := set.next(n, in); next > int(layout.MaxPartNumber) {
			break
		} else if next > n {
			ok = it.SeekGE(partKey(id, layout.PartNumber(next)))
			continue
		}
		more, err := visit(it.Value())
		if err != nil {
			return errors.Join(fmt.Errorf("row %q: %w", it.Key(), err), it.Close())
		}
		ok = more && it.Next()
	}
	return it.Close()
}

// partNumberOf reads the number out of the key of a part row.
func partNumberOf(key []byte) (int, error) {
	if len(key) != len(partKey(layout.UploadID{}, 0)) {
		return 0, fmt.Errorf("part row %x: %w", key, errMalformed)
	}
	return int(binary.BigEndian.Uint16(key[len(key)-2:])), nil
}

// keptParts is what of an upload's parts its object names, while there are others;
// nil: all there are.
func keptParts(rows pebble.Reader, id layout.UploadID) (PartSet, error) {
	key := garbageKey(0, 0)
	found, err := getRow(rows, restKey(id), func(c *coder) { c.fixed(key[1:]) })
	if !found || err != nil {
		return nil, err
	}
	var g Garbage
	err = find(rows, key, g.code, errMalformed)
	return g.Kept, err
}
