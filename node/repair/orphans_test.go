package repair

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/metadata"
)

var errNoLabel = errors.New("no label")

// fakeRecords says what is named and what is past its fence.
type fakeRecords struct {
	parts  map[metadata.PartRef]bool // as this node knows them
	late   map[layout.AttemptID]bool // named, and this node does not know it yet
	fenced map[layout.AttemptID]bool
	silent bool
	asked  int // attempts
	judged map[layout.AttemptID]bool
}

func newFakeRecords() *fakeRecords {
	return &fakeRecords{
		parts: map[metadata.PartRef]bool{}, late: map[layout.AttemptID]bool{},
		fenced: map[layout.AttemptID]bool{}, judged: map[layout.AttemptID]bool{},
	}
}

func (f *fakeRecords) NamedHere(refs []metadata.PartRef) (named []bool, _ error) {
	for _, ref := range refs {
		named = append(named, f.parts[ref])
	}
	return named, nil
}

func (f *fakeRecords) Collectable(_ context.Context, attempts []layout.AttemptID) (map[layout.AttemptID]bool, error) {
	if f.silent {
		return nil, metadata.ErrUnavailable
	}
	f.asked += len(attempts)
	named := map[layout.AttemptID]bool{}
	for ref := range f.parts {
		named[ref.Attempt] = true
	}
	free := map[layout.AttemptID]bool{}
	for _, a := range attempts {
		free[a] = f.fenced[a] && !named[a] && !f.late[a]
		f.judged[a] = f.judged[a] || free[a]
	}
	return free, nil
}

// watchedStore fails the test if a chunk is deleted that must not be.
type watchedStore struct {
	chunkstore.Store
	t       *testing.T
	records *fakeRecords
}

func (s watchedStore) Delete(ctx context.Context, id layout.ChunkID) error {
	if !s.records.judged[id.Attempt] {
		s.t.Errorf("chunk %s is deleted without a verdict", id)
	}
	return s.Store.Delete(ctx, id)
}

type orphanBench struct {
	*fakeRecords
	*Orphans
	t     *testing.T
	store chunkstore.Store
	freed int64
}

func newOrphanBench(t *testing.T) *orphanBench {
	b := &orphanBench{fakeRecords: newFakeRecords(), t: t, store: chunkstore.NewMemory()}
	b.Orphans = NewOrphans(OrphansConfig{
		Records: b, Store: watchedStore{b.store, t, b.fakeRecords},
		Owner: func(label []byte) (id layout.UploadID, n layout.PartNumber, err error) {
			if len(label) < 2 {
				return id, 0, errNoLabel
			}
			return id, layout.PartNumber(binary.BigEndian.Uint16(label)), nil
		},
		Freed:  func(bytes int64) { b.freed += bytes },
		Logger: slog.New(slog.DiscardHandler),
	})
	return b
}

// put stores chunk 0 of an attempt, of part n if that is not negative.
func (b *orphanBench) put(a layout.AttemptID, n int) {
	b.t.Helper()
	var label []byte
	if n >= 0 {
		label = binary.BigEndian.AppendUint16(nil, uint16(n))
	}
	w, err := b.store.Create(b.t.Context(), layout.ChunkID{Attempt: a}, label)
	if err == nil {
		err = errors.Join(w.WriteBlock([]byte("block")), w.Commit())
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *orphanBench) has(a layout.AttemptID) bool {
	_, err := b.store.Stat(b.t.Context(), layout.ChunkID{Attempt: a})
	return err == nil
}

func attempt(n int) layout.AttemptID { return layout.NewAttemptID(1, 0, uint64(n)) }

func TestOrphansAreFreedPastTheirFence(t *testing.T) {
	b := newOrphanBench(t)
	const named, mislabelled, unknownHere, underWay, orphan, blank = 1, 2, 3, 4, 5, 6
	for a := named; a <= orphan; a++ {
		b.put(attempt(a), a)
		b.fenced[attempt(a)] = a != underWay
	}
	b.put(attempt(blank), -1)
	b.fenced[attempt(blank)] = true
	b.parts[metadata.PartRef{Number: named, Attempt: attempt(named)}] = true
	b.parts[metadata.PartRef{Number: 99, Attempt: attempt(mislabelled)}] = true
	b.late[attempt(unknownHere)] = true

	b.silent = true
	if _, err := b.Sweep(t.Context()); !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("Sweep = %v with a registry that cannot be asked", err)
	}
	b.silent = false
	for range 2 {
		if _, err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for a := named; a <= blank; a++ {
		if want := a < orphan; b.has(attempt(a)) != want {
			t.Errorf("attempt %d is there: %t, want %t", a, !want, want)
		}
	}
	if last, passes := b.Last(); b.freed != 10 || last != (Pass{Chunks: 4, Unnamed: 3}) || passes != 2 {
		t.Errorf("freed %d bytes, last pass %+v of %d", b.freed, last, passes)
	}
}

// Over many pages and verdicts, with registries that fall silent and chunks that
// come and go meanwhile, all orphans go and nothing else.
func TestAllOrphansGoAndNothingElse(t *testing.T) {
	r := testrand.New(t)
	b := newOrphanBench(t)
	for a := range 3000 {
		b.put(attempt(a), a)
		b.fenced[attempt(a)] = r.IntN(2) == 0
		if r.IntN(2) == 0 {
			b.parts[metadata.PartRef{Number: layout.PartNumber(a), Attempt: attempt(a)}] = true
		}
	}
	for range 20 {
		b.silent = r.IntN(3) == 0
		if _, err := b.Sweep(t.Context()); err != nil && !errors.Is(err, metadata.ErrUnavailable) {
			t.Fatal(err)
		}
		for range 100 {
			b.fenced[attempt(r.IntN(3000))] = true
		}
	}
	b.silent = false
	if _, err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for a := range 3000 {
		named := b.parts[metadata.PartRef{Number: layout.PartNumber(a), Attempt: attempt(a)}]
		if want := named || !b.fenced[attempt(a)]; b.has(attempt(a)) != want {
			t.Errorf("attempt %d is there: %t; named: %t, fenced: %t", a, !want, named, b.fenced[attempt(a)])
		}
	}
}
