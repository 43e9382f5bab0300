package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/testrand"
)

// readFaults makes the given chunks misbehave from one block on: -1 is opening.
func readFaults(block int64, fault func(context.Context) error, chunks ...int) func(context.Context, int, int64) error {
	inner := faults(int(block), fault, chunks...)
	return func(ctx context.Context, i int, b int64) error { return inner(ctx, i, int(b)) }
}

func TestReadSurvivesBadStoresAtEveryStripe(t *testing.T) {
	s := mustParse(t, "4+2")
	for _, tc := range []struct {
		name  string
		fault func(context.Context) error
	}{{"failing", broken}, {"frozen", frozen}} {
		for n := range int64(2 * 7) {
			block, inRuns := n/2-1, n%2 > 0
			t.Run(fmt.Sprintf("%s from block %d, in runs %t", tc.name, block, inRuns), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rng := testrand.New(t)
					e := newEngine(t, Config{})
					body := randomBytes(rng, 5*s.StripeSize()+77)
					m := newMemory()
					m.inRuns = inRuns
					store(t, e, m, s, body)
					bad := rng.Perm(s.Total())[:2]
					m.onRead = readFaults(block, tc.fault, bad...)
					began := time.Now()
					if err := load(t, e, m, s, body, 0, int64(len(body))); err != nil {
						t.Errorf("chunks %v bad: %v", bad, err)
					}
					if took := time.Since(began); took > 2*e.cfg.Hedge {
						t.Errorf("took %s, want two hedge delays at most", took)
					}
				})
			})
		}
	}
}

func TestReadWithTooManyBadStoresIsAnError(t *testing.T) {
	s := mustParse(t, "4+2")
	for _, tc := range []struct {
		name  string
		fault func(context.Context) error
		cause error
	}{{"failing", broken, errBroken}, {"frozen", frozen, ErrSlow}} {
		for block := int64(-1); block < 6; block++ {
			t.Run(fmt.Sprintf("%s from block %d", tc.name, block), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEngine(t, Config{})
					body := randomBytes(testrand.New(t), 5*s.StripeSize()+77)
					m := newMemory()
					store(t, e, m, s, body)
					m.onRead = readFaults(block, tc.fault, 0, 2, 4)
					err := load(t, e, m, s, body, 0, int64(len(body)))
					if !errors.Is(err, ErrTooFewShards) || !errors.Is(err, tc.cause) {
						t.Errorf("error %v, want %v and %v", err, ErrTooFewShards, tc.cause)
					}
				})
			})
		}
	}
}

// Three chunks are damaged, one more than the scheme has parity, but never
// three in one stripe.
func TestScatteredDamageIsReadAround(t *testing.T) {
	for _, inRuns := range []bool{false, true} {
		t.Run(fmt.Sprintf("in runs %t", inRuns), func(t *testing.T) { testScatteredDamage(t, inRuns) })
	}
}

func testScatteredDamage(t *testing.T, inRuns bool) {
	e := newEngine(t, Config{})
	s := mustParse(t, "4+2")
	rng := testrand.New(t)
	body := randomBytes(rng, 8*s.StripeSize())
	m := newMemory()
	m.inRuns = inRuns
	store(t, e, m, s, body)
	m.onRead = func(_ context.Context, i int, block int64) error {
		if block >= 0 && (int64(i) == block%6 || int64(i) == (block+3)%6) {
			return errBroken
		}
		return nil
	}
	if err := load(t, e, m, s, body, 0, int64(len(body))); err != nil {
		t.Error(err)
	}
	for range 50 {
		offset := rng.Int64N(int64(len(body)))
		if err := load(t, e, m, s, body, offset, rng.Int64N(int64(len(body))-offset)); err != nil {
			t.Error(err)
		}
	}
}

func TestChunksToBeTriedLastAreNotOpened(t *testing.T) {
	e := newEngine(t, Config{})
	s := mustParse(t, "4+2")
	body := randomBytes(testrand.New(t), 3*s.StripeSize())
	m := newMemory()
	store(t, e, m, s, body)
	src := Source{Scheme: s, Size: int64(len(body)), Open: m.open, Last: 0b000011}
	r, err := e.Open(t.Context(), src, 0, src.Size)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != string(body) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	r.Close()
	if len(m.reads[0]) != 0 || len(m.reads[1]) != 0 {
		t.Errorf("chunks to be tried last were read: %v, %v", m.reads[0], m.reads[1])
	}
}

// A shard of the wrong length means that the record and the chunk disagree. It
// must not reach the coder.
func TestShardOfWrongLengthIsAFailedShard(t *testing.T) {
	for _, inRuns := range []bool{false, true} {
		t.Run(fmt.Sprintf("in runs %t", inRuns), func(t *testing.T) { testShardOfWrongLength(t, inRuns) })
	}
}

func testShardOfWrongLength(t *testing.T, inRuns bool) {
	e := newEngine(t, Config{})
	s := mustParse(t, "2+1")
	body := randomBytes(testrand.New(t), 2*s.StripeSize()+100)
	m := newMemory()
	m.inRuns = inRuns
	store(t, e, m, s, body)
	heard := reports{}
	m.chunks[0][2] = m.chunks[0][2][:10]
	m.chunks[1] = append(m.chunks[1], []byte("more"))
	src := Source{Scheme: s, Size: int64(len(body)), Open: m.open, Report: heard.hear}
	r, err := e.Open(t.Context(), src, 0, src.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != string(body) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if len(heard) != 1 || heard[0] == nil {
		t.Errorf("reports = %v, want chunk 0 alone", heard)
	}
}

// A stream reads ahead in runs, and no further than it has memory for.
func TestStreamsReadRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		s := mustParse(t, "4+2")
		const stripes = 5 * readRun
		body := randomBytes(testrand.New(t), stripes*s.StripeSize())
		m := newMemory()
		m.inRuns = true
		store(t, e, m, s, body)
		r, err := e.Open(t.Context(), Source{Scheme: s, Size: int64(len(body)), Open: m.open}, 0, int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		check := func(when string, runs int) {
			t.Helper()
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			for i := range s.Data {
				if got, blocks := m.runs[int(i)], len(m.reads[int(i)]); got != runs || blocks != runs*readRun {
					t.Errorf("%s: chunk %d was read in %d runs and %d blocks, want %d runs of %d", when, i, got, blocks, runs, readRun)
				}
			}
		}
		check("with the first stripe in hand", readRuns)
		got := make([]byte, len(body))
		if _, err := io.ReadFull(r, got[:readRun*s.StripeSize()]); err != nil {
			t.Fatal(err)
		}
		check("in the last stripe of the first runs", readRuns)
		if _, err := io.ReadFull(r, got[readRun*s.StripeSize():]); err != nil || string(got) != string(body) {
			t.Errorf("read other bytes, %v", err)
		}
		check("in the end", stripes/readRun)
	})
}

func TestContextEndsARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Stall: time.Hour})
		s := mustParse(t, "1+1")
		body := make([]byte, 9*s.StripeSize())
		m := newMemory()
		store(t, e, m, s, body)
		m.onRead = readFaults(5, frozen, 0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := e.Open(ctx, Source{Scheme: s, Size: int64(len(body)), Open: m.open}, 0, int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); n != 5*int64(s.StripeSize()) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read %d bytes, %v; want 5 stripes and %v", n, err, context.DeadlineExceeded)
		}
	})
}

func TestClosedReaderReadsNothing(t *testing.T) {
	e := newEngine(t, Config{})
	s := mustParse(t, "2+1")
	body := make([]byte, 5*s.StripeSize())
	m := newMemory()
	store(t, e, m, s, body)
	r, err := e.Open(t.Context(), Source{Scheme: s, Size: int64(len(body)), Open: m.open}, 0, int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("Read after Close = %d, %v", n, err)
	}
}
