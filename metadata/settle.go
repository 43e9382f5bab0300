package metadata

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// settle makes log, snapshots and rows fit each other before Raft sees them.
// Raft starts from the newest snapshot and goes on with the log behind it. So
// the rows must have that snapshot, and are restored from it if they are behind
// after a crash; and the log must not begin later.
//
// If the newest snapshot is damaged, an older one will do if the log reaches
// back to it, or a fresh one of the rows if it reaches back to them. But no
// less than any snapshot claims: this node told the leader that it has that
// much, and others rely on it. A node that cannot must not go on as itself.
func (r *Raft) settle(log *checkedLog) error {
	for {
		list, err := r.snapshots.List()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		err = r.startFrom(list[0], log)
		if err == nil {
			r.snapshots.knownTables(list[0].ID, r.state.current)
		}
		if !errors.Is(err, ErrDamaged) {
			return err
		}
		r.snapshots.dismiss(list[0].ID, err)
	}
	rows, claim := r.fsm.machine.meta.index, r.snapshots.claim()
	if log.last.Load() >= claim && r.logFollows(0, log) == nil {
		return nil // new, or all of it is in the log
	}
	if err := r.logFollows(rows, log); err != nil {
		return err
	}
	return r.snapshotRows()
}

// startFrom makes sure that this node can go on from a snapshot.
func (r *Raft) startFrom(meta *raft.SnapshotMeta, log *checkedLog) error {
	if meta.Index > r.fsm.machine.meta.index {
		_, reader, err := r.snapshots.Open(meta.ID)
		if err != nil {
			return err
		}
		if err := r.fsm.Restore(reader); err != nil {
			return err
		}
	}
	return r.logFollows(meta.Index, log)
}

// logFollows reports as damage a log, which has no gaps, that does not begin
// right after index or before, or that ends, as the rows do, before what a
// snapshot claims.
func (r *Raft) logFollows(index uint64, log *checkedLog) error {
	first, last, removed := log.first.Load(), log.last.Load(), log.witness.saw().removed
	if index < removed || last > index && first > index+1 {
		return damagef("snapshot", "there is none between entry %d and the log, which begins at %d; %d were removed", index, first, removed)
	}
	if claim := r.snapshots.claim(); max(last, r.fsm.machine.meta.index) < claim {
		return damagef("snapshot", "had entry %d; log and rows end before", claim)
	}
	return nil
}

// snapshotRows makes a snapshot of the rows as they are, for Raft to start from.
func (r *Raft) snapshotRows() error {
	g, ok := r.state.acquire()
	if !ok {
		return errClosed
	}
	defer r.state.release(g)
	value, closer, err := g.db.Get(serversKey())
	if err != nil {
		return damagef("rows", "no configuration of Raft: %w", err)
	}
	rows := &r.fsm.machine.meta
	sink, err := r.snapshots.create(newManifest(rows.index, rows.term, raft.DecodeConfiguration(value), rows.index))
	if err := errors.Join(err, closer.Close()); err != nil {
		return err
	}
	if err := sink.checkpoint(r.ctx, g); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// replaceDamagedSnapshots has a fresh snapshot made whenever one turned out to
// be damaged: a follower that needs one must not wait for the next by chance.
func (r *Raft) replaceDamagedSnapshots() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.snapshots.replace:
		}
		for r.await(r.ctx, r.raft.Snapshot()) != nil { // nothing may have been applied yet
			select {
			case <-r.ctx.Done():
				return
			case <-time.After(r.cfg.HeartbeatTimeout):
			}
		}
	}
}
