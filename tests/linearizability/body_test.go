package linearizability

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"partstore/internal/history"
)

// Bodies say what they are, so that a reader of an object can tell which parts
// it is made of, and that each of their bytes is right:
//
//	0  4  magic "PSLB"
//	4  4  size of the body, little-endian
//	8  8  token, unique to the body; the rest follows from it
const (
	bodyMagic  = "PSLB"
	bodyHeader = 16
)

func newBody(token uint64, size int) []byte {
	b := make([]byte, size)
	copy(b, bodyMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(size))
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], token)
	_, _ = rand.NewChaCha8(seed).Read(b[bodyHeader:]) // never fails
	binary.LittleEndian.PutUint64(b[8:], token)
	return b
}

func partOf(number int, body []byte) history.Part {
	sum := md5.Sum(body)
	return history.Part{Number: number, Size: int64(len(body)), ETag: hex.EncodeToString(sum[:])}
}

// errDamaged reports bytes that no client ever sent.
var errDamaged = errors.New("bytes that were never sent")

// splitBodies returns the parts that an object consists of.
func splitBodies(b []byte) (parts []history.Part, err error) {
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < bodyHeader || string(rest[:4]) != bodyMagic {
			return nil, fmt.Errorf("at %d of %d: %w", at, len(b), errDamaged)
		}
		size := int(binary.LittleEndian.Uint32(rest[4:]))
		if size < bodyHeader || size > len(rest) {
			return nil, fmt.Errorf("part of %d bytes at %d of %d: %w", size, at, len(b), errDamaged)
		}
		got := partOf(0, rest[:size])
		if want := partOf(0, newBody(binary.LittleEndian.Uint64(rest[8:]), size)); got != want {
			return nil, fmt.Errorf("part of %d bytes at %d of %d: %w", size, at, len(b), errDamaged)
		}
		parts = append(parts, got)
		at += size
	}
	return parts, nil
}

func TestBodiesTellWhatTheyAre(t *testing.T) {
	a, b := newBody(1, 100), newBody(2, bodyHeader)
	whole := append(append([]byte{}, a...), b...)
	parts, err := splitBodies(whole)
	if err != nil || len(parts) != 2 || parts[0] != partOf(0, a) || parts[1] != partOf(0, b) {
		t.Errorf("split into %v: %v", parts, err)
	}
	for i := range whole {
		whole[i] ^= 1
		if _, err := splitBodies(whole); !errors.Is(err, errDamaged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		whole[i] ^= 1
	}
}
