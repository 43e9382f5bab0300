package node

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func sealingKeyOf(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, sealingKeySize))
}

func mustRing(t testing.TB, text string) keyRing {
	t.Helper()
	r, err := parseKeyRing(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedSecrets(t *testing.T) {
	old := mustRing(t, sealingKeyOf(1))
	both := mustRing(t, sealingKeyOf(2)+",\n"+sealingKeyOf(1)+"\n")
	sealed, err := old.seal("KEY", "a secret")
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("sealed %q, %v", sealed, err)
	}
	again, err := old.seal("KEY", "a secret")
	if err != nil || bytes.Equal(again, sealed) {
		t.Errorf("sealed alike twice: %x (%v)", again, err)
	}
	for name, r := range map[string]keyRing{"the same ring": old, "a ring with a newer key in front": both} {
		if secret, err := r.open("KEY", sealed); err != nil || secret != "a secret" {
			t.Errorf("%s: %q, %v", name, secret, err)
		}
	}
	if !old.sealedByFirst(sealed) || both.sealedByFirst(sealed) {
		t.Error("which key sealed it is not told")
	}
	if _, err := both.open("OTHER", sealed); !errors.Is(err, errSealed) {
		t.Errorf("opened as another access key's: %v", err)
	}
	if _, err := mustRing(t, sealingKeyOf(3)).open("KEY", sealed); !errors.Is(err, errNoSealingKey) {
		t.Errorf("opened without its key: %v", err)
	}
	if _, err := (keyRing)(nil).seal("KEY", "s"); !errors.Is(err, errNoSealingKey) {
		t.Errorf("sealed without a key: %v", err)
	}
	for i := range sealed {
		forged := bytes.Clone(sealed)
		forged[i] ^= 1
		if secret, err := old.open("KEY", forged); err == nil {
			t.Errorf("byte %d changed: opened as %q", i, secret)
		}
		if _, err := old.open("KEY", sealed[:i]); err == nil {
			t.Errorf("cut to %d bytes: opened", i)
		}
	}
}

func TestParseKeyRingRefuses(t *testing.T) {
	for _, text := range []string{"x", sealingKeyOf(1)[4:], sealingKeyOf(1) + sealingKeyOf(1), sealingKeyOf(1) + ",short"} {
		if _, err := parseKeyRing(text); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzOpenSealed(f *testing.F) {
	ring := mustRing(f, sealingKeyOf(1))
	sealed, err := ring.seal("KEY", "secret")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		// Each fuzzing process has a seal of its own, of the one secret there is.
		if secret, err := ring.open("KEY", b); err == nil && secret != "secret" {
			t.Errorf("%x opens as %q", b, secret)
		}
		if secret, err := ring.open("OTHER", b); err == nil {
			t.Errorf("%x opens as %q for another key", b, secret)
		}
	})
}
