package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/metadata"
)

// widenings is what a healBench knows of parts that are stored anew.
type widenings struct {
	allowed  bool
	attempts int
	fail     error // what the registry says instead of taking one
	proposed []metadata.WidenedPart
	old      []layout.Layout // of records that were changed
}

// newWidenBench has all stores up, and room for narrow parts.
func newWidenBench(t *testing.T) *healBench {
	b := newHealBench(t)
	b.widens.allowed = true
	b.view.Scheme = b.scheme
	for i := range b.stores {
		b.up(i, true)
		b.stores[i].letGo = true // an attempt that nobody recorded
	}
	return b
}

func (b *healBench) up(i int, up bool) {
	b.view.Stores[storeID(i)] = layout.StoreState{ID: storeID(i), Alive: up, Up: up}
	b.stores[i].away.Store(!up)
}

func (b *healBench) attempt() (layout.AttemptID, error) {
	b.widens.attempts++
	return layout.NewAttemptID(2, b.now, uint64(b.widens.attempts)), nil
}

func relabelled(label []byte, l layout.Layout) ([]byte, error) {
	return fmt.Appendf(nil, "%s as %s", label, l.Scheme), nil
}

func (b *healBench) Widen(ctx context.Context, x metadata.WidenedPart) error {
	b.widens.proposed = append(b.widens.proposed, x)
	if b.widens.fail != nil {
		return b.widens.fail
	}
	i := slices.IndexFunc(b.parts, func(p metadata.OwnedPart) bool { return p.Upload == x.Upload && p.Layout.Attempt == x.Attempt })
	if i < 0 {
		return metadata.ErrPartChanged
	}
	for j := range x.Layout.Slots { // rule 1
		if err := b.check(ctx, x.Layout, j); err != nil {
			b.t.Errorf("chunk %d is recorded: %v", j, err)
		}
	}
	b.widens.old = append(b.widens.old, b.parts[i].Layout)
	b.bodies[x.Layout.Attempt] = b.bodies[x.Attempt]
	b.parts[i].Layout = x.Layout
	return nil
}

// chunks is how many chunks of an attempt there are.
func (b *healBench) chunks(id layout.AttemptID) (n int) {
	b.t.Helper()
	for _, s := range b.stores {
		for i := range uint8(6) {
			switch _, err := s.Stat(b.t.Context(), layout.ChunkID{Attempt: id, Index: i}); {
			case err == nil:
				n++
			case !errors.Is(err, chunkstore.ErrNotFound):
				b.t.Fatal(err)
			}
		}
	}
	return n
}

// Parts of narrower schemes are stored anew by the holder of their first chunk
// and no other, from any chunks that suffice; their bytes stay, and so do the
// chunks they had, which are the garbage queue's.
func TestNarrowPartsAreWidened(t *testing.T) {
	r := testrand.New(t)
	b := newWidenBench(t)
	small := 0
	for i := range 24 {
		scheme := []layout.Scheme{{Data: 2, Parity: 2}, {Data: 3, Parity: 2}, {Data: 1, Parity: 1}, b.scheme}[i%4]
		size := []int{1, 1000, 300_000, 256 << 10}[r.IntN(4)]
		p := b.putUnder(r, scheme, size)
		b.stores[p.Layout.Slots[1]].corrupt[p.Layout.Chunk(1)] = true
		p.Layout.Durable &^= 2
		if size <= layout.SmallPartSize && scheme.Parity == 2 {
			small++ // a small part of any scheme with both parities is wide enough
		}
	}
	full := 0
	for _, p := range b.parts {
		if p.Layout.Scheme == b.scheme && p.Layout.Size > layout.SmallPartSize {
			full++
		}
	}
	was := slices.Clone(b.parts)
	widened := 0
	for i := range b.stores {
		mine := 0
		for _, p := range was {
			if p.Layout.Narrow(b.scheme) && p.Layout.Slots[0] == uint8(i) {
				mine++
			}
		}
		healed := b.sweep(i)
		if widened += healed.Widened; healed.Widened != mine || healed.Narrow != 0 {
			t.Errorf("store %d widened %d parts, %d are its: %+v", i, healed.Widened, mine, healed)
		}
	}
	if want := 24 - small - full; widened != want || !slices.Contains(b.told, metadata.EventWidened) {
		t.Errorf("%d parts are widened of %d, told: %q", widened, want, b.told)
	}
	for i, p := range b.parts {
		if p.Layout.Narrow(b.scheme) || p.Layout.Attempt != was[i].Layout.Attempt && p.Layout.Scheme != b.scheme.ForPart(p.Layout.Size) {
			t.Errorf("a part of %d bytes has scheme %s, before %s", p.Size, p.Layout.Scheme, was[i].Layout.Scheme)
		}
		info, err := b.stores[p.Layout.Slots[0]].Stat(t.Context(), p.Layout.Chunk(0))
		if err != nil || p.Layout.Attempt != was[i].Layout.Attempt && !strings.HasSuffix(string(info.Label), "as "+p.Layout.Scheme.String()) {
			t.Errorf("label %q, %v", info.Label, err)
		}
	}
	for _, l := range b.widens.old {
		if n := b.chunks(l.Attempt); n != len(l.Slots) {
			t.Errorf("%d of %d chunks are left of what was replaced", n, len(l.Slots))
		}
	}
	for i := range b.stores {
		b.sweep(i) // the damage of the others
	}
	b.checkWhole(r)
}

// While a store of every group is away, a part stays narrow and nothing is
// written.
func TestNothingIsWidenedWithoutAWholeGroup(t *testing.T) {
	r := testrand.New(t)
	b := newWidenBench(t)
	b.putUnder(r, layout.Scheme{Data: 3, Parity: 2}, 300_000)
	b.up(5, false)
	if healed := b.sweep(0); healed.Narrow != 1 || healed.Widened != 0 || len(b.widens.proposed) != 0 {
		t.Fatalf("%+v, %d proposals", healed, len(b.widens.proposed))
	}
	b.up(5, true)
	if n := b.chunks(layout.NewAttemptID(2, 0, 1)); n != 0 {
		t.Errorf("%d chunks were written", n)
	}
	if healed := b.sweep(0); healed.Widened != 1 {
		t.Errorf("%+v", healed)
	}
	b.checkWhole(r)
}

// What the registry refuses for good is deleted at once, and nothing else is.
func TestARefusedWideningLeavesNothing(t *testing.T) {
	for _, refusal := range []error{metadata.ErrPartChanged, metadata.ErrSlotsMoved} {
		r := testrand.New(t)
		b := newWidenBench(t)
		p := b.putUnder(r, layout.Scheme{Data: 2, Parity: 2}, 300_000)
		b.widens.fail = refusal
		b.sweep(0)
		if len(b.widens.proposed) != 1 {
			t.Fatalf("%d proposals", len(b.widens.proposed))
		}
		if n := b.chunks(b.widens.proposed[0].Layout.Attempt); n != 0 {
			t.Errorf("%v: %d chunks are left", refusal, n)
		}
		if n := b.chunks(p.Layout.Attempt); n != 4 {
			t.Errorf("%v: %d chunks of the part are left", refusal, n)
		}
	}
}

// An attempt that may be recorded keeps its chunks and is proposed again before
// another one is made.
func TestAWideningOfUnknownOutcomeIsProposedAgain(t *testing.T) {
	r := testrand.New(t)
	b := newWidenBench(t)
	for range 7 {
		b.putUnder(r, layout.Scheme{Data: 2, Parity: 2}, 300_000)
	}
	h := b.healer(0)
	sweep := func() Healed {
		t.Helper()
		healed, err := h.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return healed
	}
	b.widens.fail = metadata.ErrUnavailable
	for n := range 3 {
		sweep()
		first := b.widens.proposed[0]
		if len(b.widens.proposed) != 1+n || b.widens.proposed[n].Layout.Attempt != first.Layout.Attempt || b.chunks(first.Layout.Attempt) != 6 {
			t.Fatalf("sweep %d: %d proposals, %d chunks", n, len(b.widens.proposed), b.chunks(first.Layout.Attempt))
		}
	}
	b.widens.fail = nil
	if healed := sweep(); healed.Narrow != 0 || len(b.widens.old) != 2 {
		t.Errorf("%+v, %d records changed", healed, len(b.widens.old))
	}
	for i := range 6 {
		b.sweep(i)
	}
	b.checkWhole(r)
}

// A wide attempt that lacks a chunk, or has other bytes than the record says, is
// not proposed.
func TestOnlyAWholeAttemptIsProposed(t *testing.T) {
	r := testrand.New(t)
	b := newWidenBench(t)
	p := b.putUnder(r, layout.Scheme{Data: 2, Parity: 2}, 300_000)
	b.stores[5].away.Store(true) // the view does not know
	if healed := b.sweep(0); healed.Narrow != 1 || len(b.widens.proposed) != 0 {
		t.Errorf("a store is away: %+v, %d proposals", healed, len(b.widens.proposed))
	}
	b.stores[5].away.Store(false)
	etag := p.ETag
	p.ETag[0]++
	if healed := b.sweep(0); healed.Narrow != 1 || len(b.widens.proposed) != 0 {
		t.Errorf("the MD5 is another: %+v, %d proposals", healed, len(b.widens.proposed))
	}
	p.ETag = etag
	for n := range b.widens.attempts {
		if left := b.chunks(layout.NewAttemptID(2, 0, uint64(n+1))); left != 0 {
			t.Errorf("attempt %d left %d chunks", n, left)
		}
	}
	b.garbage = []metadata.Garbage{{Upload: p.Upload}}
	if healed := b.sweep(0); healed.Narrow != 0 || len(b.widens.proposed) != 0 {
		t.Errorf("the part is garbage: %+v, %d proposals", healed, len(b.widens.proposed))
	}
	b.garbage = nil
	if healed := b.sweep(0); healed.Widened != 1 {
		t.Errorf("%+v", healed)
	}
	b.checkWhole(r)
}
