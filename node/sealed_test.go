package node

import (
	"bytes"
	"crypto/md5"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"partstore/internal/layout"
	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node/qingstor"
)

var testCustomerKey = qingstor.CustomerKey{1, 2, 3}

// sealBytes seals a payload, read in pieces of any size.
func sealBytes(t *testing.T, payload []byte, salt metadata.Salt, read func(io.Reader) io.Reader) (sealed []byte, part metadata.Part) {
	t.Helper()
	c, err := newPartCipher(&testCustomerKey, salt)
	if err != nil {
		t.Fatal(err)
	}
	s := &sealingReader{p: qingstor.Payload{Body: read(bytes.NewReader(payload)), Size: int64(len(payload))}, cipher: c, md5: md5.New()}
	if sealed, err = io.ReadAll(s); err != nil {
		t.Fatal(err)
	}
	if s.size != int64(len(payload)) || [16]byte(s.md5.Sum(nil)) != md5.Sum(payload) {
		t.Errorf("%d bytes: counted %d", len(payload), s.size)
	}
	return sealed, metadata.Part{Size: s.size, Salt: salt, Layout: layout.Layout{Size: int64(len(sealed))}}
}

// openBytes reads a range of a sealed payload back.
func openBytes(sealed []byte, part metadata.Part, offset, length int64, key *qingstor.CustomerKey) ([]byte, error) {
	r, err := openSealed(piece{part: part, offset: offset, length: length, key: key}, func(p piece) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(sealed[p.offset : p.offset+p.length])), nil
	})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func TestSealedPayloads(t *testing.T) {
	r := testrand.New(t)
	const block = layout.SealedBlock
	readers := []func(io.Reader) io.Reader{
		func(r io.Reader) io.Reader { return r }, iotest.DataErrReader, iotest.HalfReader,
	}
	for _, size := range []int{1, 15, block - 1, block, block + 1, 2*block - 1, 2 * block, 2*block + 1, 5*block + 77} {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		sealed, part := sealBytes(t, payload, metadata.Salt{9}, readers[r.IntN(len(readers))])
		if int64(len(sealed)) != layout.SealedSize(int64(size)) {
			t.Errorf("%d bytes are %d sealed, want %d", size, len(sealed), layout.SealedSize(int64(size)))
		}
		if size > 64 && bytes.Contains(sealed, payload[:32]) {
			t.Errorf("%d bytes: sealed in the clear", size)
		}
		spans := [][2]int{{0, size}, {0, 1}, {size - 1, 1}, {size / 2, size - size/2}}
		for range 20 {
			from := r.IntN(size)
			spans = append(spans, [2]int{from, 1 + r.IntN(size-from)})
		}
		for _, at := range []int{block - 1, block, block + 1, 2 * block} {
			if at < size {
				spans = append(spans, [2]int{at, 1}, [2]int{at, size - at}, [2]int{0, at})
			}
		}
		for _, span := range spans {
			got, err := openBytes(sealed, part, int64(span[0]), int64(span[1]), &testCustomerKey)
			if err != nil || !bytes.Equal(got, payload[span[0]:span[0]+span[1]]) {
				t.Fatalf("%d bytes, range %v: %d bytes, %v", size, span, len(got), err)
			}
		}
	}
}

// Neither a changed, nor a moved, nor a missing block opens; nor does any block
// with another key or salt.
func TestSealedPayloadsAreAuthentic(t *testing.T) {
	r := testrand.New(t)
	const block, sealedBlock = layout.SealedBlock, layout.SealedBlock + layout.SealOverhead
	payload := bytes.Repeat([]byte("payload "), 3*block/8)
	plainly := func(r io.Reader) io.Reader { return r }
	sealed, part := sealBytes(t, payload, metadata.Salt{1}, plainly)
	again, _ := sealBytes(t, payload, metadata.Salt{2}, plainly)
	if bytes.Equal(sealed[:64], again[:64]) || bytes.Equal(sealed[:64], sealed[sealedBlock:][:64]) {
		t.Error("equal payloads are sealed alike")
	}
	refused := func(what string, sealed []byte, part metadata.Part, key *qingstor.CustomerKey) {
		t.Helper()
		if got, err := openBytes(sealed, part, 0, part.Size, key); err == nil {
			t.Errorf("%s: opened as %d bytes", what, len(got))
		}
	}
	for range 10 {
		changed := bytes.Clone(sealed)
		at := r.IntN(len(sealed))
		changed[at] ^= 1 << rand.IntN(8)
		refused("a changed byte", changed, part, &testCustomerKey)
	}
	swapped := slices.Concat(sealed[sealedBlock:2*sealedBlock], sealed[:sealedBlock], sealed[2*sealedBlock:])
	refused("swapped blocks", swapped, part, &testCustomerKey)
	short := part
	short.Size, short.Layout.Size = 2*block, 2*sealedBlock
	refused("a missing last block", sealed[:2*sealedBlock], short, &testCustomerKey)
	other := testCustomerKey
	other[31]++
	refused("another key", sealed, part, &other)
	salted := part
	salted.Salt[0]++
	refused("another salt", sealed, salted, &testCustomerKey)
	refused("no key", sealed, part, nil)
}

func TestSealingChecksThePayload(t *testing.T) {
	c, err := newPartCipher(&testCustomerKey, metadata.Salt{})
	if err != nil {
		t.Fatal(err)
	}
	wrong, broken := metadata.ETag{1}, errors.New("broken body")
	for name, tc := range map[string]struct {
		p    qingstor.Payload
		want error
	}{
		"another MD5": {qingstor.Payload{Body: bytes.NewReader([]byte("x")), Size: 1, MD5: &wrong}, qingstor.ErrBadDigest},
		"too short":   {qingstor.Payload{Body: bytes.NewReader([]byte("x")), Size: 2}, qingstor.ErrIncompleteBody},
		"broken":      {qingstor.Payload{Body: iotest.ErrReader(broken), Size: -1}, broken},
	} {
		s := &sealingReader{p: tc.p, cipher: c, md5: md5.New()}
		if _, err := io.ReadAll(s); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}
