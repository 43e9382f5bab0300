package node

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/qingstor"
)

// A payload that comes with a customer's key is sealed before it is encoded, so
// that nothing of it reaches a drive, another node or the registry in the clear.
//
// Every payload has a key of its own, made by HKDF-SHA256 from the customer's
// key and a random salt that the part record keeps. Blocks of 64 KiB are sealed
// one by one with AES-256-GCM; the nonce is the block's number and whether it is
// the last. So a range can be read without the rest, and no block can be moved,
// repeated or left out unseen. A payload placed anew is sealed once: the same
// bytes go to other stores.

// sealContext is what the derived keys are for, and part of the format.
const sealContext = "partstore sealed part 1"

// errUnsealable reports bytes that the customer's key did not seal.
var errUnsealable = errors.New("sealed part does not open")

// partCipher seals and opens the blocks of one payload.
type partCipher struct{ aead cipher.AEAD }

func newPartCipher(key *qingstor.CustomerKey, salt metadata.Salt) (partCipher, error) {
	own, err := hkdf.Key(sha256.New, key[:], salt[:], sealContext, len(key))
	if err != nil {
		return partCipher{}, err
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return partCipher{}, err
	}
	aead, err := cipher.NewGCM(block)
	return partCipher{aead}, err
}

func blockNonce(number int64, last bool) []byte {
	nonce := binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(number))
	if last {
		nonce[0] = 1
	}
	return nonce
}

// storeSealed is storePayload for a payload with a customer's key.
func (g *gateway) storeSealed(ctx context.Context, p qingstor.Payload, l label) (metadata.Part, error) {
	_, _ = rand.Read(l.salt[:]) // never fails
	c, err := newPartCipher(p.Key, l.salt)
	if err != nil {
		return metadata.Part{}, err
	}
	s := &sealingReader{p: p, cipher: c, md5: md5.New()}
	sealed := qingstor.Payload{Body: s, Size: p.Size}
	if p.Size >= 0 {
		sealed.Size = layout.SealedSize(p.Size)
	}
	if p.Size == 0 {
		sealed.MD5 = p.MD5 // nobody reads an empty body to its end
	}
	part, err := g.storePlain(ctx, sealed, l)
	if err != nil {
		return part, err
	}
	part.Size = s.size
	if s.size > 0 {
		part.ETag, part.Salt = metadata.ETag(s.md5.Sum(nil)), l.salt
	}
	return part, nil
}

// sealingReader yields a payload's sealed form, and an error instead of its end
// if the payload is not what was promised.
type sealingReader struct {
	p      qingstor.Payload
	cipher partCipher
	md5    hash.Hash // of the payload
	size   int64     // of the payload, as far as it was read

	plain [layout.SealedBlock + 1]byte // the block to come, and a byte that shows whether it is the last
	have  int
	block int64
	buf   [layout.SealedBlock + layout.SealOverhead]byte
	out   []byte // sealed, not yet read
	err   error  // after out
}

func (s *sealingReader) Read(b []byte) (int, error) {
	for len(s.out) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.next()
	}
	n := copy(b, s.out)
	s.out = s.out[n:]
	return n, nil
}

// next seals one block.
func (s *sealingReader) next() {
	for s.have < len(s.plain) && s.err == nil {
		var n int
		n, s.err = s.p.Body.Read(s.plain[s.have:])
		s.md5.Write(s.plain[s.have:][:n])
		s.have, s.size = s.have+n, s.size+int64(n)
	}
	if s.err != nil && s.err != io.EOF {
		return
	}
	if s.err != nil {
		if err := s.check(); err != nil {
			s.err = err
			return
		}
	}
	last := s.have <= layout.SealedBlock
	if s.have == 0 {
		return
	}
	n := min(s.have, layout.SealedBlock)
	s.out = s.cipher.aead.Seal(s.buf[:0], blockNonce(s.block, last), s.plain[:n], nil)
	s.block++
	s.have = copy(s.plain[:], s.plain[n:s.have])
	if !last && s.err != nil {
		// The end came with the byte that follows: it is a block of its own.
		s.p.Body, s.err = ended{}, nil
	}
}

// ended is a body that has been read.
type ended struct{}

func (ended) Read([]byte) (int, error) { return 0, io.EOF }

func (s *sealingReader) check() error {
	switch {
	case s.p.Size >= 0 && s.size != s.p.Size:
		return fmt.Errorf("%w: %d of %d bytes", qingstor.ErrIncompleteBody, s.size, s.p.Size)
	case s.p.MD5 != nil && [md5.Size]byte(s.md5.Sum(nil)) != *s.p.MD5:
		return qingstor.ErrBadDigest
	}
	return nil
}

// openSealed returns the payload bytes of a piece of a sealed part, whose stored
// bytes open gives.
func openSealed(p piece, open func(piece) (io.ReadCloser, error)) (io.ReadCloser, error) {
	if p.key == nil {
		return nil, fmt.Errorf("part of attempt %s is sealed, and there is no key", p.part.Layout.Attempt)
	}
	c, err := newPartCipher(p.key, p.part.Salt)
	if err != nil {
		return nil, err
	}
	const sealedBlock = layout.SealedBlock + layout.SealOverhead
	first := p.offset / layout.SealedBlock
	end := min((p.offset+p.length+layout.SealedBlock-1)/layout.SealedBlock*sealedBlock, p.part.Layout.Size)
	sealed, err := open(piece{upload: p.upload, part: p.part, offset: first * sealedBlock, length: end - first*sealedBlock})
	if err != nil {
		return nil, err
	}
	o := &openingReader{
		sealed: sealed, cipher: c, block: first, last: (p.part.Size - 1) / layout.SealedBlock,
		skip: int(p.offset % layout.SealedBlock), length: p.length,
	}
	// A key that does not fit shows here, while there can still be a status.
	if o.next(); o.err != nil {
		return nil, errors.Join(o.err, sealed.Close())
	}
	return o, nil
}

// openingReader yields the payload bytes of a run of sealed blocks.
type openingReader struct {
	sealed io.ReadCloser
	cipher partCipher
	block  int64 // the next one's number
	last   int64 // number of the part's last block
	skip   int   // payload bytes before the first one wanted
	length int64 // payload bytes still wanted
	buf    [layout.SealedBlock + layout.SealOverhead]byte
	out    []byte
	err    error
}

func (o *openingReader) Read(b []byte) (int, error) {
	if len(o.out) == 0 && o.length > 0 && o.err == nil {
		o.next()
	}
	if o.err != nil {
		return 0, o.err
	}
	if o.length == 0 {
		return 0, io.EOF
	}
	n := copy(b, o.out)
	o.out, o.length = o.out[n:], o.length-int64(n)
	return n, nil
}

// next opens one block.
func (o *openingReader) next() {
	n, err := io.ReadFull(o.sealed, o.buf[:])
	if errors.Is(err, io.ErrUnexpectedEOF) && o.block == o.last {
		err = nil // the last block may be short
	}
	if err != nil {
		o.err = fmt.Errorf("block %d of a sealed part: %w", o.block, err)
		return
	}
	plain, err := o.cipher.aead.Open(o.buf[:0], blockNonce(o.block, o.block == o.last), o.buf[:n], nil)
	if err != nil || len(plain) <= o.skip {
		o.err = fmt.Errorf("block %d: %w", o.block, errUnsealable)
		return
	}
	o.out = plain[o.skip:]
	o.out = o.out[:min(int64(len(o.out)), o.length)]
	o.block, o.skip = o.block+1, 0
}

func (o *openingReader) Close() error { return o.sealed.Close() }
