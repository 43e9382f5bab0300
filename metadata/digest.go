package metadata

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// Equal applied index means equal rows, on every node. That is checked: every
// DigestInterval the leader proposes a takeDigest, each copy pins its rows as
// they are after exactly that log entry, hashes all of them in the background,
// and compares with what the other members found for the same index. A copy
// that differs from a majority of the members is wrong and goes out of
// service. Without a majority nobody knows who is wrong, and nobody does.

// errDiffers is why a copy goes out of service that was found wrong.
var errDiffers = errors.New("the rows differ from those of a majority of members")

// takeDigest marks a point of the log. It changes nothing.
type takeDigest struct{}

func (*takeDigest) kind() commandKind { return kindTakeDigest }
func (*takeDigest) code(*coder)       {}

func (*takeDigest) apply(m *machine) (result, error) {
	m.digestDue = true
	return result{}, nil
}

// Digest is the hash of all rows at one applied index, and what came of
// comparing it.
type Digest struct {
	Index uint64
	Sum   [32]byte
	Equal int             // members that found the same, this one included
	Other []layout.NodeID // members that found another
	Asked int             // members there were
}

// digests computes and keeps the digests of one node.
type digests struct {
	mu      sync.Mutex
	stopped bool
	pending *pinnedRows              // to be hashed next
	wake    chan struct{}            // room for one
	known   []Digest                 // oldest first, at most digestsKept
	heard   map[layout.NodeID]Digest // the last one each other node asked about
}

// digestsKept is how many digests a node remembers for members that are late.
const digestsKept = 8

// pinnedRows are the rows of one index, kept from compactions until released.
type pinnedRows struct {
	index   uint64
	rows    *pebble.Snapshot
	release func()
}

func (p *pinnedRows) close() error {
	err := p.rows.Close()
	p.release()
	return err
}

// pin keeps the rows as they are for a digest, unless the last one is still
// being computed: then this node has none for this index.
func (f *fsm) pin() {
	d := &f.digests
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped || d.pending != nil {
		return
	}
	g, ok := f.state.acquire()
	if !ok {
		return
	}
	d.pending = &pinnedRows{f.machine.meta.index, g.db.NewSnapshot(), func() { f.state.release(g) }}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// digestWhileOpen hashes what was pinned and compares it.
func (r *Raft) digestWhileOpen() {
	d := &r.fsm.digests
	defer d.stop()
	for {
		select {
		case <-d.wake:
		case <-r.ctx.Done():
			return
		}
		digest, err := d.compute(r.ctx)
		switch {
		case err == nil:
			r.compareDigest(digest)
		case r.ctx.Err() == nil:
			r.fail(rowsError(fmt.Errorf("read rows: %w", err)))
		}
	}
}

// stop lets go of what is pinned.
func (d *digests) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.pending != nil {
		_ = d.pending.close() // nothing was written through it
		d.pending = nil
	}
}

func (d *digests) compute(ctx context.Context) (Digest, error) {
	d.mu.Lock()
	pinned := d.pending
	d.mu.Unlock()
	sum, err := hashRows(pinned.rows, func(took time.Duration) error { return rest(ctx, took) })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = nil
	if err = errors.Join(err, pinned.close()); err != nil {
		return Digest{}, err
	}
	digest := Digest{Index: pinned.index, Sum: sum}
	if d.known = append(d.known, digest); len(d.known) > digestsKept {
		d.known = slices.Delete(d.known, 0, 1)
	}
	return digest, nil
}

// digestShare bounds what hashing takes of one core: one part in so many.
const digestShare = 8

// rest pauses between two stretches of hashing.
func rest(ctx context.Context, took time.Duration) error {
	timer := time.NewTimer((digestShare - 1) * took)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hashRows is a digest of every row. pace is called after every stretch of
// rows with how long that took.
func hashRows(r pebble.Reader, pace func(took time.Duration) error) ([32]byte, error) {
	const stretch = 256 << 10
	h := sha256.New()
	buf := make([]byte, 0, stretch+64<<10)
	since := time.Now()
	err := scan(r, nil, func(k, v []byte) error {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(k)))
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(v)))
		buf = append(append(buf, k...), v...)
		if len(buf) < stretch {
			return nil
		}
		h.Write(buf)
		buf = buf[:0]
		err := pace(time.Since(since))
		since = time.Now()
		return err
	})
	h.Write(buf)
	return [32]byte(h.Sum(nil)), err
}

// stateHash is hashRows at full speed.
func stateHash(r pebble.Reader) ([32]byte, error) {
	return hashRows(r, func(time.Duration) error { return nil })
}

// find returns the digest of an index.
func (d *digests) find(index uint64) (Digest, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.known, func(k Digest) bool { return k.Index == index })
	if i < 0 {
		return Digest{}, false
	}
	return d.known[i], true
}

// newest is the digest of the highest index, zero if there is none.
func (d *digests) newest() Digest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) == 0 {
		return Digest{}
	}
	return d.known[len(d.known)-1]
}

// note replaces the digest of the same index.
func (d *digests) note(digest Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.known {
		if d.known[i].Index == digest.Index {
			d.known[i] = digest
		}
	}
}

// compareDigest asks the members until all have answered or the next digest is
// due. A member that was late, or is away, only leaves the question open.
func (r *Raft) compareDigest(mine Digest) {
	found := map[layout.NodeID][32]byte{r.cfg.Node: mine.Sum}
	tick := time.NewTicker(r.cfg.MembersInterval)
	defer tick.Stop()
	for {
		members := r.askDigests(mine, found)
		digest, wrong := tally(mine, found, members, r.cfg.Node)
		r.fsm.digests.note(digest)
		switch {
		case wrong:
			r.fail(damagef("rows", "%w: at index %d, %d of %d members", errDiffers, mine.Index, len(digest.Other), digest.Asked))
			return
		case len(digest.Other) > 0:
			r.log.Error("members' rows differ", "index", mine.Index, "equal", digest.Equal, "other", digest.Other)
		}
		if digest.Equal+len(digest.Other) == digest.Asked {
			return
		}
		select {
		case <-tick.C:
		case <-r.fsm.digests.wake:
			r.fsm.digests.notify() // it is the main loop's to take
			return
		case <-r.ctx.Done():
			return
		}
	}
}

func (d *digests) notify() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// tally counts what the members found. A copy is wrong if a majority of all
// members, not only of those that answered, agree on another digest.
func tally(mine Digest, found map[layout.NodeID][32]byte, members []layout.NodeID, self layout.NodeID) (d Digest, wrong bool) {
	d = Digest{Index: mine.Index, Sum: mine.Sum, Equal: 1, Asked: 1}
	votes := map[[32]byte]int{}
	for _, node := range members {
		if node == self {
			continue
		}
		d.Asked++
		sum, answered := found[node]
		switch {
		case !answered:
		case sum == mine.Sum:
			d.Equal++
		default:
			d.Other = append(d.Other, node)
			votes[sum]++
		}
	}
	for _, n := range votes {
		wrong = wrong || n > d.Asked/2
	}
	return d, wrong
}

// askDigests asks the members whose digest is not known yet and returns all
// members. Who is asked learns this node's: one that is wrong may find out and
// leave before it is asked.
func (r *Raft) askDigests(mine Digest, found map[layout.NodeID][32]byte) (members []layout.NodeID) {
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	servers := r.servers()
	for _, s := range servers {
		members = append(members, nodeOf(s.ID))
	}
	answers := make([]answer, len(members))
	var asking sync.WaitGroup
	for i, node := range members {
		if _, known := found[node]; known {
			continue
		}
		if sum, ok := r.fsm.digests.heardFrom(node, mine.Index); ok {
			found[node] = sum
		}
		asking.Go(func() { // even if it was heard from: it learns ours
			q := request{kind: messageDigest, index: mine.Index, digest: mine.Sum}
			if a, err := r.call(ctx, serverOf(servers[i].ID), q, r.cfg.Peers.Term); err == nil {
				answers[i] = a
			}
		})
	}
	asking.Wait()
	for i, node := range members {
		if answers[i].index == mine.Index {
			found[node] = answers[i].digest
		}
	}
	return members
}

// answerDigest answers with this node's digest of the index the other node
// asks about, and takes note of that node's; with index 0 if it has none.
func (r *Raft) answerDigest(q request) answer {
	d := &r.fsm.digests
	d.hear(q.from.node, Digest{Index: q.index, Sum: q.digest})
	mine, ok := d.find(q.index)
	if !ok {
		return answer{}
	}
	return answer{index: mine.Index, digest: mine.Sum}
}

func (d *digests) hear(from layout.NodeID, digest Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.heard == nil {
		d.heard = map[layout.NodeID]Digest{}
	}
	d.heard[from] = digest
}

func (d *digests) heardFrom(node layout.NodeID, index uint64) (sum [32]byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.heard[node]
	return h.Sum, h.Index == index
}

// proposeDigests marks points of the log while this node leads.
func (r *Raft) proposeDigests() {
	tick := time.NewTicker(r.cfg.DigestInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		if _, ok := r.leads(); !ok {
			continue
		}
		if _, err := r.propose(r.ctx, &takeDigest{}); err != nil {
			r.log.Info("propose digest", "err", err)
		}
	}
}
