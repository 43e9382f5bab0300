package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

// stopBench is a cluster of six: all nodes are up, the first five vote, and store
// i is of node i and in slot i of the only group.
func stopBench() (*layout.View, []admin.Member) {
	const nodes = 6
	v := &layout.View{
		Scheme: layout.Scheme{Data: 4, Parity: 2},
		Nodes:  map[layout.NodeID]layout.NodeState{}, Stores: map[layout.StoreID]layout.StoreState{},
		Groups: []layout.Group{{Slots: make([]layout.StoreID, nodes), Moves: make([]layout.Move, nodes)}},
	}
	var members []admin.Member
	for i := range nodes {
		id, store := layout.NodeID{byte(i)}, layout.StoreID{byte(i)}
		v.Nodes[id] = layout.NodeState{ID: id, Alive: true}
		v.Stores[store] = layout.StoreState{ID: store, Node: id, Alive: true, Up: true}
		v.Groups[0].Slots[i] = store
		role := admin.RoleVoter
		if i == nodes-1 {
			role = admin.RoleNonvoter
		}
		members = append(members, admin.Member{NodeRef: admin.NodeRef{ID: id}, Role: role, Alive: true})
	}
	return v, members
}

// stopRecords are parts and a garbage queue.
type stopRecords struct {
	parts   []metadata.OwnedPart
	garbage []metadata.Garbage
}

func (r stopRecords) AllParts(after *metadata.OwnedPart, limit int) ([]metadata.OwnedPart, error) {
	from := 0
	if after != nil {
		from = 1 + slices.IndexFunc(r.parts, func(p metadata.OwnedPart) bool { return p.Upload == after.Upload })
	}
	return r.parts[from:min(from+limit, len(r.parts))], nil
}

func (r stopRecords) Garbage(after *metadata.Garbage, _ int) ([]metadata.Garbage, error) {
	if after != nil {
		return nil, nil
	}
	return r.garbage, nil
}

// A part that lacks a chunk until it is healed survives less than its group.
func TestJudgeStopCountsChunksThatWait(t *testing.T) {
	all := uint32(1<<6 - 1)
	part := func(durable uint32, scheme layout.Scheme, slots ...uint8) metadata.OwnedPart {
		l := layout.Layout{Scheme: scheme, Slots: slots, Size: 1 << 20, Durable: durable}
		return metadata.OwnedPart{Upload: layout.NewUploadID(), Part: metadata.Part{Layout: l}}
	}
	wide := func(durable uint32) metadata.OwnedPart {
		return part(durable, layout.Scheme{Data: 4, Parity: 2}, 0, 1, 2, 3, 4, 5)
	}
	empty := part(0, layout.Scheme{})
	for _, tc := range []struct {
		name     string
		part     metadata.OwnedPart
		stop     []byte
		change   func(*layout.View, *stopRecords)
		margin   int
		problems int
	}{
		{"all there", wide(all), []byte{0, 5}, nil, 0, 0},
		{"no chunks", empty, []byte{5}, nil, 1, 0},
		{"one waits", wide(all &^ 1), []byte{5}, nil, 0, 0},
		{"one waits, on a node that stops", wide(all &^ 1), []byte{0, 5}, nil, 0, 0},
		{"one waits, on a node that stays", wide(all &^ 1), []byte{1, 5}, nil, -1, 1},
		{"one waits, and nobody stops", wide(all &^ 1), nil, nil, 1, 0},
		{"one waits, of copies", part(0b011, layout.Scheme{Data: 1, Parity: 2}, 1, 3, 5), []byte{1, 3}, nil, -1, 1},
		{"one waits, of a narrow part", part(0b0111, layout.Scheme{Data: 2, Parity: 2}, 1, 2, 3, 5), []byte{1, 2}, nil, -1, 1},
		{"one waits, and a node is down", wide(all &^ 1), []byte{5}, func(v *layout.View, _ *stopRecords) {
			v.Stores[layout.StoreID{4}] = layout.StoreState{ID: layout.StoreID{4}, Node: layout.NodeID{4}}
		}, -1, 1},
		{"one waits, and a slot has not arrived", wide(all &^ 1), []byte{5}, func(v *layout.View, _ *stopRecords) {
			v.Groups[0].Moves[4].Former = layout.StoreID{99}
		}, -1, 1},
		{"one waits, of garbage", wide(all &^ 1), []byte{1, 5}, func(_ *layout.View, r *stopRecords) {
			r.garbage = []metadata.Garbage{{Upload: r.parts[len(r.parts)-1].Upload}}
		}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			view, members := stopBench()
			records := stopRecords{}
			for range planPage { // it is not on the first page
				records.parts = append(records.parts, wide(all))
			}
			records.parts = append(records.parts, tc.part)
			if tc.change != nil {
				tc.change(view, &records)
			}
			var stop []layout.NodeID
			for _, i := range tc.stop {
				stop = append(stop, layout.NodeID{i})
			}
			v := judgeStop(view, members, stop)
			v.Problems = v.Problems[:0] // of groups, which TestJudgeStop has
			if err := judgeParts(t.Context(), view, records, stop, &v); err != nil || v.Margin != tc.margin || len(v.Problems) != tc.problems {
				t.Errorf("%+v, %v, want margin %d and %d problems", v, err, tc.margin, tc.problems)
			}
		})
	}
}

func TestJudgeStop(t *testing.T) {
	id := func(i int) layout.NodeID { return layout.NodeID{byte(i)} }
	store := func(i int) layout.StoreID { return layout.StoreID{byte(i)} }
	for _, tc := range []struct {
		name     string
		change   func(*layout.View, []admin.Member)
		stop     []int
		margin   int
		voters   int
		problems string // a word of each
	}{
		{"one", nil, []int{0}, 1, 4, ""},
		{"two", nil, []int{0, 5}, 0, 4, ""},
		{"the same one twice", nil, []int{0, 0}, 1, 4, ""},
		{"three", nil, []int{0, 1, 5}, -1, 3, "read taken"},
		{"three voters", nil, []int{0, 1, 2}, -1, 2, "registry read taken"},
		{"one, and another is down", func(v *layout.View, m []admin.Member) {
			v.Stores[store(4)] = layout.StoreState{ID: store(4), Node: id(4)}
			m[4].Alive = false
		}, []int{3}, 0, 3, ""},
		{"two, and a slot has not arrived", func(v *layout.View, _ []admin.Member) {
			v.Groups[0].Moves[4].Former = layout.StoreID{99}
		}, []int{0, 1}, -1, 3, "read"},
		{"two, and a store takes no writes", func(v *layout.View, _ []admin.Member) {
			v.Stores[store(4)] = layout.StoreState{ID: store(4), Node: id(4), Alive: true}
		}, []int{0, 1}, 0, 3, "taken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			view, members := stopBench()
			if tc.change != nil {
				tc.change(view, members)
			}
			var stop []layout.NodeID
			for _, i := range tc.stop {
				stop = append(stop, id(i))
			}
			got := judgeStop(view, members, stop)
			words := strings.Fields(tc.problems)
			ok := got.Margin == tc.margin && got.Voters == tc.voters && got.Majority == 3 && len(got.Problems) == len(words)
			for i, word := range words {
				ok = ok && strings.Contains(got.Problems[i], word)
			}
			if !ok {
				t.Errorf("verdict %+v, want margin %d, voters %d, problems %q", got, tc.margin, tc.voters, tc.problems)
			}
			if fresh, _ := stopBench(); fmt.Sprint(fresh.Stores[store(0)]) != fmt.Sprint(view.Stores[store(0)]) {
				t.Error("the view was changed")
			}
		})
	}
}
