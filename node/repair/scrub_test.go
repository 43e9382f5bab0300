package repair

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
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
	opened *atomic.Int64
}

func (s countedStore) Open(ctx context.Context, id layout.ChunkID, first, count int64) (chunkstore.Reader, error) {
	s.opened.Add(1)
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
		opened, passes := new(atomic.Int64), 0
		for ; kept.Verified.IsZero(); passes++ {
			if passes > 10 {
				t.Fatalf("the pass does not end: %+v", kept)
			}
			ctx, stop := context.WithCancel(t.Context())
			s := b.scrub(0, kept, func(s ScrubState) { kept = s; stop() })
			s.cfg.Store = countedStore{s.cfg.Store, opened}
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
		if n := int(opened.Load()); n < chunks || n > chunks+passes {
			t.Errorf("begun with %d: %d chunks read, of %d", pick, n, chunks)
		}
		if kept.Damaged != damaged || kept.After != "" || kept.From != "" || kept.Wrapped {
			t.Errorf("begun with %d: %+v, want %d damaged", pick, kept, damaged)
		}
	}
	b.checkWhole(r)
}

// A scrub that takes its time reads all of its store at once when it is told to, also if
// the node ends on the way; and takes its time again afterwards.
func TestScrubInAHurry(t *testing.T) {
	r := testrand.New(t)
	b := newHealBench(t)
	const chunks = listPage + 10
	for range chunks {
		b.put(r, 1)
	}
	run := func(from ScrubState, saved func(ScrubState)) (s *Scrub, opened *atomic.Int64) {
		s, opened = b.scrub(0, from, saved), new(atomic.Int64)
		s.cfg.Period = 1000 * time.Hour
		s.cfg.Store = countedStore{s.cfg.Store, opened}
		return s, opened
	}
	ctx, stop := context.WithCancel(t.Context())
	var kept ScrubState
	s, opened := run(ScrubState{}, func(s ScrubState) { kept = s; stop() })
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	for opened.Load() == 0 { // it rests behind the first chunk, or is about to
		runtime.Gosched()
	}
	s.Hurry()
	if err := <-done; err != nil || !kept.Hurried || kept.Read != listPage || kept.Total != chunks {
		t.Fatalf("half-way: %v, %+v", err, kept)
	}
	if n := opened.Load(); n < listPage+1 || n > listPage+2 { // the first one twice
		t.Errorf("%d chunks were read for a page of %d", n, listPage)
	}

	b.lose(&b.parts[1], 0, true) // it was looked at, and is not again
	ctx, stop = context.WithCancel(t.Context())
	s, opened = run(kept, func(s ScrubState) {
		if kept = s; !s.Verified.IsZero() {
			stop()
		}
	})
	s.Hurry() // changes nothing: it does
	if err := s.Run(ctx); err != nil || kept.Hurried || kept.Read != chunks || kept.Damaged != 0 {
		t.Fatalf("in full: %v, %+v", err, kept)
	}
	if n := opened.Load(); n != chunks-listPage {
		t.Errorf("%d chunks were read, of %d", n, chunks-listPage)
	}

	ctx, stop = context.WithCancel(t.Context())
	s, opened = run(kept, func(ScrubState) { t.Error("an unhurried pass has come to an end") })
	go func() { done <- s.Run(ctx) }()
	for opened.Load() == 0 {
		runtime.Gosched()
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
