package node

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// A keyRing seals the secrets of access keys, so that neither registry, log,
// snapshot nor backup holds one. Its first key seals; all of them open, so a
// ring is changed by putting a new key in front and sealing everything anew.
//
// A sealed secret is
//
//	offset  size  field
//	0       1     version, 1
//	1       8     which key of the ring: the first bytes of its SHA-256
//	9       12    nonce
//	21      ...   AES-256-GCM of the secret, with the access key ID beside it
type keyRing []sealingKey

type sealingKey struct {
	id   [8]byte
	aead cipher.AEAD
}

const (
	sealVersion    = 1
	sealHeaderSize = 1 + len(sealingKey{}.id)
	sealingKeySize = 32
)

var (
	errNoSealingKey = errors.New("no sealing key")
	errSealed       = errors.New("malformed or forged sealed secret")
)

// parseKeyRing reads the base64 forms of sealing keys, separated by commas or
// white space.
func parseKeyRing(text string) (ring keyRing, err error) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		raw, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(raw) != sealingKeySize {
			return nil, fmt.Errorf("sealing key %d is not the base64 of %d bytes", len(ring)+1, sealingKeySize)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(raw)
		ring = append(ring, sealingKey{[8]byte(sum[:]), aead})
	}
	return ring, nil
}

// seal seals the secret of an access key with the first key of the ring.
func (r keyRing) seal(accessKeyID, secret string) ([]byte, error) {
	if len(r) == 0 {
		return nil, errNoSealingKey
	}
	nonce := make([]byte, r[0].aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	b := append([]byte{sealVersion}, r[0].id[:]...)
	return r[0].aead.Seal(append(b, nonce...), nonce, []byte(secret), []byte(accessKeyID)), nil
}

// open returns the secret of an access key. It wraps errNoSealingKey if it was
// sealed with a key that is not in the ring.
func (r keyRing) open(accessKeyID string, sealed []byte) (string, error) {
	if len(sealed) < sealHeaderSize || sealed[0] != sealVersion {
		return "", errSealed
	}
	for _, k := range r {
		if [8]byte(sealed[1:]) != k.id {
			continue
		}
		rest := sealed[sealHeaderSize:]
		if len(rest) < k.aead.NonceSize() {
			return "", errSealed
		}
		nonce, text := rest[:k.aead.NonceSize()], rest[k.aead.NonceSize():]
		secret, err := k.aead.Open(nil, nonce, text, []byte(accessKeyID))
		if err != nil {
			return "", errSealed
		}
		return string(secret), nil
	}
	return "", fmt.Errorf("%w: access key %s was sealed with one that is not in this node's ring", errNoSealingKey, accessKeyID)
}

// sealedByFirst reports whether the first key of the ring sealed it.
func (r keyRing) sealedByFirst(sealed []byte) bool {
	return len(r) > 0 && len(sealed) >= sealHeaderSize && [8]byte(sealed[1:]) == r[0].id
}
