package node

import (
	"testing"

	"partstore/internal/layout"
	"partstore/node/admin"
)

// The other drive of a node takes the slots of one; of none if both go.
func TestTakersWhenDrivesGo(t *testing.T) {
	store := func(id byte, duty string) admin.Store {
		return admin.Store{ID: layout.StoreID{id}, State: admin.StoreUp, Duty: duty, FreeBytes: 1 << id}
	}
	nodes := []admin.Node{
		{Stores: []admin.Store{store(1, "in"), store(2, "in")}},
		{Stores: []admin.Store{store(3, "in"), store(4, "draining")}},
		{Stores: []admin.Store{store(5, "out")}},
	}
	for _, tc := range []struct {
		gone  []layout.StoreID
		count int
		room  int64
	}{
		{nil, 2, 1<<1 + 1<<2 + 1<<3},
		{[]layout.StoreID{{1}}, 2, 1<<2 + 1<<3},
		{[]layout.StoreID{{1}, {2}}, 1, 1 << 3},
	} {
		if count, room := takers(nodes, tc.gone); count != tc.count || room != tc.room {
			t.Errorf("without %v, %d nodes with %d bytes take slots, want %d and %d", tc.gone, count, room, tc.count, tc.room)
		}
	}
}
