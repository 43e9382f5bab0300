package metadata

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
)

func sampleVote() vote {
	return vote{
		owner:    owner{layout.ClusterID{1, 2, 3}, server{testNodeID(4), 5}},
		sequence: 6, term: 7, votedTerm: 6, candidate: testNodeID(9).String(),
	}
}

// Property: the bytes of what Raft relies on do not change by accident.
func TestGoldenFilesOfRaft(t *testing.T) {
	entry := &raft.Log{Index: 300, Term: 7, Type: raft.LogConfiguration, Data: []byte("configuration")}
	seal(entry, 0x01020304)
	for name, got := range map[string][]byte{
		"envelope.golden": entry.Extensions,
		"vote.golden":     sealSector(sampleVote().encode()),
		"witness.golden":  sealSector(sighting{last: 300, term: 7, sum: 0x01020304, removed: 40, vote: 6}.encode()),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
}

func FuzzVote(f *testing.F) {
	f.Add(sampleVote().encode())
	f.Add(sealSector(vote{}.encode())[:sectorPayload])
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeVote(b)
		if err != nil {
			return
		}
		if again := v.encode(); !bytes.HasPrefix(b, again) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}

func FuzzWitness(f *testing.F) {
	f.Add(sighting{last: 3, term: 2, sum: 9, removed: 1, vote: 4}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSighting(b)
		if err != nil {
			return
		}
		if again := s.encode(); !bytes.HasPrefix(b, again) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	l := &raft.Log{Index: 1, Term: 2, Data: []byte("x")}
	seal(l, 3)
	f.Add(l.Extensions, l.Data, l.Index, l.Term, uint8(l.Type))
	f.Fuzz(func(t *testing.T, ext, data []byte, index, term uint64, kind uint8) {
		l := &raft.Log{Index: index, Term: term, Type: raft.LogType(kind), Data: data, Extensions: ext}
		e, err := unseal(l)
		if err != nil {
			return
		}
		if seal(l, e.before); !bytes.Equal(l.Extensions, ext) {
			t.Fatalf("%x is sealed as %x", ext, l.Extensions)
		}
	})
}

// Property: whatever the pages of a log file hold, the look at them ends, and
// neither panics nor reads outside them. The fuzzer writes one page of a sound
// file of four.
func FuzzBoltPage(f *testing.F) {
	f.Add(uint8(3), []byte{3, 0, 0, 0, 0, 0, 0, 0, boltLeaf, 0, 1, 0})
	f.Add(uint8(2), []byte{2, 0, 0, 0, 0, 0, 0, 0, boltBranch, 0, 1, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, number uint8, b []byte) {
		pages := make([]byte, 4*logPageSize)
		for n := range uint64(2) {
			meta := pages[n*logPageSize+boltHeader:]
			order := binary.NativeEndian
			order.PutUint32(meta, boltMagic)
			order.PutUint32(meta[4:], boltVersion)
			order.PutUint32(meta[8:], logPageSize)
			order.PutUint64(meta[16:], 2)
			order.PutUint64(meta[40:], 4)
			order.PutUint64(meta[48:], n)
			order.PutUint64(meta[boltMetaSize-8:], fnvOf(meta[:boltMetaSize-8]))
		}
		copy(pages[int(number%4)*logPageSize:][:logPageSize], b)
		file := &boltFile{bytes.NewReader(pages)}
		m, err := file.meta()
		if err != nil {
			return
		}
		_ = file.checkTree(m)
		_ = file.checkPath(m, logsBucket, indexKey(uint64(crc32.ChecksumIEEE(b))))
	})
}
