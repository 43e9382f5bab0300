package layout

import (
	"strings"
	"testing"

	"partstore/internal/testrand"
)

func TestAttemptIDKeepsItsFields(t *testing.T) {
	rnd := testrand.New(t)
	for range 1000 {
		inc, began := Incarnation(rnd.Uint32()), RegistryTime(rnd.Uint64N(1<<48))
		id := NewAttemptID(inc, began, rnd.Uint64())
		if id.Incarnation() != inc || id.Began() != began {
			t.Fatalf("NewAttemptID(%d, %d) gives back %d, %d", inc, began, id.Incarnation(), id.Began())
		}
	}
}

func TestChunkSizeIsTheSumOfShards(t *testing.T) {
	for _, s := range []Scheme{{1, 1}, {1, 2}, {3, 2}, {4, 2}, {8, 3}} {
		for _, size := range []int64{1, 2, 3, BlockSize - 1, BlockSize, BlockSize + 1, 4*BlockSize - 1, 4 * BlockSize, 4*BlockSize + 1, 5 << 20} {
			var want int64
			for left := size; left > 0; left -= int64(s.StripeSize()) {
				want += int64(s.ShardSize(int(min(left, int64(s.StripeSize())))))
			}
			if got := s.ChunkSize(size); got != want {
				t.Errorf("%s.ChunkSize(%d) = %d, want %d", s, size, got, want)
			}
		}
	}
}

func TestWriteQuorumLeavesAMargin(t *testing.T) {
	for s, want := range map[Scheme]int{{4, 2}: 5, {4, 1}: 5, {8, 3}: 10, {1, 1}: 2, {1, 2}: 2, {}: 0} {
		if got := s.WriteQuorum(); got != want {
			t.Errorf("%s.WriteQuorum() = %d, want %d", s, got, want)
		}
	}
}

func TestLayoutValidateRefusesNonsense(t *testing.T) {
	good := Layout{Scheme: Scheme{4, 2}, Size: 10, Slots: []uint8{5, 4, 3, 2, 1, 0}, Durable: 0b011111}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := (Layout{Attempt: NewAttemptID(1, 1, 1)}).Validate(); err != nil {
		t.Errorf("layout of an empty part: %v", err)
	}
	bad := map[string]func(*Layout){
		"below the write quorum": func(l *Layout) { l.Durable = 0b001111 },
		"durable beyond scheme":  func(l *Layout) { l.Durable = 0b1011111 },
		"slot twice":             func(l *Layout) { l.Slots = []uint8{5, 4, 3, 2, 1, 1} },
		"slot missing":           func(l *Layout) { l.Slots = l.Slots[:5] },
		"no parity":              func(l *Layout) { l.Scheme.Parity = 0 },
		"size zero":              func(l *Layout) { l.Size = 0 },
	}
	for name, breakIt := range bad {
		l := good
		breakIt(&l)
		if l.Validate() == nil {
			t.Errorf("layout with %s passes: %+v", name, l)
		}
	}
}

func FuzzParseIDs(f *testing.F) {
	f.Add(NewUploadID().String())
	f.Add(ChunkID{Attempt: NewAttemptID(1, 2, 3), Index: 5}.String())
	f.Add("4+2")
	f.Add(strings.Repeat("A", 32))
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseUploadID(s); err == nil && id.String() != s {
			t.Errorf("ParseUploadID(%q) prints %q", s, id)
		}
		if id, err := ParseChunkID(s); err == nil && id.String() != s {
			t.Errorf("ParseChunkID(%q) prints %q", s, id)
		}
		if sc, err := ParseScheme(s); err == nil && sc.Validate() != nil {
			t.Errorf("ParseScheme(%q) accepts an invalid scheme", s)
		}
	})
}
