package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// The file "witness" is a sector that says what log and vote must at least
// have. A log file that fell back to an older page is sound in itself; only
// somebody else's memory shows that it lost what was acknowledged.
//
//	offset  size  field
//	0       4     magic "PSRW"
//	4       1     version, 1
//	5       8     index of the log's last entry; 0: none
//	13      8     its term
//	21      4     its sum
//	25      8     highest index ever removed from the log's front: a snapshot must reach it
//	33      8     sequence number of the vote
//
// Numbers are little-endian. It is written after each append is durable, and
// not synced, so it is never ahead of the log, whatever a power loss takes of
// it; and it is synced before anything is removed from the log, so it is never
// ahead of that either.
type witness struct {
	file *sectorFile

	turn turn // one writing at a time
	mu   sync.Mutex
	seen sighting // guarded by mu; changed in turn only
}

// sighting is what a witness saw.
type sighting struct {
	last    uint64
	term    uint64
	sum     uint32
	removed uint64
	vote    uint64
}

const (
	witnessMagic   = "PSRW"
	witnessVersion = 1
	witnessSize    = 41
)

func (s sighting) encode() []byte {
	b := append(make([]byte, 0, witnessSize), witnessMagic...)
	b = append(b, witnessVersion)
	b = binary.LittleEndian.AppendUint64(b, s.last)
	b = binary.LittleEndian.AppendUint64(b, s.term)
	b = binary.LittleEndian.AppendUint32(b, s.sum)
	b = binary.LittleEndian.AppendUint64(b, s.removed)
	return binary.LittleEndian.AppendUint64(b, s.vote)
}

func decodeSighting(b []byte) (s sighting, err error) {
	if err := checkSectorKind(b, witnessMagic, witnessVersion); err != nil {
		return s, err
	}
	if len(b) < witnessSize {
		return s, fmt.Errorf("%w: witness of %d bytes", errMalformed, len(b))
	}
	s.last = binary.LittleEndian.Uint64(b[5:])
	s.term = binary.LittleEndian.Uint64(b[13:])
	s.sum = binary.LittleEndian.Uint32(b[21:])
	s.removed = binary.LittleEndian.Uint64(b[25:])
	s.vote = binary.LittleEndian.Uint64(b[33:])
	return s, nil
}

func openWitness(file *sectorFile) (*witness, error) {
	b, err := file.read()
	if err != nil {
		return nil, err
	}
	w := &witness{file: file, turn: newTurn()}
	w.seen, err = decodeSighting(b)
	if errors.Is(err, errMalformed) {
		err = damaged("witness", err)
	}
	return w, err
}

// change writes down what the witness sees from now on.
func (w *witness) change(sync bool, change func(*sighting)) error {
	w.turn.take()
	defer w.turn.giveUp()
	next := w.saw()
	change(&next)
	if err := w.file.write(next.encode(), sync); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = next
	return nil
}

// appended notes the last entry of the log, which is durable.
func (w *witness) appended(last, term uint64, sum uint32) error {
	return w.change(false, func(s *sighting) { s.last, s.term, s.sum = last, term, sum })
}

// voted notes the number of the vote, which is durable.
func (w *witness) voted(sequence uint64) error {
	return w.change(false, func(s *sighting) { s.vote = sequence })
}

// saw returns what the log must at least have.
func (w *witness) saw() sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}
