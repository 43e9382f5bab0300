package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// Remembered results, ended uploads and superseded attempts are rows with an
// end. Each has a twin in the expiry queue, whose key starts with the registry
// time of that end.

// expire deletes what has reached its end, a bounded number of rows at a time.
func (m *machine) expire() error {
	if m.nextExpiry > m.meta.time {
		return nil
	}
	// Starting at nextExpiry steps over the tombstones of earlier rounds.
	it, err := m.batch.NewIter(&pebble.IterOptions{
		LowerBound: be64([]byte{rowExpiry}, uint64(m.nextExpiry)),
		UpperBound: []byte{rowExpiry + 1},
	})
	if err != nil {
		return err
	}
	var due [][]byte
	m.nextExpiry = ^layout.RegistryTime(0)
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) < 10 {
			return errors.Join(fmt.Errorf("expiry row %x: %w", it.Key(), errMalformed), it.Close())
		}
		at := layout.RegistryTime(binary.BigEndian.Uint64(it.Key()[1:]))
		if at > m.meta.time || len(due) == expiriesPerPack {
			m.nextExpiry = at
			break
		}
		due = append(due, append([]byte(nil), it.Key()...))
	}
	if err := it.Close(); err != nil {
		return err
	}
	for _, key := range due {
		if err := errors.Join(m.delete(key[9:]), m.delete(key)); err != nil {
			return err
		}
	}
	return nil
}
