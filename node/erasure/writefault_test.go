package erasure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// faults makes the given chunks misbehave from one block on: -1 is creation.
func faults(block int, fault func(context.Context) error, chunks ...int) func(context.Context, int, int) error {
	return func(ctx context.Context, i, b int) error {
		for _, c := range chunks {
			if c == i && b >= block {
				return fault(ctx)
			}
		}
		return nil
	}
}

func broken(context.Context) error { return errBroken }

// reports collects what a ReportFunc hears. It is called by one goroutine.
type reports map[int]error

func (r reports) hear(i int, err error) { r[i] = err }

func TestWriteSurvivesOneBadStoreAtEveryStripe(t *testing.T) {
	s := mustParse(t, "4+2")
	for _, tc := range []struct {
		name  string
		fault func(context.Context) error
		want  error
	}{
		{"failing", broken, errBroken},
		{"frozen", frozen, ErrSlow},
	} {
		for block := -1; block < 12; block++ {
			t.Run(fmt.Sprintf("%s from block %d", tc.name, block), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rng := testrand.New(t)
					e := newEngine(t, Config{})
					body := randomBytes(rng, 11*s.StripeSize()+5)
					bad := rng.IntN(s.Total())
					m := newMemory()
					m.onWrite = faults(block, tc.fault, bad)
					heard := reports{}
					began := time.Now()
					p, err := e.NewEncoder(bytes.NewReader(body)).Write(t.Context(), Sink{Scheme: s, Create: m.create, Report: heard.hear})
					if err != nil {
						t.Fatalf("Write: %v", err)
					}
					durable, err := p.Commit()
					if err != nil {
						t.Fatalf("Commit: %v", err)
					}
					if want := uint32(0b111111) &^ (1 << bad); durable != want {
						t.Errorf("durable = %b, want %b", durable, want)
					}
					if len(heard) != 1 || !errors.Is(heard[bad], tc.want) {
						t.Errorf("reports = %v, want chunk %d: %v", heard, bad, tc.want)
					}
					if took := time.Since(began); took > time.Second {
						t.Errorf("took %s, want one hedge delay at most", took)
					}
					if err := load(t, e, m, s, body, 0, int64(len(body))); err != nil {
						t.Errorf("load: %v", err)
					}
				})
			})
		}
	}
}

func TestWriteBelowQuorumFailsAndAborts(t *testing.T) {
	s := mustParse(t, "4+2")
	for _, tc := range []struct {
		name  string
		fault func(context.Context) error
		cause error
	}{
		{"failing", broken, errBroken},
		{"frozen", frozen, ErrSlow},
	} {
		for _, block := range []int{-1, 0, 1, 5} {
			t.Run(fmt.Sprintf("%s from block %d", tc.name, block), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEngine(t, Config{})
					body := randomBytes(testrand.New(t), 9*s.StripeSize())
					m := newMemory()
					m.onWrite = faults(block, tc.fault, 1, 4)
					enc := e.NewEncoder(bytes.NewReader(body))
					_, err := enc.Write(t.Context(), Sink{Scheme: s, Create: m.create})
					if !errors.Is(err, ErrWriteQuorum) || !errors.Is(err, tc.cause) {
						t.Errorf("Write = %v, want %v and %v", err, ErrWriteQuorum, tc.cause)
					}
					synctest.Wait()
					for i := range s.Total() {
						if m.committed[i] || !m.aborted[i] && !(block < 0 && (i == 1 || i == 4)) {
							t.Errorf("chunk %d: committed %t, aborted %t", i, m.committed[i], m.aborted[i])
						}
					}
					if got, want := enc.Retryable(), block < 1; got != want {
						t.Fatalf("Retryable() = %t, want %t", got, want)
					}
					if !enc.Retryable() {
						return
					}
					healthy, narrow := newMemory(), mustParse(t, "2+2")
					p, err := enc.Write(t.Context(), Sink{Scheme: narrow, Create: healthy.create})
					if err != nil {
						t.Fatalf("second Write: %v", err)
					}
					if _, err := p.Commit(); err != nil {
						t.Fatalf("Commit: %v", err)
					}
					if err := load(t, e, healthy, narrow, body, 0, int64(len(body))); err != nil {
						t.Errorf("load: %v", err)
					}
				})
			})
		}
	}
}

func TestSmallBodyIsRetryableToTheEnd(t *testing.T) {
	e := newEngine(t, Config{})
	s := mustParse(t, "1+2")
	body := randomBytes(testrand.New(t), 5*s.StripeSize())
	enc := e.NewEncoder(bytes.NewReader(body))
	if size, whole, err := enc.Peek(prefixSize); size != len(body) || !whole || err != nil {
		t.Fatalf("Peek = %d, %t, %v; want %d, true, nil", size, whole, err, len(body))
	}
	m := newMemory()
	m.onWrite = faults(4, broken, 0, 2)
	if _, err := enc.Write(t.Context(), Sink{Scheme: s, Create: m.create}); !errors.Is(err, ErrWriteQuorum) {
		t.Fatalf("Write = %v, want %v", err, ErrWriteQuorum)
	}
	if !enc.Retryable() {
		t.Error("a body that is wholly in memory is not retryable")
	}
}

func TestPeek(t *testing.T) {
	e := newEngine(t, Config{})
	tests := []struct {
		body, n, size int
		whole         bool
	}{
		{0, 10, 0, true}, {9, 10, 9, true}, {10, 10, 10, true}, {11, 10, 10, false}, {11, 0, 0, false},
	}
	for _, tc := range tests {
		enc := e.NewEncoder(bytes.NewReader(make([]byte, tc.body)))
		for range 2 {
			if size, whole, err := enc.Peek(tc.n); size != tc.size || whole != tc.whole || err != nil {
				t.Errorf("body of %d: Peek(%d) = %d, %t, %v; want %d, %t", tc.body, tc.n, size, whole, err, tc.size, tc.whole)
			}
		}
	}
	if _, _, err := e.NewEncoder(nil).Peek(prefixSize + 1); err == nil {
		t.Error("Peek beyond the bound succeeded")
	}
}

func TestBrokenBodyIsNeverAWholeOne(t *testing.T) {
	e := newEngine(t, Config{})
	s := mustParse(t, "2+1")
	for _, cause := range []error{errBroken, io.ErrUnexpectedEOF} {
		for _, size := range []int{0, 1, s.StripeSize() - 1, s.StripeSize(), s.StripeSize() + 1, 4 * s.StripeSize()} {
			m := newMemory()
			body := io.MultiReader(bytes.NewReader(make([]byte, size)), iotest.ErrReader(cause))
			_, err := e.NewEncoder(body).Write(t.Context(), Sink{Scheme: s, Create: m.create})
			if !errors.Is(err, cause) {
				t.Errorf("body broken at %d: Write = %v, want %v", size, err, cause)
			}
		}
	}
}

func TestCommitReturnsAtQuorumWhenTheRestIsFrozen(t *testing.T) {
	s := mustParse(t, "4+2")
	for _, tc := range []struct {
		name    string
		fault   func(context.Context) error
		bad     []int
		durable uint32
		err     error
	}{
		{"one frozen", frozen, []int{2}, 0b111011, nil},
		{"one failing", broken, []int{5}, 0b011111, nil},
		{"two frozen", frozen, []int{0, 1}, 0b111100, ErrWriteQuorum},
		{"two failing", broken, []int{0, 1}, 0b111100, ErrWriteQuorum}, // what is durable is known in part
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, Config{})
				m := newMemory()
				m.onCommit = func(ctx context.Context, i int) error {
					return faults(0, tc.fault, tc.bad...)(ctx, i, 0)
				}
				p, err := e.NewEncoder(bytes.NewReader(make([]byte, 100))).Write(t.Context(), Sink{Scheme: s, Create: m.create})
				if err != nil {
					t.Fatal(err)
				}
				durable, err := p.Commit()
				if durable&^tc.durable != 0 || tc.err == nil && durable != tc.durable || !errors.Is(err, tc.err) {
					t.Errorf("Commit = %b, %v; want %b, %v", durable, err, tc.durable, tc.err)
				}
			})
		})
	}
}

func TestContextEndsAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Stall: time.Hour})
		m := newMemory()
		m.onWrite = faults(1, frozen, 0, 1, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := mustParse(t, "1+2")
		_, err := e.NewEncoder(bytes.NewReader(make([]byte, 10*s.StripeSize()))).Write(ctx, Sink{Scheme: s, Create: m.create})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// A store that hangs in the kernel does not hear its context. It must neither
// hold the write nor ever see its shard change.
func TestDeafStoreKeepsItsBufferAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		s := mustParse(t, "4+2")
		rng := testrand.New(t)
		thaw := make(chan struct{})
		var blocked atomic.Bool
		create := func(ctx context.Context, i int) (ShardWriter, error) {
			w, err := newMemory().create(ctx, i)
			if i != 3 {
				return w, err
			}
			return hookWriter{w, func(b []byte) error {
				if blocked.CompareAndSwap(false, true) {
					before := bytes.Clone(b)
					<-thaw
					if !bytes.Equal(b, before) {
						t.Error("the shard of a blocked WriteBlock changed under it")
					}
				}
				return nil
			}}, err
		}
		for range 5 { // later writes take their stripes from the pool
			body := randomBytes(rng, 20*s.StripeSize())
			p, err := e.NewEncoder(bytes.NewReader(body)).Write(t.Context(), Sink{Scheme: s, Create: create})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		close(thaw)
	})
}

type hookWriter struct {
	ShardWriter
	hook func([]byte) error
}

func (w hookWriter) WriteBlock(b []byte) error {
	if err := w.hook(b); err != nil {
		return err
	}
	return w.ShardWriter.WriteBlock(b)
}

func TestMemoryOfAWriteIsAFewStripes(t *testing.T) {
	e := newEngine(t, Config{})
	s := mustParse(t, "4+2")
	m := newMemory()
	w := e.startWrite(t.Context(), Sink{Scheme: s, Create: m.create}, must(e.coder(s)))
	enc := e.NewEncoder(bytes.NewReader(make([]byte, 64*layout.BlockSize*4)))
	if err := enc.fill(s.StripeSize() + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := enc.pump(w); err != nil {
		t.Fatal(err)
	}
	w.endStripes()
	w.fleet.dismiss()
	if w.made > inFlight {
		t.Errorf("64 stripes went through %d buffers, want at most %d", w.made, inFlight)
	}
}

// What queued up while a lane wrote is written at once.
func TestLanesWriteRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		s := mustParse(t, "4+2")
		m := newMemory()
		m.inRuns = true
		m.onWrite = func(_ context.Context, i, block int) error {
			if i == 0 && block == 0 {
				time.Sleep(time.Millisecond) // until all others are done
			}
			return nil
		}
		const stripes = inFlight + 1
		body := randomBytes(testrand.New(t), stripes*s.StripeSize())
		store(t, e, m, s, body)
		// The last stripe waits for the first to come home, and may be in time.
		if got := m.written[0]; !slices.Equal(got, []int{inFlight - 1}) && !slices.Equal(got, []int{inFlight}) {
			t.Errorf("chunk 0 was written in runs of %d behind its first block, want %d or one more", got, inFlight-1)
		}
		r, err := e.Open(t.Context(), Source{Scheme: s, Size: int64(len(body)), Open: m.open}, 0, int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
			t.Errorf("read other bytes, %v", err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
