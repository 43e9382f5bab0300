package cluster

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"partstore/internal/layout"
)

func sampleMember() Member {
	return Member{
		ID: layout.NewNodeID(), Name: "node1", Zone: "a", Cluster: layout.NewClusterID(), Formed: true, TLS: true, Predecessor: layout.NewClusterID(),
		Host: "node1.example.com", ClientPort: 7070, PeerPort: 7071, AdminPort: 7073,
		Stores: []StoreInfo{{layout.NewStoreID(), StoreWritable}, {layout.NewStoreID(), StoreFenced}},
	}
}

func TestMemberRoundTrip(t *testing.T) {
	want := sampleMember()
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeMember(want.ID, b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decodeMember = %+v, %v; want %+v", got, err, want)
	}
}

func TestMemberFitsIntoGossip(t *testing.T) {
	m := sampleMember()
	m.Name, m.Zone, m.Host = strings.Repeat("n", MaxNameLength), strings.Repeat("z", MaxZoneLength), strings.Repeat("h", MaxHostLength)
	m.Stores = make([]StoreInfo, MaxStores)
	b, err := m.encode()
	if err != nil || len(b) > 512 {
		t.Errorf("longest announcement has %d bytes (%v), memberlist takes 512", len(b), err)
	}
	m.Name += "n"
	if _, err := m.encode(); err == nil {
		t.Error("a name above the limit was encoded")
	}
}

func FuzzDecodeMember(f *testing.F) {
	b, err := sampleMember().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{metaVersion})
	f.Add(append(append([]byte{metaVersion}, make([]byte, 23)...), bytes.Repeat([]byte{255}, 512)...)) // a name as long as its length can say
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMember(layout.NodeID{}, b)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, b) && len(m.Name) <= MaxNameLength {
			if len(m.Name) > MaxNameLength || len(m.Zone) > MaxZoneLength || len(m.Host) > MaxHostLength {
				return // longer than this version writes; readers are lenient
			}
			t.Errorf("decodeMember accepts %x, which encodes as %x (%v)", b, again, err)
		}
	})
}
