package node

import (
	"strings"
	"testing"

	"partstore/node/cluster"
)

func TestPeersEncryptUnlessOnLoopback(t *testing.T) {
	for _, tc := range []struct {
		setting, listen string
		want            bool
	}{
		{"", "", true},
		{"auto", ":7071", true},
		{"auto", "10.0.0.1:7071", true},
		{"auto", "127.0.0.1:7071", false},
		{"auto", "[::1]:7071", false},
		{"on", "127.0.0.1:7071", true},
		{"off", "10.0.0.1:7071", false},
	} {
		c := Config{PeerTLS: tc.setting, PeerListen: tc.listen}.withDefaults()
		if got := c.peerTLS(); got != tc.want {
			t.Errorf("peer_tls %q at %q = %v", tc.setting, tc.listen, got)
		}
	}
	if err := (Config{PeerTLS: "of"}).Validate(); err == nil || !strings.Contains(err.Error(), "peer-tls") {
		t.Errorf("Validate of peer_tls %q = %v", "of", err)
	}
}

func TestStoresFitIntoAnAnnouncement(t *testing.T) {
	c := Config{StoreDirs: make([]string, cluster.MaxStores-1)}
	if err := c.Validate(); strings.Contains(err.Error(), "store directories") {
		t.Errorf("Validate with %d stores = %v", cluster.MaxStores, err)
	}
	c.StoreDirs = append(c.StoreDirs, "one more")
	if err := c.Validate(); !strings.Contains(err.Error(), "12 store directories") {
		t.Errorf("Validate with one too many = %v", err)
	}
}
