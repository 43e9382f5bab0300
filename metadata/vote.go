package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

// The file "vote" holds what this generation of the node must never forget: its
// term and its vote. It is a sector, so a full disk does not keep a node from
// voting:
//
//	offset  size  field
//	0       4     magic "PSRV"
//	4       1     version, 1
//	5       16    cluster
//	21      16    node
//	37      4     generation
//	41      8     sequence number of this writing
//	49      8     current term
//	57      8     term of the last vote
//	65      1     size of the candidate's server ID
//	66      ...   the candidate's server ID, then zeros
//
// Numbers are little-endian. A missing or damaged file is ErrDamaged, never
// taken for a term of 0: a node that forgot its vote could vote twice.
type vote struct {
	owner     owner
	sequence  uint64
	term      uint64
	votedTerm uint64
	candidate string
}

// owner is whose files a registry directory holds.
type owner struct {
	cluster layout.ClusterID
	server  server
}

const (
	voteMagic     = "PSRV"
	voteVersion   = 1
	candidateAt   = 66
	candidateSize = 128 // at most
)

func (v vote) encode() []byte {
	b := append([]byte(voteMagic), voteVersion)
	b = append(b, v.owner.cluster[:]...)
	b = append(b, v.owner.server.node[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(v.owner.server.generation))
	for _, n := range []uint64{v.sequence, v.term, v.votedTerm} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return append(append(b, byte(len(v.candidate))), v.candidate...)
}

func decodeVote(b []byte) (v vote, err error) {
	if err := checkSectorKind(b, voteMagic, voteVersion); err != nil {
		return v, err
	}
	if len(b) < candidateAt || int(b[candidateAt-1]) > min(candidateSize, len(b)-candidateAt) {
		return v, fmt.Errorf("%w: vote of %d bytes", errMalformed, len(b))
	}
	copy(v.owner.cluster[:], b[5:])
	copy(v.owner.server.node[:], b[21:])
	v.owner.server.generation = Generation(binary.LittleEndian.Uint32(b[37:]))
	v.sequence = binary.LittleEndian.Uint64(b[41:])
	v.term = binary.LittleEndian.Uint64(b[49:])
	v.votedTerm = binary.LittleEndian.Uint64(b[57:])
	v.candidate = string(b[candidateAt:][:b[candidateAt-1]])
	return v, nil
}

func checkSectorKind(b []byte, magic string, version byte) error {
	switch {
	case len(b) < 5 || string(b[:4]) != magic:
		return fmt.Errorf("%w: magic %q, want %q", errMalformed, b[:min(4, len(b))], magic)
	case b[4] != version:
		return fmt.Errorf("%s version %d; this binary reads %d", magic, b[4], version)
	}
	return nil
}

// voteStore is Raft's stable store. Each change is on stable storage, in the
// vote's own file, before it returns; then the witness hears of it.
type voteStore struct {
	file    *sectorFile
	witness *witness
	fail    func(error)

	stays  turn // taken while the term changes, or must not
	turn   turn // one change at a time
	mu     sync.Mutex
	vote   vote  // guarded by mu; changed in turn only
	broken error // in turn only
}

var _ raft.StableStore = (*voteStore)(nil)

// The keys Raft uses. It has no others; one it does not know must not be
// forgotten silently.
const (
	keyTerm      = "CurrentTerm"
	keyVotedTerm = "LastVoteTerm"
	keyCandidate = "LastVoteCand"
)

// openVote reads the vote and compares it with what the witness saw.
func openVote(file *sectorFile, w *witness, fail func(error)) (*voteStore, error) {
	b, err := file.read()
	if err != nil {
		return nil, err
	}
	v, err := decodeVote(b)
	switch seen := w.saw(); {
	case errors.Is(err, errMalformed):
		return nil, damaged("vote", err)
	case err != nil:
		return nil, err
	case v.sequence < seen.vote:
		return nil, damagef("vote", "writing %d is there; there were %d", v.sequence, seen.vote)
	case v.votedTerm > v.term:
		return nil, damagef("vote", "voted in term %d, in term %d", v.votedTerm, v.term)
	}
	return &voteStore{file: file, witness: w, fail: fail, stays: newTurn(), turn: newTurn(), vote: v}, nil
}

// Set implements raft.StableStore.
func (s *voteStore) Set(key, value []byte) error {
	if string(key) != keyCandidate || len(value) > candidateSize {
		return fmt.Errorf("%w: stable record %q of %d bytes", ErrInvalid, key, len(value))
	}
	return s.change(func(v *vote) { v.candidate = string(value) })
}

// SetUint64 implements raft.StableStore. Raft ends the process if its term
// cannot be saved; then only Raft ends, and this node's registry with it.
func (s *voteStore) SetUint64(key []byte, value uint64) (err error) {
	switch string(key) {
	case keyTerm:
		if value == s.now().term {
			return nil // it stays, and inTerm may see to that
		}
		s.stays.take()
		err = s.change(func(v *vote) { v.term = value })
		s.stays.giveUp()
		if err != nil {
			runtime.Goexit() // Raft's goroutine, which runs its deferred calls: Shutdown still ends
		}
	case keyVotedTerm:
		err = s.change(func(v *vote) { v.votedTerm = value })
	default:
		err = fmt.Errorf("%w: stable record %q", ErrInvalid, key)
	}
	return err
}

// inTerm does what the stored term allows, if that is term; meanwhile it stays.
func (s *voteStore) inTerm(term uint64, do func()) bool {
	s.stays.take()
	defer s.stays.giveUp()
	if s.now().term != term {
		return false
	}
	do()
	return true
}

func (s *voteStore) change(change func(*vote)) error {
	s.turn.take()
	defer s.turn.giveUp()
	if s.broken != nil {
		return s.broken
	}
	next := s.now()
	next.sequence++
	change(&next)
	err := s.file.write(next.encode(), true)
	if err == nil {
		s.mu.Lock()
		s.vote = next
		s.mu.Unlock()
		err = s.witness.voted(next.sequence)
	}
	if err != nil {
		// What is on disk now is not known, and the next node to ask must not
		// be told something else.
		s.broken = err
		s.fail(err)
	}
	return err
}

// now is the vote as it is on disk.
func (s *voteStore) now() vote {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vote
}

// Get implements raft.StableStore.
func (s *voteStore) Get(key []byte) ([]byte, error) {
	if string(key) != keyCandidate {
		return nil, fmt.Errorf("%w: stable record %q", ErrInvalid, key)
	}
	if candidate := s.now().candidate; candidate != "" {
		return []byte(candidate), nil
	}
	return nil, nil
}

// GetUint64 implements raft.StableStore.
func (s *voteStore) GetUint64(key []byte) (uint64, error) {
	switch now := s.now(); string(key) {
	case keyTerm:
		return now.term, nil
	case keyVotedTerm:
		return now.votedTerm, nil
	}
	return 0, fmt.Errorf("%w: stable record %q", ErrInvalid, key)
}
