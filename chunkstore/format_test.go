package chunkstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"partstore/internal/layout"
)

var fuzzID = layout.ChunkID{Attempt: layout.NewAttemptID(1, 2, 3), Index: 4}

const fuzzSalt = 0x1122334455667788

// isStoreError reports whether a decoder's error is one a Store may return.
func isStoreError(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnavailable)
}

func FuzzHeader(f *testing.F) {
	for _, h := range []header{
		{id: fuzzID, labelSize: 5, size: 100, sequence: 7},
		{id: fuzzID, size: 3*pieceBlocks*layout.BlockSize + 1, pieces: 3, sequence: math.MaxUint64},
		{},
	} {
		b := make([]byte, headerSize)
		h.encode(b, fuzzSalt, 9)
		f.Add(b, uint32(9)+h.units()-1)
	}
	f.Add([]byte(headerMagic), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, last uint32) {
		h, first, err := parseHeader(b, fuzzSalt, last)
		if err != nil {
			if !isStoreError(err) {
				t.Errorf("parseHeader = %v, which is no error of a Store", err)
			}
			return
		}
		if h.units() == 0 || h.units() > maxRecordUnits || first+h.units() != last+1 {
			t.Errorf("header of %d units from %d to %d", h.units(), first, last)
		}
		again := make([]byte, headerSize)
		if h.encode(again, fuzzSalt, first); !bytes.Equal(b, again) {
			t.Errorf("accepted bytes that are not written: %x", b)
		}
	})
}

func FuzzTail(f *testing.F) {
	seal := NewSeal(fuzzID)
	f.Add(appendTail(nil, seal, nil, []byte("label")), uint16(5), uint16(0))
	f.Add(appendTail(nil, seal, []place{{1, 2}, {3, 4}}, nil), uint16(0), uint16(2))
	f.Fuzz(func(t *testing.T, b []byte, labelSize, pieces uint16) {
		h := header{id: fuzzID, labelSize: int(labelSize), pieces: int(pieces), size: int64(pieces)*pieceBlocks*layout.BlockSize + 1}
		if !h.valid() || int64(len(b)) != h.tail() {
			return // the caller reads what the header says
		}
		table, label, err := h.parseTail(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("parseTail = %v, want %v", err, ErrCorrupt)
			}
			return
		}
		again := appendTail(nil, seal, table, label)
		if size := len(b) - headerSize; !bytes.Equal(b[:size], again[:size]) {
			t.Errorf("accepted bytes that are not written: %x", b)
		}
	})
}

func FuzzSegmentHeader(f *testing.F) {
	f.Add(segmentHeader{number: 7, salt: fuzzSalt, store: layout.StoreID{1}}.encode())
	f.Add([]byte(segmentMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseSegmentHeader(b)
		if err != nil {
			if !isStoreError(err) {
				t.Errorf("parseSegmentHeader = %v, which is no error of a Store", err)
			}
			return
		}
		if !bytes.Equal(b, h.encode()) {
			t.Errorf("accepted bytes that are not written: %x", b)
		}
	})
}

// FuzzFooter decodes whole footers as the store does: first the end, which
// says how much there is. The checksums are made right, so that the checks
// behind them are reached.
func FuzzFooter(f *testing.F) {
	s := segmentHeader{number: 3, salt: fuzzSalt}
	some := []foundChunk{
		{entry: entry{header{id: fuzzID, labelSize: 9, size: 5, sequence: 1}, place{3, 1}}},
		{entry: entry{header{id: fuzzID, size: pieceBlocks*layout.BlockSize + 1, pieces: 1, sequence: 2}, place{3, 2}}, table: []place{{1, 2}}},
	}
	f.Add(encodeFooter(some, s, 100), false)
	f.Add(encodeFooter(some, s, 100), true)
	f.Add(encodeFooter(nil, s, 1), true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if len(b) < unitSize || len(b)%unitSize != 0 {
			return
		}
		endBytes := bytes.Clone(b[len(b)-headerSize:])
		unit := binary.LittleEndian.Uint32(endBytes[16:])
		if mend {
			if body := int(binary.LittleEndian.Uint32(endBytes[12:])); body <= len(b) {
				binary.LittleEndian.PutUint32(endBytes[20:], checksum(b[:body]))
			}
			binary.LittleEndian.PutUint32(endBytes[60:], placedSum(endBytes[:60], s.salt, unit))
		}
		end, err := parseFooterEnd(endBytes, s, unit+uint32(len(b)/unitSize))
		var found []foundChunk
		if err == nil {
			found, err = parseFooterBody(b[:end.body], end, s.number)
		}
		if err != nil {
			if !isStoreError(err) {
				t.Errorf("parse footer = %v, which is no error of a Store", err)
			}
			return
		}
		if len(found) > len(b)/footerItemSize {
			t.Errorf("%d chunks in %d bytes", len(found), len(b))
		}
		for _, c := range found {
			if !c.valid() || uint64(c.at.unit)+uint64(c.units()) > uint64(unit) || len(c.table) != c.pieces {
				t.Errorf("accepted %+v", c)
			}
		}
	})
}

func FuzzTombstone(f *testing.F) {
	f.Add(tombstone{fuzzID, 5, 77}.append(nil))
	f.Add([]byte(tombstoneMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		grave, err := parseTombstone(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("parseTombstone = %v, want %v", err, ErrCorrupt)
			}
			return
		}
		if !bytes.Equal(b, grave.append(nil)) {
			t.Errorf("accepted bytes that are not written: %x", b)
		}
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add(identity{store: layout.StoreID{1}, cluster: layout.ClusterID{2}}.encode())
	f.Add([]byte(identityMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := parseIdentity(b)
		if err != nil {
			if !errors.Is(err, ErrBadStore) {
				t.Errorf("parseIdentity = %v, want %v", err, ErrBadStore)
			}
			return
		}
		if !bytes.Equal(b, id.encode()) {
			t.Errorf("accepted bytes that are not written: %x", b)
		}
	})
}

func FuzzFrame(f *testing.F) {
	seal := NewSeal(fuzzID)
	f.Add(int64(0), seal.AppendFrame(nil, 0, []byte("payload")))
	f.Add(int64(7), seal.AppendFrame(nil, 7, make([]byte, 300)))
	f.Add(int64(0), []byte{})
	f.Fuzz(func(t *testing.T, n int64, b []byte) {
		payload, err := seal.Payload(n, b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("Payload = %v, want %v", err, ErrCorrupt)
			}
			return
		}
		if again := seal.AppendFrame(nil, n, payload); !bytes.Equal(b, again) {
			t.Errorf("accepted bytes that are not written: %x", b)
		}
	})
}

func TestSealTellsEverythingApart(t *testing.T) {
	payload := []byte("payload")
	other := fuzzID
	other.Index++
	frame := NewSeal(fuzzID).AppendFrame(nil, 1, payload)
	if _, err := NewSeal(fuzzID).Payload(1, frame); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another chunk": second(NewSeal(other).Payload(1, frame)),
		"another block": second(NewSeal(fuzzID).Payload(2, frame)),
		"a label":       second(NewSeal(fuzzID).Payload(LabelNumber, frame)),
		"no payload":    second(NewSeal(fuzzID).Payload(1, frame[len(payload):])),
	} {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("frame taken for that of %s = %v", name, err)
		}
	}
}

func second(_ []byte, err error) error { return err }
