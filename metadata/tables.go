package metadata

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// getRow finds one row and decodes it with code; a nil code only asks whether
// it is there.
func getRow(r pebble.Reader, key []byte, code func(*coder)) (bool, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("row %q: %w", key, err)
	}
	defer closer.Close()
	if code == nil {
		return true, nil
	}
	if err := decodeValue(value, code); err != nil {
		return false, fmt.Errorf("row %q: %w", key, err)
	}
	return true, nil
}

// scan visits every row with the prefix in order. The slices are only valid
// during the visit.
func scan(r pebble.Reader, prefix []byte, visit func(key, value []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: successor(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := visit(it.Key(), it.Value()); err != nil {
			return errors.Join(fmt.Errorf("row %q: %w", it.Key(), err), it.Close())
		}
	}
	return it.Close()
}

// empty reports whether no row has the prefix.
func empty(r pebble.Reader, prefix []byte) (bool, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: successor(prefix)})
	if err != nil {
		return false, err
	}
	any := it.First()
	return !any, it.Close()
}
