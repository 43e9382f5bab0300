package metadata

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// checkedLog is Raft's log store. What lies below it is not trusted: every
// entry is sealed before it goes down and checked when it comes up, must be the
// one that was asked for, and the log as a whole must have what the witness
// saw. The first thing that is wrong takes the registry out of service; from
// then on nothing is stored or removed.
//
// It has no gaps, although Raft leaves one where a snapshot takes the place of
// entries that never came: what lies before it is removed with the next append.
type checkedLog struct {
	inner   raft.LogStore
	witness *witness
	fail    func(error)

	first, last atomic.Uint64 // 0, 0: empty. Changed in turn only

	turn   turn   // one change at a time
	term   uint64 // of the last entry
	sum    uint32 // of the last entry; 0: not known
	broken error
	cut    bool // entries were removed from the end, and none stored since

	down atomic.Bool // broken is set
}

var _ raft.LogStore = (*checkedLog)(nil)

// openCheckedLog reads the whole log and compares it with what the witness saw.
func openCheckedLog(inner raft.LogStore, w *witness, fail func(error)) (*checkedLog, error) {
	c := &checkedLog{inner: inner, witness: w, fail: fail, turn: newTurn()}
	first, err := inner.FirstIndex()
	if err != nil {
		return nil, err
	}
	last, err := inner.LastIndex()
	if err != nil {
		return nil, err
	}
	seen := w.saw()
	for index := first; index <= last && last > 0; index++ {
		var l raft.Log
		e, err := c.load(index, &l)
		if err != nil {
			return nil, err
		}
		switch {
		case l.Term < c.term || !e.follows(c.sum):
			return nil, damagef("log", "entry %d of term %d does not follow the one before", index, l.Term)
		case index == seen.last && (l.Term != seen.term || e.sum != seen.sum):
			return nil, damagef("log", "entry %d of term %d was of term %d, or another", index, l.Term, seen.term)
		}
		c.term, c.sum = l.Term, e.sum
	}
	if last < seen.last {
		return nil, damagef("log", "ends at entry %d; it went to %d", last, seen.last)
	}
	c.first.Store(first)
	c.last.Store(last)
	return c, nil
}

// load reads entry index from below and checks it.
func (c *checkedLog) load(index uint64, l *raft.Log) (envelope, error) {
	err := c.inner.GetLog(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return envelope{}, damagef("log", "entry %d is missing", index)
	}
	if err != nil {
		return envelope{}, fmt.Errorf("log entry %d: %w", index, err)
	}
	e, err := unseal(l)
	if errors.Is(err, errMalformed) || err == nil && l.Index != index {
		return envelope{}, damagef("log", "entry %d: says it is %d: %w", index, l.Index, err)
	}
	return e, err
}

// GetLog implements raft.LogStore. Raft ends the process if it gets an error
// where it does not expect one. So a damaged entry, or one that a failed change
// took away, goes out as one that nobody takes: by now this node applies
// nothing, and the others check the envelope.
func (c *checkedLog) GetLog(index uint64, l *raft.Log) error {
	if !c.has(index) {
		return c.missing(index, l)
	}
	var found raft.Log
	_, err := c.load(index, &found)
	if err != nil {
		// It may be about to be removed, and gone below already. Only what is
		// wrong while nothing changes is damage.
		c.turn.take()
		defer c.turn.giveUp()
		if !c.has(index) {
			return c.missing(index, l)
		}
		_, err = c.load(index, &found)
	}
	if err != nil {
		c.fail(err)
		found = takenByNobody(index)
	}
	*l = found
	return nil
}

func (c *checkedLog) missing(index uint64, l *raft.Log) error {
	if !c.down.Load() {
		return raft.ErrLogNotFound
	}
	*l = takenByNobody(index)
	return nil
}

func takenByNobody(index uint64) raft.Log {
	return raft.Log{Index: index, Type: raft.LogCommand, Extensions: []byte{0}}
}

func (c *checkedLog) has(index uint64) bool {
	first := c.first.Load()
	return first != 0 && index >= first && index <= c.last.Load()
}

// FirstIndex implements raft.LogStore.
func (c *checkedLog) FirstIndex() (uint64, error) { return c.first.Load(), nil }

// LastIndex implements raft.LogStore.
func (c *checkedLog) LastIndex() (uint64, error) { return c.last.Load(), nil }

// StoreLog implements raft.LogStore.
func (c *checkedLog) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. On the leader, which makes the entries,
// they come without envelopes; from the leader they come in them.
//
// Raft goes on counting on entries it had removed for the leader's until it has
// stored those, and ends the process when it misses them. So if that fails, the
// log is opened anew, with what it has.
func (c *checkedLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	c.turn.take()
	defer c.turn.giveUp()
	if c.broken != nil {
		return c.broken
	}
	err := c.store(logs)
	if err != nil && c.cut && c.broken == nil {
		return c.breakDown(fmt.Errorf("%w: log: its end was removed for other entries, which cannot be stored: %w", ErrDiskFault, err))
	}
	c.cut = c.cut && err != nil
	return err
}

func (c *checkedLog) store(logs []*raft.Log) error {
	if last := c.last.Load(); last > 0 && logs[0].Index > last+1 {
		if err := c.remove(c.first.Load(), last, true); err != nil {
			return err
		}
	}
	stored := make([]*raft.Log, len(logs))
	last, term, sum := c.last.Load(), c.term, c.sum
	for i, l := range logs {
		e, err := c.accept(l, last, term, sum)
		if err != nil {
			return err
		}
		last, term, sum = l.Index, l.Term, e.sum
		// Without the wall clock Raft adds: nobody reads it, and it would be
		// the one thing no checksum covers.
		stored[i] = &raft.Log{Index: l.Index, Term: l.Term, Type: l.Type, Data: l.Data, Extensions: l.Extensions}
	}
	if err := c.inner.StoreLogs(stored); err != nil {
		return c.failed(err)
	}
	if c.first.Load() == 0 {
		c.first.Store(logs[0].Index)
	}
	c.last.Store(last)
	c.term, c.sum = term, sum
	if err := c.witness.appended(last, term, sum); err != nil {
		return c.breakDown(err)
	}
	return nil
}

// accept checks that l may come after the entry with the given index, term and
// sum.
func (c *checkedLog) accept(l *raft.Log, last, term uint64, sum uint32) (envelope, error) {
	var e envelope
	if len(l.Extensions) == 0 {
		e = seal(l, sum)
	} else {
		var err error
		if e, err = unseal(l); err != nil {
			return e, fmt.Errorf("log entry %d, term %d: %w", l.Index, l.Term, err)
		}
	}
	if last > 0 && l.Index != last+1 || l.Term < term || !e.follows(sum) {
		return e, fmt.Errorf("log entry %d, term %d, does not follow entry %d, term %d: %w", l.Index, l.Term, last, term, errMalformed)
	}
	return e, checkEntry(l)
}

// DeleteRange implements raft.LogStore: a snapshot has taken the place of the
// first entries, or the leader has others than our last ones.
func (c *checkedLog) DeleteRange(first, last uint64) error {
	c.turn.take()
	defer c.turn.giveUp()
	if c.broken != nil {
		return c.broken
	}
	from, to := max(first, c.first.Load()), min(last, c.last.Load())
	return c.remove(from, to, to < c.last.Load())
}

// remove removes entries from one end of the log, from its front if a snapshot
// has taken their place. The witness forgets them first: were it the other way
// round, a crash between the two would look like damage.
func (c *checkedLog) remove(from, to uint64, front bool) error {
	first, last := c.first.Load(), c.last.Load()
	if first == 0 || from > to {
		return nil
	}
	if from > first && to < last {
		return fmt.Errorf("%w: remove entries %d to %d of %d to %d", ErrInvalid, from, to, first, last)
	}
	tail, sum := raft.Log{Term: c.term}, c.sum
	switch {
	case from == first && to == last:
		first, last, tail.Term, sum = 0, 0, 0, 0
	case front:
		first = to + 1
	default:
		e, err := c.load(from-1, &tail)
		if err != nil {
			return c.breakDown(err)
		}
		last, sum = from-1, e.sum
	}
	err := c.witness.change(true, func(s *sighting) {
		s.last, s.term, s.sum = last, tail.Term, sum
		if front {
			s.removed = max(s.removed, to)
		}
	})
	if err != nil {
		return c.breakDown(err)
	}
	if err := c.inner.DeleteRange(from, to); err != nil {
		return c.failed(err)
	}
	c.first.Store(first)
	c.last.Store(last)
	c.term, c.sum = tail.Term, sum
	c.cut = c.cut || !front
	return nil
}

// failed passes on why a change below failed. If it is not known whether it
// was made, or the log is damaged, there will be no other.
func (c *checkedLog) failed(err error) error {
	if errors.Is(err, errInDoubt) || errors.Is(err, ErrDamaged) {
		return c.breakDown(err)
	}
	return err
}

func (c *checkedLog) breakDown(err error) error {
	c.broken = err
	c.down.Store(true)
	c.fail(err)
	return err
}

// checkEntry refuses damaged packs.
func checkEntry(l *raft.Log) error {
	if l.Type != raft.LogCommand {
		return nil
	}
	if err := checkPack(l.Data); err != nil {
		return fmt.Errorf("log entry %d, term %d: %w", l.Index, l.Term, err)
	}
	return nil
}
