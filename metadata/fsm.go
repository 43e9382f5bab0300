package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// fsm feeds the log to the state machine and publishes how far it got. Raft
// calls it from one goroutine; the published values may be read by anybody.
type fsm struct {
	ctx     context.Context //nolint:containedctx // of the registry; ends snapshots that cannot
	state   *state
	machine *machine
	fail    func(error) // takes the registry out of service; the first call counts
	failed  bool
	stopped func() bool // true once the registry is out of service; nil: never

	applied  progress
	time     atomic.Uint64 // registry time of the applied state
	topology topologyWatch
	digests  digests
	// membersChanged holds a token after wishes or Raft's configuration changed.
	membersChanged chan struct{}
	cluster        layout.ClusterID
}

var _ raft.BatchingFSM = (*fsm)(nil)

func openFSM(ctx context.Context, s *state, cluster layout.ClusterID, fail func(error)) (*fsm, error) {
	f := &fsm{ctx: ctx, state: s, cluster: cluster, fail: fail, membersChanged: make(chan struct{}, 1)}
	f.digests.wake = make(chan struct{}, 1)
	return f, f.reload()
}

// reload takes over the rows the state now has.
func (f *fsm) reload() error {
	m, err := openMachine(f.state.current.db)
	if err != nil {
		return err
	}
	f.machine = m
	f.publish()
	return nil
}

// publish lets readers see what was committed.
func (f *fsm) publish() {
	f.topology.set(f.cluster, f.machine)
	f.time.Store(uint64(f.machine.meta.time)) // after the topology: see DESIGN.md, Slots that change hands
	f.applied.advance(f.machine.meta.index)
	if f.machine.membersChanged {
		f.machine.membersChanged = false
		select {
		case f.membersChanged <- struct{}{}:
		default:
		}
	}
}

// Apply implements raft.FSM; Raft uses ApplyBatch instead.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies committed entries in order, all or none of those between
// two digests. An entry that is already in the rows (the log is replayed after a restart) is skipped. The
// answer to an entry is its []result, or an error.
//
// An entry that cannot be decoded or a state that cannot be written stops this
// copy for good: going on would make it differ from the others.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	if f.failed || f.stopped != nil && f.stopped() {
		for i := range answers {
			answers[i] = ErrUnavailable
		}
		return answers
	}
	if err := f.applyGuarded(logs, answers); err != nil {
		err = rowsError(err)
		f.failed = true
		f.fail(err)
		for i := range answers {
			answers[i] = err
		}
		return answers
	}
	f.publish()
	return answers
}

// applyGuarded is applyAll without the panics by which Pebble says that a file
// could not be written.
func (f *fsm) applyGuarded(logs []*raft.Log, answers []any) (err error) {
	defer func() {
		p := recover()
		cause, ok := p.(error)
		if _, bug := p.(runtime.Error); p != nil && (bug || !ok) {
			panic(p)
		}
		if p != nil {
			f.state.dead.Store(true)
			err = fmt.Errorf("%w: rows: %w", ErrDiskFault, cause)
		}
	}()
	return f.applyAll(logs, answers)
}

func (f *fsm) applyAll(logs []*raft.Log, answers []any) error {
	f.machine.begin()
	index, term := f.machine.meta.index, f.machine.meta.term
	for i, l := range logs {
		if l.Index <= index {
			continue
		}
		results, err := f.applyOne(l)
		if err != nil {
			return errors.Join(fmt.Errorf("log entry %d, term %d: %w", l.Index, l.Term, err), f.machine.abandon())
		}
		answers[i], index, term = results, l.Index, l.Term
		if !f.machine.digestDue {
			continue
		}
		f.machine.digestDue = false
		if err := f.machine.commit(index, term); err != nil {
			return err
		}
		f.pin() // the rows of exactly this index, whatever the batches of the others
		f.machine.begin()
	}
	if index == f.machine.meta.index {
		return f.machine.abandon() // nothing is left, or it was a replay of what the rows already have
	}
	return f.machine.commit(index, term)
}

func (f *fsm) applyOne(l *raft.Log) ([]result, error) {
	switch l.Type {
	case raft.LogCommand:
		return f.machine.applyPack(l.Data)
	case raft.LogConfiguration:
		return nil, f.machine.setServers(l.Data)
	}
	return nil, fmt.Errorf("%w: log entry type %d", errMalformed, l.Type)
}

// Snapshot implements raft.FSM. Nothing is done before Persist: a snapshot may
// have later rows than those of this moment, for what is applied is committed,
// and whoever starts from it skips what it has.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.failed {
		return nil, ErrUnavailable
	}
	g, ok := f.state.acquire()
	if !ok {
		return nil, errClosed
	}
	return &snapshot{fsm: f, generation: g}, nil
}

type snapshot struct {
	fsm        *fsm
	generation *generation
}

// Persist implements raft.FSMSnapshot. The sink is one of our store.
func (s *snapshot) Persist(to raft.SnapshotSink) error {
	sink := to.(*snapshotSink)
	err := sink.checkpoint(s.fsm.ctx, s.generation)
	if errors.Is(err, ErrDamaged) {
		s.fsm.fail(err) // the tables are those of the rows
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() { s.fsm.state.release(s.generation) }

// Restore implements raft.FSM. A snapshot that is older than the rows is left
// alone: the rows already include it.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	for {
		outer, ok := r.(raft.ReadCloserWrapper)
		if !ok {
			break
		}
		r = outer.WrappedReadCloser()
	}
	return f.restore(r.(*snapshotReader))
}

func (f *fsm) restore(from *snapshotReader) error {
	index := from.snapshot.manifest.index
	if index <= f.machine.meta.index {
		return nil
	}
	if err := f.state.replace(index, from.linkTo); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	f.state.current.sums = from.snapshot.manifest.tables()
	if err := f.reload(); err != nil {
		f.failed = true // the machine is still that of the old rows
		f.fail(err)
		return err
	}
	return nil
}
