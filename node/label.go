package node

import (
	"encoding/binary"
	"errors"
	"fmt"

	"partstore/internal/layout"
	"partstore/metadata"
)

// label is kept with every chunk: together with the chunk's own ID, size and
// payload it is enough to rebuild the part record if the registry is lost.
type label struct {
	ref    metadata.UploadRef
	number layout.PartNumber
	scheme layout.Scheme
	group  layout.GroupID
	slots  []uint8
	salt   metadata.Salt // of a sealed payload, else zero
}

// A label of version 1 has no salt.
const (
	labelVersion       = 1
	labelVersionSealed = 2
)

var errLabel = errors.New("malformed chunk label")

// encode writes the label, little-endian:
//
//	offset  size  field
//	0       1     version: 2 with a salt, 1 without
//	1       16    upload ID
//	17      2     part number
//	19      2     data, parity
//	21      4     group
//	25      k+m   slots
//	..      32    salt, in version 2
//	..      1+n   bucket, after its length
//	..      rest  key
func (l label) encode() []byte {
	b := append(make([]byte, 0, 128+len(l.ref.Key)), labelVersion)
	b = append(b, l.ref.ID[:]...)
	b = binary.LittleEndian.AppendUint16(b, uint16(l.number))
	b = append(b, l.scheme.Data, l.scheme.Parity)
	b = binary.LittleEndian.AppendUint32(b, uint32(l.group))
	b = append(b, l.slots...)
	if l.salt != (metadata.Salt{}) {
		b[0] = labelVersionSealed
		b = append(b, l.salt[:]...)
	}
	b = append(append(b, byte(len(l.ref.Bucket))), l.ref.Bucket...)
	return append(b, l.ref.Key...)
}

// decodeLabel reads what encode wrote.
func decodeLabel(b []byte) (l label, err error) {
	const fixed = 25
	if len(b) < fixed || b[0] != labelVersion && b[0] != labelVersionSealed {
		return label{}, fmt.Errorf("%w: %d bytes", errLabel, len(b))
	}
	copy(l.ref.ID[:], b[1:17])
	l.number = layout.PartNumber(binary.LittleEndian.Uint16(b[17:]))
	l.scheme = layout.Scheme{Data: b[19], Parity: b[20]}
	l.group = layout.GroupID(binary.LittleEndian.Uint32(b[21:]))
	rest, total := b[fixed:], l.scheme.Total()
	salted := total
	if b[0] == labelVersionSealed {
		salted += len(l.salt)
	}
	if len(rest) < salted+1 || len(rest) < salted+1+int(rest[salted]) {
		return label{}, fmt.Errorf("%w: cut short", errLabel)
	}
	l.slots = append([]uint8(nil), rest[:total]...)
	copy(l.salt[:], rest[total:salted])
	if b[0] == labelVersionSealed && l.salt == (metadata.Salt{}) {
		return label{}, fmt.Errorf("%w: no salt", errLabel)
	}
	bucket := rest[salted+1:][:rest[salted]]
	l.ref.Bucket, l.ref.Key = string(bucket), string(rest[salted+1+len(bucket):])
	return l, nil
}

// relabel returns a label of the same part in another layout.
func relabel(b []byte, to layout.Layout) ([]byte, error) {
	l, err := decodeLabel(b)
	l.scheme, l.group, l.slots = to.Scheme, to.Group, to.Slots
	return l.encode(), err
}
