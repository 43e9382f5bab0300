package metadata

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/cockroachdb/pebble/v2"
)

// ErrDamaged reports that this node's copy of the registry holds bytes that are
// not those that were written, or misses some: of the log, of the vote, of the
// rows or of a snapshot. Waiting or starting again does not help; a copy that
// is damaged must never be used again, and neither must the generation whose
// copy it is. An I/O error and a full disk are not damage.
var ErrDamaged = errors.New("registry damaged")

// ErrLost reports that a registry that must be there is gone as a whole. A
// drive does not do that.
var ErrLost = errors.New("registry gone")

// damaged says what is damaged, and how that shows.
func damaged(what string, err error) error {
	if errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
}

// damagef is damaged with a new error.
func damagef(what, format string, args ...any) error {
	return damaged(what, fmt.Errorf(format, args...))
}

// rowsError makes damage of an error of Pebble that says so. A row that cannot
// be decoded although its block is sound is no damage: some other program
// wrote it, on the other nodes too.
func rowsError(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return damaged("rows", err)
	}
	return err
}

// guarded runs f, which is somebody else's code on bytes of a mapped file. A
// panic or a page fault in it means that the bytes are not what it wrote.
func guarded(what string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damagef(what, "%v", p)
		}
	}()
	return f()
}
