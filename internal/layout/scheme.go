package layout

import (
	"fmt"
	"strconv"
	"strings"
)

// BlockSize is the payload of one full block, in bytes: the unit that is
// checksummed on disk and on the wire, and the size of a full shard.
const BlockSize = 64 << 10

// BlockRoom is the room a block takes where several are read at a time, in
// bytes: the block, and what stands between blocks where they come from.
const BlockRoom = BlockSize + 64

// MaxShards bounds Data+Parity of a scheme; a layout's durable mask has 32 bits.
const MaxShards = 32

// Scheme says how many data and parity shards a stripe has. The zero Scheme
// is that of an empty part, which has no stripes and so no chunks.
type Scheme struct {
	Data   uint8 // k, also the read threshold
	Parity uint8 // m
}

// ParseScheme reads "4+2".
func ParseScheme(s string) (Scheme, error) {
	k, m, ok := strings.Cut(s, "+")
	data, err1 := strconv.ParseUint(k, 10, 8)
	parity, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil {
		return Scheme{}, fmt.Errorf("scheme %q: want DATA+PARITY, such as 4+2", s)
	}
	sc := Scheme{Data: uint8(data), Parity: uint8(parity)}
	return sc, sc.Validate()
}

// Validate reports a scheme no part may be written with: without data, without
// margin, or with more than MaxShards shards.
func (s Scheme) Validate() error {
	if s.Data < 1 || s.Parity < 1 || int(s.Data)+int(s.Parity) > MaxShards {
		return fmt.Errorf("scheme %s: want at least 1+1 and at most %d shards", s, MaxShards)
	}
	return nil
}

func (s Scheme) String() string { return fmt.Sprintf("%d+%d", s.Data, s.Parity) }

// Total is the number of shards of a stripe, k+m.
func (s Scheme) Total() int { return int(s.Data) + int(s.Parity) }

// WriteQuorum is how many chunks must be durable before a part is committed:
// k + max(1, m-1), so that an acknowledged part always survives the loss of one
// more store.
func (s Scheme) WriteQuorum() int {
	if s.Data == 0 {
		return 0
	}
	return int(s.Data) + max(1, int(s.Parity)-1)
}

// StripeSize is the payload of a full stripe, in bytes.
func (s Scheme) StripeSize() int { return int(s.Data) * BlockSize }

// ShardSize is the length of each shard of a stripe that carries n payload
// bytes, 0 <= n <= StripeSize. Shards of a short stripe are padded with zeros.
func (s Scheme) ShardSize(n int) int {
	if s.Data == 0 {
		return 0
	}
	return (n + int(s.Data) - 1) / int(s.Data)
}

// ChunkSize is the payload of each chunk of a part of size bytes.
func (s Scheme) ChunkSize(size int64) int64 {
	if s.Data == 0 {
		return 0
	}
	stripe := int64(s.StripeSize())
	return size/stripe*BlockSize + int64(s.ShardSize(int(size%stripe)))
}

// Stripes is how many stripes a part of size bytes has.
func (s Scheme) Stripes(size int64) int64 {
	if s.Data == 0 {
		return 0
	}
	stripe := int64(s.StripeSize())
	return (size + stripe - 1) / stripe
}

// MarshalText implements encoding.TextMarshaler.
func (s Scheme) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Scheme) UnmarshalText(b []byte) (err error) {
	if string(b) == "0+0" {
		*s = Scheme{}
		return nil
	}
	*s, err = ParseScheme(string(b))
	return err
}
