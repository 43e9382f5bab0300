package repair

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node/erasure"
)

// sickStore is a store in memory some of whose chunks fail their checksums.
type sickStore struct {
	chunkstore.Replacer
	t       *testing.T
	corrupt map[layout.ChunkID]bool
	away    atomic.Bool // a read that was given up may still look
	letGo   bool        // chunks may be deleted

	mu       sync.Mutex // of corrupt, and what follows
	replaced int
	made     []layout.ChunkID // in order
	meet     *sync.WaitGroup  // who makes a chunk waits for others
	takes    time.Duration    // to begin a chunk
}

func (s *sickStore) Open(ctx context.Context, id layout.ChunkID, first, count int64) (chunkstore.Reader, error) {
	if s.away.Load() {
		return nil, chunkstore.ErrUnavailable
	}
	s.mu.Lock()
	corrupt := s.corrupt[id]
	s.mu.Unlock()
	if corrupt {
		return nil, chunkstore.ErrCorrupt
	}
	return s.Replacer.Open(ctx, id, first, count)
}

func (s *sickStore) Stat(ctx context.Context, id layout.ChunkID) (chunkstore.Info, error) {
	if s.away.Load() {
		return chunkstore.Info{}, chunkstore.ErrUnavailable
	}
	return s.Replacer.Stat(ctx, id)
}

func (s *sickStore) Create(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error) {
	if s.away.Load() {
		return nil, chunkstore.ErrUnavailable
	}
	s.mu.Lock()
	s.made = append(s.made, id)
	s.mu.Unlock()
	if s.meet != nil {
		s.meet.Done()
		s.meet.Wait()
	}
	time.Sleep(s.takes)
	return s.Replacer.Create(ctx, id, label)
}

// Delete is not for a healer: what it cannot replace, it leaves.
func (s *sickStore) Delete(ctx context.Context, id layout.ChunkID) error {
	if !s.letGo {
		s.t.Errorf("chunk %s is deleted", id)
	}
	return s.Replacer.Delete(ctx, id)
}

func (s *sickStore) Replace(ctx context.Context, id layout.ChunkID, label []byte) (chunkstore.Writer, error) {
	w, err := s.Replacer.Replace(ctx, id, label)
	return cure{w, s, id}, err
}

// cure is a successor of a chunk: with its commit the damage is gone.
type cure struct {
	chunkstore.Writer
	s  *sickStore
	id layout.ChunkID
}

func (c cure) Commit() error {
	err := c.Writer.Commit()
	if err == nil {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		delete(c.s.corrupt, c.id)
		c.s.replaced++
	}
	return err
}

// healBench is a group of stores and the part records on them.
type healBench struct {
	t       *testing.T
	engine  *erasure.Engine
	scheme  layout.Scheme
	mu      sync.Mutex // of what PartRecords and Tell use
	view    *layout.View
	stores  []*sickStore
	parts   []metadata.OwnedPart
	bodies  map[layout.AttemptID][]byte
	garbage []metadata.Garbage
	gone    bool // all records are others by now
	crash   bool // nothing can be recorded
	former  map[uint8]*sickStore
	settled []metadata.SettledSlot
	widens  widenings
	now     layout.RegistryTime
	actual  []layout.Group // what the registry says, if the view is behind

	policy    metadata.RepairPolicy
	questions int      // about the policy
	asked     func()   // with each
	told      []string // kinds of events
}

func newHealBench(t *testing.T) *healBench {
	b := &healBench{
		t: t, engine: erasure.New(erasure.Config{Hedge: time.Hour, Stall: time.Hour}), scheme: layout.Scheme{Data: 4, Parity: 2},
		view: &layout.View{Stores: map[layout.StoreID]layout.StoreState{}}, bodies: map[layout.AttemptID][]byte{},
		former: map[uint8]*sickStore{},
	}
	t.Cleanup(func() { _ = b.engine.Close() }) // waits, and never fails
	group := layout.Group{Epoch: 7}
	for i := range b.scheme.Total() {
		b.stores = append(b.stores, &sickStore{Replacer: chunkstore.NewMemory(), t: t, corrupt: map[layout.ChunkID]bool{}})
		group.Slots = append(group.Slots, storeID(i))
		b.view.Stores[storeID(i)] = layout.StoreState{ID: storeID(i), Node: layout.NodeID{byte(i)}, Alive: true}
	}
	b.view.Groups = []layout.Group{group}
	return b
}

func (b *healBench) AllParts(after *metadata.OwnedPart, limit int) ([]metadata.OwnedPart, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := 0
	if after != nil {
		from = 1 + slices.IndexFunc(b.parts, func(p metadata.OwnedPart) bool { return p.Upload == after.Upload })
	}
	return slices.Clone(b.parts[from:min(from+limit, len(b.parts))]), nil
}

func (b *healBench) Garbage(after *metadata.Garbage, _ int) ([]metadata.Garbage, error) {
	if after != nil {
		return nil, nil
	}
	return b.garbage, nil
}

func (b *healBench) PartRows(id layout.UploadID, after, _ int) (parts []metadata.Part, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.parts {
		if p.Upload == id && int(p.Number) > after {
			parts = append(parts, p.Part)
		}
	}
	return parts, nil
}

func (b *healBench) RepairPolicy() (metadata.RepairPolicy, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.questions++
	if b.asked != nil {
		b.asked()
	}
	return b.policy, nil
}

func (b *healBench) tell(kind, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, kind)
}

func (b *healBench) RecordDurable(ctx context.Context, chunks []metadata.DurableChunk) (recorded []bool, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.crash {
		return nil, metadata.ErrUnavailable
	}
	for _, d := range chunks {
		i := slices.IndexFunc(b.parts, func(p metadata.OwnedPart) bool { return p.Upload == d.Upload && p.Layout.Attempt == d.Attempt })
		if i < 0 || b.gone || d.Epoch != 7 {
			recorded = append(recorded, false)
			continue
		}
		// Rule 1: by the time it is proposed, the chunk is durable and whole.
		if err := b.check(ctx, b.parts[i].Layout, int(d.Index)); err != nil {
			b.t.Errorf("chunk %d is recorded: %v", d.Index, err)
		}
		b.parts[i].Layout.Durable |= 1 << d.Index
		recorded = append(recorded, true)
	}
	return recorded, nil
}

func (b *healBench) check(ctx context.Context, l layout.Layout, i int) error {
	return Verify(ctx, b.stores[l.Slots[i]], l.Chunk(i), l.Scheme.ChunkSize(l.Size))
}

// healer heals one of the stores.
func (b *healBench) healer(i int) *Healer {
	return b.healerOf(i, b.view.Groups[0].Slots[i], b.stores[i])
}

func (b *healBench) seen() *layout.View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

func (b *healBench) healerOf(i int, self layout.StoreID, store *sickStore) *Healer {
	return NewHealer(HealerConfig{
		Records: b, Engine: b.engine, Self: self, Store: store, View: b.seen,
		Topology: func(context.Context) (metadata.Topology, error) { return metadata.Topology{Groups: b.fact()}, nil },
		Attempt:  b.attempt, Relabel: relabelled,
		Now: func() layout.RegistryTime { return b.now }, Grace: time.Second,
		Holders: Holders{
			Holder: func(l layout.Layout, j int) (chunkstore.Store, error) {
				if int(l.Slots[j]) == i && !b.widens.allowed {
					b.t.Error("the healer reads its own chunk as one of the others")
				}
				return b.stores[l.Slots[j]], nil
			},
			Former: func(l layout.Layout, j int) (chunkstore.Store, bool) {
				s, known := b.former[l.Slots[j]]
				return s, known
			},
		},
		Interval: time.Hour, Bandwidth: 1 << 40, Tell: b.tell, Logger: slog.New(slog.DiscardHandler),
	})
}

func (b *healBench) sweep(i int) Healed {
	b.t.Helper()
	healed, err := b.healer(i).Sweep(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return healed
}

// put stores a part with chunks in rotated slots.
func (b *healBench) put(r *rand.Rand, size int) *metadata.OwnedPart {
	b.t.Helper()
	return b.putUnder(r, b.scheme, size)
}

func (b *healBench) putUnder(r *rand.Rand, scheme layout.Scheme, size int) *metadata.OwnedPart {
	b.t.Helper()
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	n := len(b.parts)
	l := layout.Layout{Attempt: layout.NewAttemptID(1, 0, uint64(n+1)), Scheme: scheme, Size: int64(size)}
	for i := range scheme.Total() {
		l.Slots = append(l.Slots, uint8((i+n)%b.scheme.Total()))
	}
	chunks, err := b.engine.NewEncoder(bytes.NewReader(body)).Write(b.t.Context(), erasure.Sink{
		Scheme: scheme,
		Create: func(ctx context.Context, i int) (erasure.ShardWriter, error) {
			return b.stores[l.Slots[i]].Create(ctx, l.Chunk(i), fmt.Appendf(nil, "label %d", n))
		},
	})
	if err == nil {
		l.Durable, err = chunks.Commit()
	}
	if err != nil || l.DurableCount() != scheme.Total() {
		b.t.Fatal(l.Durable, err)
	}
	b.bodies[l.Attempt] = body
	b.parts = append(b.parts, metadata.OwnedPart{Upload: layout.NewUploadID(), Part: metadata.Part{Size: l.Size, ETag: md5.Sum(body), Layout: l}})
	return &b.parts[n]
}

// lose takes the chunk of a part on a store away, or damages it.
func (b *healBench) lose(p *metadata.OwnedPart, store int, damage bool) {
	b.t.Helper()
	id := p.Layout.Chunk(slices.Index(p.Layout.Slots, uint8(store)))
	if damage {
		b.stores[store].corrupt[id] = true
	} else if err := b.stores[store].Replacer.Delete(b.t.Context(), id); err != nil {
		b.t.Fatal(err)
	}
}

// checkWhole makes sure that every chunk of every part is there, recorded, and
// one of its bytes: the payload comes back from any k of them.
func (b *healBench) checkWhole(r *rand.Rand) {
	b.t.Helper()
	for _, p := range b.parts {
		l := p.Layout
		for i := range l.Slots {
			if err := b.check(b.t.Context(), l, i); err != nil || !l.IsDurable(i) {
				b.t.Fatalf("chunk %s: recorded: %t, %v", l.Chunk(i), l.IsDurable(i), err)
			}
			first, _ := b.stores[l.Slots[i]].Stat(b.t.Context(), l.Chunk(i))
			next := (i + 1) % len(l.Slots)
			second, _ := b.stores[l.Slots[next]].Stat(b.t.Context(), l.Chunk(next))
			if !bytes.Equal(first.Label, second.Label) {
				b.t.Fatalf("chunks %d and %d have labels %q and %q", i, next, first.Label, second.Label)
			}
		}
		one, other := r.IntN(6), r.IntN(6)
		lost := uint32(1<<one | 1<<other)
		reader, err := b.engine.Open(b.t.Context(), erasure.Source{
			Scheme: l.Scheme, Size: l.Size,
			Open: func(ctx context.Context, i int, first, count int64) (erasure.ShardReader, error) {
				if lost&(1<<i) != 0 {
					return nil, chunkstore.ErrUnavailable
				}
				return b.stores[l.Slots[i]].Open(ctx, l.Chunk(i), first, count)
			},
		}, 0, l.Size)
		if err != nil {
			b.t.Fatal(err)
		}
		got, err := io.ReadAll(reader)
		if err = errors.Join(err, reader.Close()); err != nil || !bytes.Equal(got, b.bodies[l.Attempt]) {
			b.t.Fatalf("part without chunks %06b: %d bytes, equal: %t, %v", lost, len(got), bytes.Equal(got, b.bodies[l.Attempt]), err)
		}
	}
}

func TestMissingAndDamagedChunksAreRebuilt(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	for range 40 {
		b.put(r, []int{1, 1000, 300_000, 256 << 10}[r.IntN(4)])
	}
	for i := range b.parts {
		x, y := r.IntN(6), r.IntN(5)
		b.lose(&b.parts[i], x, r.IntN(2) == 0)
		b.lose(&b.parts[i], (x+1+y)%6, r.IntN(2) == 0)
	}
	rebuilt := 0
	for i := range b.stores {
		// Damage does not show in a listing: scrub and readers find it. Here
		// the records do not say that these chunks are there.
		for j := range b.parts {
			b.parts[j].Layout.Durable &^= 1 << slices.Index(b.parts[j].Layout.Slots, uint8(i))
		}
		healed := b.sweep(i)
		if rebuilt += healed.Rebuilt; healed.Chunks != 40 || healed.Rebuilt+healed.Recorded != 40 || healed.Left != 0 {
			t.Errorf("store %d: %+v", i, healed)
		}
	}
	if rebuilt != 80 {
		t.Errorf("%d chunks rebuilt, want 80", rebuilt)
	}
	b.checkWhole(r)
	for i := range b.stores {
		if healed := b.sweep(i); healed != (Healed{Chunks: 40}) {
			t.Errorf("a second pass over store %d: %+v", i, healed)
		}
	}
}

// A chunk that is there and whole is only recorded; not a byte is written.
func TestStragglerIsOnlyRecorded(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	p := b.put(r, 300_000)
	p.Layout.Durable &^= 1 << slices.Index(p.Layout.Slots, 3)
	if healed := b.sweep(3); healed != (Healed{Chunks: 1, Recorded: 1}) || b.stores[3].replaced != 0 {
		t.Errorf("%+v, %d chunks replaced", healed, b.stores[3].replaced)
	}
	b.checkWhole(r)
}

// A damaged chunk stays as it is while it cannot be replaced: a reader may find
// what it needs in it.
func TestDamagedChunkStaysUntilItCanBeReplaced(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	p := b.put(r, 300_000)
	i := slices.Index(p.Layout.Slots, 3)
	p.Layout.Durable &^= 1 << i
	b.lose(p, 3, true)
	b.stores[0].away.Store(true)
	b.stores[1].away.Store(true)
	if healed := b.sweep(3); healed != (Healed{Chunks: 1, Left: 1}) || b.stores[3].replaced != 0 || p.Layout.IsDurable(i) {
		t.Fatalf("%+v, %d chunks replaced", healed, b.stores[3].replaced)
	}
	b.stores[0].away.Store(false)
	if healed := b.sweep(3); healed != (Healed{Chunks: 1, Rebuilt: 1}) {
		t.Fatalf("%+v", healed)
	}
	b.stores[1].away.Store(false)
	b.checkWhole(r)
}

// Those come first whose parts have the fewest other chunks.
func TestTheMostUrgentIsHealedFirst(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	for range 9 {
		b.put(r, 1000)
	}
	for i := range b.parts {
		b.lose(&b.parts[i], 5, false)
		for n := range i % 2 { // of every second part, one more is missing
			b.parts[i].Layout.Durable &^= 1 << slices.Index(b.parts[i].Layout.Slots, uint8(n))
		}
	}
	h := b.healer(5)
	h.cfg.AtOnce = 1
	b.stores[5].made = nil
	if healed, err := h.Sweep(t.Context()); err != nil || healed.Rebuilt != 9 || len(b.stores[5].made) != 9 {
		t.Fatalf("%+v, %v, %d chunks made", healed, err, len(b.stores[5].made))
	}
	for n, id := range b.stores[5].made {
		i := slices.IndexFunc(b.parts, func(p metadata.OwnedPart) bool { return p.Layout.Attempt == id.Attempt })
		if urgent := i%2 == 1; urgent != (n < 4) {
			t.Errorf("part %d was healed as number %d", i, n)
		}
	}
}

// As many chunks as may be are healed side by side: more of the small ones if no client
// is kept waiting by that.
func TestChunksAreHealedAtOnce(t *testing.T) {
	r := testrand.New(t)
	const atOnce = 3
	for _, tc := range []struct {
		quiet bool
		size  int // of a part, in four chunks
		want  int
	}{{false, 1000, atOnce}, {true, 1000, atOnce * wholeTurn}, {true, 2 << 20, atOnce * wholeTurn / 2}, {true, 5 << 20, atOnce}} {
		b := newHealBench(t)
		h := b.healer(5)
		h.cfg.AtOnce, h.cfg.Quiet = atOnce, func() bool { return tc.quiet }
		for range tc.want {
			b.lose(b.put(r, tc.size), 5, false)
		}
		b.stores[5].meet = &sync.WaitGroup{}
		b.stores[5].meet.Add(tc.want)
		if healed, err := h.Sweep(t.Context()); err != nil || healed.Rebuilt != tc.want {
			t.Errorf("%+v: %+v, %v", tc, healed, err)
		}
		b.checkWhole(r)
		for size := int64(0); size < 8<<20; size += 100_000 {
			s := sick{part: metadata.OwnedPart{Part: metadata.Part{Layout: layout.Layout{Scheme: layout.Scheme{Data: 1}, Size: size}}}}
			if w := h.weight(s); w < 1 || w > wholeTurn || !tc.quiet && w < wholeTurn {
				t.Errorf("quiet %t: a chunk of %d bytes counts for %d", tc.quiet, size, w)
			}
		}
	}
}

// However many find that a chunk is missing, one of them makes it.
func TestNoTwoHealOneChunk(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	p := b.put(r, 300_000)
	b.lose(p, 3, false)
	h := b.healer(3)
	b.stores[3].made = nil
	var finders sync.WaitGroup
	for range 8 {
		finders.Go(func() {
			if err := h.Mend(t.Context(), Suspect{p.Upload, 0, p.Layout.Chunk(slices.Index(p.Layout.Slots, 3))}); err != nil {
				t.Error(err)
			}
		})
	}
	finders.Wait()
	if n := len(b.stores[3].made); n != 1 {
		t.Errorf("the chunk was made %d times", n)
	}
	b.checkWhole(r)
}

// What nobody will ask for again is not healed, and a crash before the record
// leaves only that to be done.
func TestWhatIsDoneIsFoundAgain(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	b.put(r, 1000)
	p := b.put(r, 1000)
	for i := range b.parts {
		b.lose(&b.parts[i], 2, false)
	}
	p.Layout.Durable &^= 1 << slices.Index(p.Layout.Slots, 2)
	b.garbage = []metadata.Garbage{{Upload: b.parts[0].Upload}}
	b.crash = true
	if healed := b.sweep(2); healed != (Healed{Chunks: 1, Left: 1}) {
		t.Fatalf("%+v", healed)
	}
	b.crash, b.gone = false, true
	if healed := b.sweep(2); healed != (Healed{Chunks: 1}) || b.stores[2].replaced != 0 {
		t.Fatalf("the record is another: %+v", healed)
	}
	b.gone = false
	if healed := b.sweep(2); healed != (Healed{Chunks: 1, Recorded: 1}) {
		t.Fatalf("%+v", healed)
	}
	n := b.parts[0].Number
	b.garbage[0].Kept = make(metadata.PartSet, n/8+2)
	b.garbage[0].Kept[n/8+1] = 1 << (n % 8) // an object names another part
	if healed := b.sweep(2); healed != (Healed{Chunks: 1}) {
		t.Fatalf("%+v", healed)
	}
	b.garbage[0].Kept[n/8] = 1 << (n % 8) // and this one
	if healed := b.sweep(2); healed != (Healed{Chunks: 2, Rebuilt: 1}) {
		t.Fatalf("%+v", healed)
	}
	b.checkWhole(r)
}
