package node

import (
	"bytes"
	"reflect"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/metadata"
)

var sampleLabel = label{
	ref:    metadata.UploadRef{Bucket: "bucket", Key: "a/\x00/ключ", ID: layout.NewUploadID()},
	number: 10000,
	scheme: layout.Scheme{Data: 4, Parity: 2},
	group:  31,
	slots:  []uint8{3, 4, 5, 0, 1, 2},
}

func TestLabelRoundTrip(t *testing.T) {
	got, err := decodeLabel(sampleLabel.encode())
	if err != nil || !reflect.DeepEqual(got, sampleLabel) {
		t.Errorf("decodeLabel = %+v, %v; want %+v", got, err, sampleLabel)
	}
}

func TestLabelOfASealedPart(t *testing.T) {
	l := sampleLabel
	l.salt = metadata.Salt{1, 31: 2}
	got, err := decodeLabel(l.encode())
	if err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("decodeLabel = %+v, %v; want %+v", got, err, l)
	}
}

// A part in another layout keeps what its label says of everything else.
func TestRelabelChangesTheLayoutAlone(t *testing.T) {
	want := sampleLabel
	want.salt = metadata.Salt{3}
	narrow := want
	narrow.scheme, narrow.group, narrow.slots = layout.Scheme{Data: 1, Parity: 1}, 7, []uint8{5, 2}
	b, err := relabel(narrow.encode(), layout.Layout{Scheme: want.scheme, Group: want.group, Slots: want.slots})
	if err != nil || !bytes.Equal(b, want.encode()) {
		t.Errorf("relabel = %x, %v; want %x", b, err, want.encode())
	}
	if _, err := relabel([]byte("no label"), layout.Layout{}); err == nil {
		t.Error("what is no label is relabelled")
	}
}

func TestLongestLabelFits(t *testing.T) {
	l := sampleLabel
	l.salt = metadata.Salt{1}
	l.ref.Bucket, l.ref.Key = string(make([]byte, 63)), string(make([]byte, 1023))
	l.slots = make([]uint8, layout.MaxShards)
	if n := len(l.encode()); n > chunkstore.MaxLabelSize {
		t.Errorf("label of %d bytes, a chunk takes %d", n, chunkstore.MaxLabelSize)
	}
}

func FuzzDecodeLabel(f *testing.F) {
	f.Add(sampleLabel.encode())
	f.Add([]byte{labelVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLabel(b); err == nil && !bytes.Equal(l.encode(), b) {
			t.Errorf("decodeLabel accepts %x, which encodes as %x", b, l.encode())
		}
	})
}
