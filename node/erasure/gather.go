package erasure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// openData starts the streams of the data chunks the range touches, each for
// exactly the blocks it needs, except those to be tried last.
func (r *Reader) openData() {
	head := r.windowAt(r.offset)
	tail := r.windowAt(max(r.offset, r.last*int64(r.src.Scheme.StripeSize())))
	for i := range int(r.src.Scheme.Data) {
		first, end := head.stripe, tail.stripe+1
		if i < head.lowest {
			first++
		}
		if i > tail.highest {
			end--
		}
		if first < end && r.src.Last&(1<<i) == 0 {
			r.streams[i] = r.openStream(i, first, end)
		}
	}
}

// gather brings the wanted data shards of one stripe together. While the data
// streams deliver, it only waits for them. When one failed or is late, any k
// shards will do, and it opens as many other chunks as that takes.
func (r *Reader) gather(w window) error {
	began := time.Now()
	var hedge *time.Timer
	var patience time.Duration
	for {
		r.collect(w.stripe)
		if err := context.Cause(r.ctx); err != nil {
			return err
		}
		if r.enough(w) {
			if hedge != nil {
				r.engine.reads.learn(time.Since(began))
			}
			return r.settle(w, patience)
		}
		if err := r.ask(w); err != nil {
			return err
		}
		if hedge == nil {
			patience = r.engine.reads.late(r.engine.cfg.Hedge)
			hedge = time.NewTimer(patience)
			defer hedge.Stop()
		}
		select {
		case <-r.wake:
		case now := <-hedge.C:
			r.suspect(w.stripe, now.Sub(began))
			hedge.Reset(patience)
		case <-r.ctx.Done():
		}
	}
}

// collect takes the blocks of a stripe that have arrived.
func (r *Reader) collect(stripe int64) {
	for i, s := range r.streams {
		if s == nil || r.held[i] != nil {
			continue
		}
		b, ok := s.take(stripe)
		switch {
		case ok && b.err != nil:
			r.lose(i, stripe, b.err)
		case ok:
			r.held[i], r.shards[i], s.late = b.in, b.shard, false
		}
	}
}

// enough reports whether the wanted shards are there or can be computed.
func (r *Reader) enough(w window) bool {
	return r.heldCount() >= int(r.src.Scheme.Data) || r.has(w)
}

// has reports whether all wanted shards are there.
func (r *Reader) has(w window) bool {
	for i := w.lowest; i <= w.highest; i++ {
		if r.held[i] == nil {
			return false
		}
	}
	return true
}

func (r *Reader) heldCount() (n int) {
	for _, b := range r.held {
		if b != nil {
			n++
		}
	}
	return n
}

// pending reports whether a stream still owes the block of a stripe.
func (r *Reader) pending(i int, stripe int64) bool {
	s := r.streams[i]
	return s != nil && r.held[i] == nil && s.next <= stripe && stripe < s.end
}

// ask makes sure that what is held and under way can complete the stripe.
func (r *Reader) ask(w window) error {
	broken := false
	for i := w.lowest; i <= w.highest; i++ {
		onTime := r.pending(i, w.stripe) && !r.streams[i].late
		broken = broken || r.held[i] == nil && !onTime
	}
	if !broken {
		return nil
	}
	sure, late := r.heldCount(), 0
	for i := range r.streams {
		switch {
		case !r.pending(i, w.stripe):
		case r.streams[i].late:
			late++
		default:
			sure++
		}
	}
	for _, i := range r.candidates(w.stripe) {
		if sure >= int(r.src.Scheme.Data) {
			break
		}
		if s := r.streams[i]; s != nil {
			s.stop() // it reads other stripes than this one
		}
		r.streams[i] = r.openStream(i, w.stripe, r.last+1)
		sure++
	}
	if sure+late < int(r.src.Scheme.Data) {
		return r.tooFew(w.stripe, sure+late)
	}
	return nil
}

// candidates lists the chunks that could be asked for a stripe and are not, best
// first. A chunk that failed at an earlier stripe is asked again rather than
// giving up: where its damage ends, it is as good as any.
func (r *Reader) candidates(stripe int64) (list []int) {
	for i := range r.streams {
		if r.held[i] == nil && !r.pending(i, stripe) && r.lost[i] != stripe {
			list = append(list, i)
		}
	}
	rank := func(i int) int {
		switch {
		case r.lost[i] >= 0:
			return 2
		case r.src.Last&(1<<i) != 0:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// suspect marks every stream that owes the stripe as late. After the stall delay
// they are given up altogether.
func (r *Reader) suspect(stripe int64, waited time.Duration) {
	for i, s := range r.streams {
		if !r.pending(i, stripe) {
			continue
		}
		s.late = true
		if waited >= r.engine.cfg.Stall {
			r.lose(i, stripe, fmt.Errorf("%w for %s", ErrSlow, waited.Round(time.Millisecond)))
		}
	}
}

// lose ends a stream that failed or was given up.
func (r *Reader) lose(i int, stripe int64, err error) {
	r.streams[i].stop()
	r.streams[i] = nil
	if r.ctx.Err() != nil {
		return // it failed because we stopped it
	}
	r.lost[i], r.causes[i] = stripe, err
	r.src.Report(i, err)
}

// settle reconstructs what is wanted and missing, and lets go of streams that
// are too slow, after so much patience, or too many.
func (r *Reader) settle(w window, patience time.Duration) error {
	open := 0
	for i, s := range r.streams {
		switch {
		case s == nil:
		case s.late && r.held[i] == nil:
			r.lose(i, w.stripe, fmt.Errorf("%w for %s", ErrSlow, patience))
		case s.end > w.stripe+1:
			open++
		}
	}
	for i := len(r.streams) - 1; open > int(r.src.Scheme.Data); i-- {
		if s := r.streams[i]; s != nil && s.end > w.stripe+1 {
			s.stop()
			r.streams[i] = nil
			open--
		}
	}
	if r.has(w) {
		return nil
	}
	wanted := make([]bool, r.src.Scheme.Data)
	for i := w.lowest; i <= w.highest; i++ {
		if r.held[i] == nil {
			r.held[i] = r.engine.getBuffer(1, nil)
			r.shards[i] = r.held[i].room[:0]
			wanted[i] = true
		}
	}
	return r.coder.Reconstruct(r.shards, wanted)
}

func (r *Reader) tooFew(stripe int64, have int) error {
	causes := []error{ErrTooFewShards}
	for i, err := range r.causes {
		if err != nil {
			causes = append(causes, fmt.Errorf("chunk %d: %w", i, err))
		}
	}
	return fmt.Errorf("stripe %d has %d of %d shards: %w", stripe, have, r.src.Scheme.Data, errors.Join(causes...))
}
