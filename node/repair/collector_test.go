package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/metadata"
)

var (
	errAway    = errors.New("store is away")
	errCrashed = errors.New("crashed before it was recorded")
)

// fakeCluster is a queue and stores without a registry around them.
type fakeCluster struct {
	mu sync.Mutex // guards what Drop changes

	now     layout.RegistryTime
	queue   []metadata.Garbage // in order
	parts   map[layout.UploadID]map[layout.PartNumber]metadata.Part
	named   map[layout.UploadID]bool // by a record, whatever the queue says
	chunks  map[layout.StoreID]map[layout.ChunkID]bool
	away    map[layout.StoreID]bool
	calls   map[layout.StoreID]int
	crashes int // FreeGarbage calls that are lost from now on
	largest int // parts of one FreeGarbage

	attempts uint64
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{
		parts: map[layout.UploadID]map[layout.PartNumber]metadata.Part{}, named: map[layout.UploadID]bool{},
		chunks: map[layout.StoreID]map[layout.ChunkID]bool{}, away: map[layout.StoreID]bool{}, calls: map[layout.StoreID]int{},
	}
}

func (f *fakeCluster) collector(grace time.Duration) *Collector {
	return NewCollector(CollectorConfig{Queue: f, Stores: f, Grace: grace, Logger: slog.New(slog.DiscardHandler)})
}

func storeID(n int) layout.StoreID { return layout.StoreID{1, byte(n)} }

func (f *fakeCluster) part(n layout.PartNumber, missing ...int) metadata.Part {
	f.attempts++
	l := layout.Layout{
		Attempt: layout.NewAttemptID(1, 0, f.attempts), Scheme: layout.Scheme{Data: 2, Parity: 1}, Size: 1000,
		Slots: []uint8{0, 1, 2}, Durable: 7,
	}
	for i := range l.Slots {
		store, _ := f.Holder(l, i)
		if f.chunks[store] == nil {
			f.chunks[store] = map[layout.ChunkID]bool{}
		}
		if !slices.Contains(missing, i) {
			f.chunks[store][l.Chunk(i)] = true
		}
	}
	return metadata.Part{Number: n, Size: l.Size, Layout: l}
}

// discard queues an upload of n parts, or one part of it if n is 0.
func (f *fakeCluster) discard(n int) metadata.Garbage {
	id := layout.NewUploadID()
	g := metadata.Garbage{Since: f.now, Sequence: uint64(len(f.queue)) + f.attempts<<20, Upload: id}
	if n == 0 {
		p := f.part(3)
		g.Part = &p
	}
	f.parts[id] = map[layout.PartNumber]metadata.Part{}
	for i := range n {
		f.parts[id][layout.PartNumber(i)] = f.part(layout.PartNumber(i))
	}
	f.queue = append(f.queue, g)
	return g
}

func (f *fakeCluster) left() (n int) {
	for _, chunks := range f.chunks {
		n += len(chunks)
	}
	return n
}

func (f *fakeCluster) Now() layout.RegistryTime { return f.now }

func (f *fakeCluster) Garbage(after *metadata.Garbage, limit int) ([]metadata.Garbage, error) {
	from := 0
	if after != nil {
		from = slices.IndexFunc(f.queue, func(g metadata.Garbage) bool {
			return g.Since > after.Since || g.Since == after.Since && g.Sequence > after.Sequence
		})
		if from < 0 {
			return nil, nil
		}
	}
	return slices.Clone(f.queue[from:min(from+limit, len(f.queue))]), nil
}

func (f *fakeCluster) GarbageParts(g metadata.Garbage, after, limit int) (parts []metadata.Part, _ error) {
	for _, n := range slices.Sorted(maps.Keys(f.parts[g.Upload])) {
		if int(n) > after && len(parts) < limit {
			parts = append(parts, f.parts[g.Upload][n])
		}
	}
	return parts, nil
}

func (f *fakeCluster) StillNamed(_ context.Context, entries []metadata.Garbage) (named []bool, _ error) {
	for _, g := range entries {
		named = append(named, f.named[g.Upload])
	}
	return named, nil
}

func (f *fakeCluster) FreeGarbage(_ context.Context, freed []metadata.FreedGarbage) error {
	if len(freed) > metadata.MaxFreedEntries {
		return fmt.Errorf("%d entries at once", len(freed))
	}
	if f.crashes > 0 {
		f.crashes--
		return errCrashed
	}
	for _, x := range freed {
		f.largest = max(f.largest, len(x.Parts))
		for _, p := range x.Parts {
			if f.parts[x.Upload][p.Number].Layout.Attempt == p.Attempt {
				delete(f.parts[x.Upload], p.Number)
			}
		}
		if len(f.parts[x.Upload]) == 0 {
			f.queue = slices.DeleteFunc(f.queue, func(g metadata.Garbage) bool { return g.Since == x.Since && g.Sequence == x.Sequence })
		}
	}
	return nil
}

func (f *fakeCluster) Holder(l layout.Layout, i int) (layout.StoreID, bool) {
	return storeID(int(l.Slots[i])), true
}

func (f *fakeCluster) Drop(_ context.Context, store layout.StoreID, chunks []Chunk) ([]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[store]++
	if f.away[store] {
		return nil, errAway
	}
	gone := make([]bool, len(chunks))
	for i, c := range chunks {
		delete(f.chunks[store], c.ID)
		gone[i] = true
	}
	return gone, nil
}

func sweepOf(t *testing.T, c *Collector) Swept {
	t.Helper()
	swept, err := c.Sweep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return swept
}

func TestGarbageWaitsOutItsGrace(t *testing.T) {
	f := newFakeCluster()
	c := f.collector(time.Second)
	f.discard(2)
	f.now = 600
	f.discard(0)
	f.now = 999
	if swept := sweepOf(t, c); swept != (Swept{}) || f.left() != 9 {
		t.Fatalf("swept %+v before the grace period is over, %d chunks left", swept, f.left())
	}
	survey, err := c.Survey(t.Context())
	if err != nil || survey.Entries != 2 || survey.Parts != 3 || survey.Waiting != (Amount{9, 4500}) || survey.Due != (Amount{}) || survey.Oldest != 999 ||
		len(survey.Stores) != 3 || *survey.Stores[storeID(0)] != (Amount{3, 1500}) {
		t.Errorf("survey = %+v, %v", survey, err)
	}
	f.now = 1000
	if swept := sweepOf(t, c); swept != (Swept{Parts: 2, Chunks: 6, Bytes: 3000}) || f.left() != 3 || len(f.queue) != 1 {
		t.Fatalf("swept %+v, %d chunks left, %d entries", swept, f.left(), len(f.queue))
	}
	f.now = 1600
	if sweepOf(t, c); f.left() != 0 || len(f.queue) != 0 {
		t.Errorf("%d chunks and %d entries left", f.left(), len(f.queue))
	}
}

// What a record names after all is not touched, and does not keep the rest.
func TestGarbageThatIsNamedStays(t *testing.T) {
	f := newFakeCluster()
	g := f.discard(2)
	f.named[g.Upload] = true
	f.discard(1)
	if swept := sweepOf(t, f.collector(0)); swept.Refused != 1 || f.left() != 6 || len(f.queue) != 1 {
		t.Errorf("swept %+v, %d chunks left", swept, f.left())
	}
}

// A store that is away keeps its share queued, is asked once per sweep, and what
// the others gave up is not asked for again.
func TestStoreThatIsAwayKeepsItsShare(t *testing.T) {
	f := newFakeCluster()
	c := f.collector(0)
	f.discard(600)
	f.away[storeID(2)] = true
	if swept := sweepOf(t, c); swept != (Swept{Chunks: 1200, Bytes: 600_000, Waiting: 600}) || len(f.queue) != 1 || f.calls[storeID(2)] != 1 {
		t.Fatalf("swept %+v; %d calls to the store that is away", swept, f.calls[storeID(2)])
	}
	calls := f.calls[storeID(0)]
	f.away[storeID(2)] = false
	if swept := sweepOf(t, c); swept != (Swept{Parts: 600, Chunks: 600, Bytes: 300_000}) || f.left() != 0 || len(f.queue) != 0 {
		t.Errorf("swept %+v, %d chunks left", swept, f.left())
	}
	if f.calls[storeID(0)] != calls || len(c.gone) != 0 {
		t.Errorf("a store was asked again, or %d parts are remembered", len(c.gone))
	}
}

// Ten thousand parts are worked off in bounded pieces whose progress survives
// what happens in between.
func TestLargeUploadIsFreedInPieces(t *testing.T) {
	f := newFakeCluster()
	f.discard(10_000)
	for range 3 {
		f.crashes = 1
		if _, err := f.collector(0).Sweep(t.Context()); !errors.Is(err, errCrashed) {
			t.Fatal(err)
		}
	}
	sweepOf(t, f.collector(0))
	if f.left() != 0 || len(f.queue) != 0 || f.largest == 0 || f.largest > metadata.MaxFreedParts {
		t.Errorf("%d chunks, %d entries left; %d parts at once", f.left(), len(f.queue), f.largest)
	}
}

// Whatever fails in whatever order, no entry goes before its chunks, and all go
// in the end.
func TestNoEntryGoesBeforeItsChunks(t *testing.T) {
	r := testrand.New(t)
	f := newFakeCluster()
	c := f.collector(5 * time.Millisecond)
	check := func() {
		t.Helper()
		queued := map[layout.AttemptID]bool{}
		for _, g := range f.queue {
			if g.Part != nil {
				queued[g.Part.Layout.Attempt] = true
			}
			for _, p := range f.parts[g.Upload] {
				queued[p.Layout.Attempt] = true
			}
		}
		for store, chunks := range f.chunks {
			for id := range chunks {
				if !queued[id.Attempt] {
					t.Fatalf("chunk %s is left on store %s and no entry names it", id, store)
				}
			}
		}
	}
	for range 500 {
		f.now += layout.RegistryTime(r.IntN(4))
		for range r.IntN(3) {
			f.discard([]int{0, 0, 1, 3, 300}[r.IntN(5)])
		}
		f.away[storeID(r.IntN(3))] = r.IntN(3) == 0
		f.crashes = max(0, r.IntN(4)-2)
		_, err := c.Sweep(t.Context())
		if err != nil && !errors.Is(err, errCrashed) {
			t.Fatal(err)
		}
		if r.IntN(10) == 0 {
			c = f.collector(5 * time.Millisecond) // another leader
		}
		check()
	}
	f.away, f.crashes, f.now = map[layout.StoreID]bool{}, 0, f.now+10
	sweepOf(t, c)
	if check(); f.left() != 0 || len(f.queue) != 0 {
		t.Errorf("%d chunks and %d entries left", f.left(), len(f.queue))
	}
}
