package repair

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// scrub scrubs store i of the bench, from a state on.
func (b *healBench) scrub(i int, from ScrubState, saved func(ScrubState)) *Scrub {
	return NewScrub(ScrubConfig{
		Store: b.stores[i], Healer: b.healer(i), Period: time.Nanosecond, Pick: func(int) int { return 0 }, Tell: b.tell, Logger: slog.New(slog.DiscardHandler),
		Owner: func(label []byte) (id layout.UploadID, n layout.PartNumber, err error) {
			var at int
			if _, err := fmt.Sscanf(string(label), "label %d", &at); err != nil {
				return id, 0, err
			}
			return b.parts[at].Upload, 0, nil
		},
		Save: func(s ScrubState) error { saved(s); return nil },
	}, from)
}

// A scrub finds every damaged chunk of its store and has it healed; the next one
// finds none.
func TestScrubFindsAllDamageAndHealsIt(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	damaged := 0
	for i := range 300 {
		p := b.put(r, 1000)
		if i%3 == 0 {
			b.lose(p, 4, true)
			damaged++
		}
	}
	s := b.scrub(4, ScrubState{}, func(ScrubState) {})
	for pass := range 2 {
		if err := s.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		if state := s.State(); state.Damaged != damaged || state.Verified.IsZero() || b.stores[4].replaced != damaged {
			t.Fatalf("pass %d: %+v, %d chunks replaced, want %d", pass, state, b.stores[4].replaced, damaged)
		}
	}
	b.checkWhole(r)
}

// A scrub that ends half-way goes on where it was, with what it saved.
func TestScrubGoesOnWhereItWas(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	for range 2*listPage + 10 {
		b.put(r, 1)
	}
	var kept ScrubState
	ctx, stop := context.WithCancel(t.Context())
	if err := b.scrub(0, ScrubState{}, func(s ScrubState) { kept = s; stop() }).pass(ctx); ctx.Err() == nil {
		t.Fatalf("the scrub was not stopped: %v", err)
	}
	if kept.After == "" || !kept.Verified.IsZero() || kept.Began.IsZero() {
		t.Fatalf("kept %+v", kept)
	}
	b.lose(&b.parts[0], 0, true)              // before the position: not looked at again
	b.lose(&b.parts[len(b.parts)-1], 0, true) // behind it
	s := b.scrub(0, ScrubState{After: kept.After, Began: kept.Began}, func(ScrubState) {})
	if err := s.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := s.State(); state.Damaged != 1 || !state.Verified.Equal(kept.Began) || state.After != "" {
		t.Errorf("the second half: %+v", state)
	}
}

// countedStore counts the chunks that are opened.
type countedStore struct {
	chunkstore.Store
	opened *int
}

func (s countedStore) Open(ctx context.Context, id layout.ChunkID, first, count int64) (chunkstore.Reader, error) {
	*s.opened++
	return s.Store.Open(ctx, id, first, count)
}

// Wherever a pass begins, and however often it ends on the way and goes on, it reads
// every chunk of the store once.
func TestScrubBeginsAnywhereAndReadsAll(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	const chunks = 2*listPage + 10
	for range chunks {
		b.lose(b.put(r, 1), 0, true)
	}
	picks := []int{0, chunks, 1, r.IntN(chunks), r.IntN(chunks), r.IntN(chunks)}
	r.Shuffle(len(picks), func(i, j int) { picks[i], picks[j] = picks[j], picks[i] })
	for round, pick := range picks {
		damaged := 0
		if round == 0 {
			damaged = chunks
		}
		if round > 0 {
			for i := range b.parts {
				if r.IntN(4) == 0 {
					b.lose(&b.parts[i], 0, true)
					damaged++
				}
			}
		}
		var kept ScrubState
		opened, passes := 0, 0
		for ; kept.Verified.IsZero(); passes++ {
			if passes > 10 {
				t.Fatalf("the pass does not end: %+v", kept)
			}
			ctx, stop := context.WithCancel(t.Context())
			s := b.scrub(0, kept, func(s ScrubState) { kept = s; stop() })
			s.cfg.Store = countedStore{s.cfg.Store, &opened}
			s.cfg.Pick = func(n int) int {
				if n != chunks+1 {
					t.Errorf("picks one of %d", n)
				}
				return pick
			}
			if err := s.pass(ctx); err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			stop()
		}
		if opened < chunks || opened > chunks+passes {
			t.Errorf("begun with %d: %d chunks read, of %d", pick, opened, chunks)
		}
		if kept.Damaged != damaged || kept.After != "" || kept.From != "" || kept.Wrapped {
			t.Errorf("begun with %d: %+v, want %d damaged", pick, kept, damaged)
		}
	}
	b.checkWhole(r)
}
