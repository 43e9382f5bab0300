package erasure

import (
	"bytes"
	"crypto/md5"
	"errors"
	"io"
	"math/bits"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

func TestEverySizeComesBackUnderEveryLoss(t *testing.T) {
	rng := testrand.New(t)
	e := newEngine(t, Config{})
	for _, name := range testSchemes {
		s := mustParse(t, name)
		t.Run(name, func(t *testing.T) {
			for _, size := range boundarySizes(s) {
				body := randomBytes(rng, size)
				m := newMemory()
				if got, want := store(t, e, m, s, body), uint32(1)<<s.Total()-1; got != want {
					t.Fatalf("%s: durable = %b, want %b", describe(name, size), got, want)
				}
				for lost := range uint32(1) << s.Total() {
					// All patterns of the small schemes; of 8+3 those a byte's
					// worth of luck picks.
					if s.Total() > 6 && rng.IntN(64) != 0 || bits.OnesCount32(lost) > int(s.Parity)+1 {
						continue
					}
					m.lose(s, lost)
					err := load(t, e, m, s, body, 0, int64(size))
					// A tiny part may lie in its first data shards alone.
					stripe := min(size, s.StripeSize())
					used := uint32(1)<<((stripe-1)/s.ShardSize(stripe)+1) - 1
					unreadable := bits.OnesCount32(lost) > int(s.Parity) && lost&used != 0
					if unreadable && !errors.Is(err, ErrTooFewShards) || !unreadable && err != nil {
						t.Fatalf("%s, lost %b: error %v", describe(name, size), lost, err)
					}
				}
			}
		})
	}
}

func TestRandomRanges(t *testing.T) {
	rng := testrand.New(t)
	e := newEngine(t, Config{})
	for _, name := range testSchemes {
		s := mustParse(t, name)
		size := 3*s.StripeSize() + rng.IntN(s.StripeSize())
		body := randomBytes(rng, size)
		m := newMemory()
		store(t, e, m, s, body)
		for range 200 {
			var lost uint32
			for range rng.IntN(int(s.Parity) + 1) {
				lost |= 1 << rng.IntN(s.Total())
			}
			m.lose(s, lost)
			offset := rng.Int64N(int64(size))
			length := rng.Int64N(int64(size) - offset + 1)
			if err := load(t, e, m, s, body, offset, length); err != nil {
				t.Fatalf("%s, range %d+%d: %v", describe(name, size), offset, length, err)
			}
		}
	}
}

func TestRangeTouchesOnlyItsBlocks(t *testing.T) {
	rng := testrand.New(t)
	e := newEngine(t, Config{})
	s := mustParse(t, "4+2")
	const b = layout.BlockSize
	body := randomBytes(rng, 5*s.StripeSize()-b-7)
	tests := []struct {
		name           string
		offset, length int64
		want           map[int][]int64
	}{
		{"one byte", 4*b + 2*b + 5, 1, map[int][]int64{2: {1}}},
		{"across two shards", b - 1, 2, map[int][]int64{0: {0}, 1: {0}}},
		{"across two stripes", 4*b - 1, 2, map[int][]int64{3: {0}, 0: {1}}},
		{"ragged ends", 3*b + 1, 6 * b, map[int][]int64{3: {0, 1}, 0: {1, 2}, 1: {1, 2}, 2: {1}}},
		{"nothing", 100, 0, map[int][]int64{}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := newMemory()
			store(t, e, m, s, body)
			if err := load(t, e, m, s, body, tc.offset, tc.length); err != nil {
				t.Fatal(err)
			}
			for i := range s.Total() {
				got, want := m.reads[i], tc.want[i]
				if len(got) != len(want) || len(got) > 0 && (got[0] != want[0] || got[len(got)-1] != want[len(want)-1]) {
					t.Errorf("chunk %d: read blocks %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestRangeOutsideThePartIsRefused(t *testing.T) {
	e := newEngine(t, Config{})
	src := Source{Scheme: mustParse(t, "4+2"), Size: 10}
	for _, r := range [][2]int64{{-1, 1}, {0, 11}, {10, 1}, {11, 0}, {0, -1}, {1 << 62, 1 << 62}} {
		if _, err := e.Open(t.Context(), src, r[0], r[1]); err == nil {
			t.Errorf("Open(%d, %d) of a part of 10 bytes succeeded", r[0], r[1])
		}
	}
}

func TestDigestAndSizeAreThoseOfTheBody(t *testing.T) {
	rng := testrand.New(t)
	e := newEngine(t, Config{})
	s := mustParse(t, "4+2")
	for _, size := range boundarySizes(s) {
		body := randomBytes(rng, size)
		m := newMemory()
		enc := e.NewEncoder(ragged{bytes.NewReader(body)})
		p, err := enc.Write(t.Context(), Sink{Scheme: s, Create: m.create})
		if err != nil {
			t.Fatal(err)
		}
		if p.Size != int64(size) || p.MD5 != md5.Sum(body) {
			t.Errorf("body of %d bytes: size %d, MD5 %x, want %x", size, p.Size, p.MD5, md5.Sum(body))
		}
		p.Abort()
		if _, err := p.Commit(); err == nil {
			t.Error("Commit after Abort succeeded")
		}
	}
}

// ragged yields odd lengths, as a network does.
type ragged struct{ r io.Reader }

func (o ragged) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 777)]) }

func TestReadAndWriteToAgree(t *testing.T) {
	rng := testrand.New(t)
	e := newEngine(t, Config{})
	s := mustParse(t, "3+2")
	body := randomBytes(rng, 4*s.StripeSize()+99)
	m := newMemory()
	store(t, e, m, s, body)
	r, err := e.Open(t.Context(), Source{Scheme: s, Size: int64(len(body)), Open: m.open}, 0, int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head := make([]byte, 100_000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	var tail bytes.Buffer
	if _, err := r.WriteTo(&tail); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(head, tail.Bytes()...), body) {
		t.Error("Read then WriteTo gave other bytes than were written")
	}
	if n, err := r.Read(head); n != 0 || err != io.EOF {
		t.Errorf("Read after the end = %d, %v, want io.EOF", n, err)
	}
}
