package metadata

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// Every log entry, of whatever type, carries an envelope of ours in
// raft.Log.Extensions, on disk and between nodes:
//
//	offset  size  field
//	0       1     envelope version, 1
//	1       4     sum of the entry before; 0: not known
//	5       4     sum of this entry
//
// The sum is the CRC-32C of bytes 0-4, index, term (8 bytes each), type (1 byte)
// and data, with 0 replaced by 1; all little-endian. It is made once, by the
// leader that makes the entry, so equal entries have equal sums on all nodes,
// and a sum stands for the whole log up to its entry. The sum before is not
// known only where a leader's log begins behind a snapshot.
type envelope struct{ before, sum uint32 }

const (
	envelopeVersion = 1
	envelopeSize    = 9
)

// seal puts an entry into its envelope.
func seal(l *raft.Log, before uint32) envelope {
	head := binary.LittleEndian.AppendUint32([]byte{envelopeVersion}, before)
	e := envelope{before: before, sum: sumEntry(head, l)}
	l.Extensions = binary.LittleEndian.AppendUint32(head, e.sum)
	return e
}

// unseal checks an entry against its envelope.
func unseal(l *raft.Log) (envelope, error) {
	b := l.Extensions
	if len(b) != envelopeSize {
		return envelope{}, fmt.Errorf("%w: envelope of %d bytes", errMalformed, len(b))
	}
	e := envelope{before: binary.LittleEndian.Uint32(b[1:]), sum: binary.LittleEndian.Uint32(b[5:])}
	if sumEntry(b[:5], l) != e.sum {
		return envelope{}, fmt.Errorf("%w: checksum of term %d, type %d, %d bytes", errMalformed, l.Term, l.Type, len(l.Data))
	}
	if b[0] != envelopeVersion {
		return envelope{}, fmt.Errorf("envelope version %d; this binary reads %d", b[0], envelopeVersion)
	}
	return e, nil
}

func sumEntry(head []byte, l *raft.Log) uint32 {
	b := make([]byte, 0, 32)
	b = append(b, head...)
	b = binary.LittleEndian.AppendUint64(b, l.Index)
	b = binary.LittleEndian.AppendUint64(b, l.Term)
	b = append(b, byte(l.Type))
	return max(1, crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, l.Data))
}

// follows reports whether an entry in envelope e may come right after one with
// the given sum.
func (e envelope) follows(sum uint32) bool { return sum == 0 || e.before == 0 || e.before == sum }
