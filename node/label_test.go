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
