package node

import (
	"fmt"
	"strings"
	"testing"

	"partstore/internal/layout"
	"partstore/node/admin"
)

func TestJudgeStop(t *testing.T) {
	const nodes = 6
	id := func(i int) layout.NodeID { return layout.NodeID{byte(i)} }
	store := func(i int) layout.StoreID { return layout.StoreID{byte(i)} }
	// All nodes are up, the first five vote, and store i is of node i.
	build := func() (*layout.View, []admin.Member) {
		v := &layout.View{
			Scheme: layout.Scheme{Data: 4, Parity: 2},
			Nodes:  map[layout.NodeID]layout.NodeState{}, Stores: map[layout.StoreID]layout.StoreState{},
			Groups: []layout.Group{{Slots: make([]layout.StoreID, nodes), Moves: make([]layout.Move, nodes)}},
		}
		var members []admin.Member
		for i := range nodes {
			v.Nodes[id(i)] = layout.NodeState{ID: id(i), Alive: true}
			v.Stores[store(i)] = layout.StoreState{ID: store(i), Node: id(i), Alive: true, Up: true}
			v.Groups[0].Slots[i] = store(i)
			role := admin.RoleVoter
			if i == nodes-1 {
				role = admin.RoleNonvoter
			}
			members = append(members, admin.Member{NodeRef: admin.NodeRef{ID: id(i)}, Role: role, Alive: true})
		}
		return v, members
	}
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
			view, members := build()
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
			if fresh, _ := build(); fmt.Sprint(fresh.Stores[store(0)]) != fmt.Sprint(view.Stores[store(0)]) {
				t.Error("the view was changed")
			}
		})
	}
}
