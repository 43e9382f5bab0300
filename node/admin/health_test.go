package admin

import (
	"slices"
	"testing"

	"partstore/internal/layout"
)

func TestCountGroups(t *testing.T) {
	stores := make([]layout.StoreID, 7)
	v := &layout.View{Scheme: layout.Scheme{Data: 4, Parity: 2}, Stores: map[layout.StoreID]layout.StoreState{}}
	for i := range stores {
		stores[i] = layout.NewStoreID()
		v.Stores[stores[i]] = layout.StoreState{ID: stores[i], Up: i < 4} // 4, 5, 6 are down
	}
	for id, slots := range [][]int{
		{0, 1, 2, 3},          // a group of a scheme of four: whole
		{0, 1, 2, 3, 4, 5},    // four of six: no margin
		{1, 2, 3, 4, 5, 6},    // three of six: unreadable
		{0, 1, 2, 3, 4, 5, 6}, // four of seven
	} {
		g := layout.Group{ID: layout.GroupID(id)}
		for _, s := range slots {
			g.Slots = append(g.Slots, stores[s])
		}
		v.Groups = append(v.Groups, g)
	}
	want := GroupCounts{Total: 4, Whole: 1, WithoutMargin: 2, Unreadable: 1, AtRisk: 3}
	if got := CountGroups(v); got != want {
		t.Errorf("CountGroups = %+v, want %+v", got, want)
	}
	v.Stores[stores[4]] = layout.StoreState{Up: true}
	want = GroupCounts{Total: 4, Whole: 1, Degraded: 2, WithoutMargin: 1, AtRisk: 3}
	if got := CountGroups(v); got != want {
		t.Errorf("CountGroups with one more store up = %+v, want %+v", got, want)
	}
}

func TestHealthIsTheWorstFinding(t *testing.T) {
	sound := Status{Leader: &NodeRef{}, Groups: GroupCounts{Total: 4, Whole: 4}}
	tests := []struct {
		name   string
		change func(*Status)
		want   Health
		codes  []string
	}{
		{"nothing wrong", func(*Status) {}, HealthOK, nil},
		{"no leader", func(s *Status) { s.Leader = nil }, HealthUnavailable, []string{ReasonNoLeader}},
		{"no groups", func(s *Status) { s.Groups = GroupCounts{} }, HealthUnavailable, []string{ReasonNoGroups}},
		{"a node down", func(s *Status) {
			s.Nodes.Down, s.Stores.Down, s.Groups.Degraded = 1, 1, 4
		}, HealthDegraded, []string{ReasonGroupDegraded, ReasonNodeDown, ReasonStoreDown}},
		{"registries differ", func(s *Status) {
			s.Digest = &Digest{Equal: 2, Asked: 3, Other: []NodeRef{{Name: "node3"}}}
		}, HealthDegraded, []string{ReasonDiffers}},
		{"a disk that fails", func(s *Status) { s.Faulty = []NodeRef{{Name: "n"}} }, HealthDegraded, []string{ReasonDisk}},
		{"little room for the registry", func(s *Status) { s.Room = "low" }, HealthDegraded, []string{ReasonRoom}},
		{"a lost node that votes", func(s *Status) { s.Absentees = []NodeRef{{Name: "n"}} }, HealthDegraded, []string{ReasonVote}},
		{"a fenced store", func(s *Status) { s.Stores.Fenced = 1 }, HealthDegraded, []string{ReasonStoreFenced}},
		{"one group unreadable, others thin", func(s *Status) {
			s.Groups.Unreadable, s.Groups.WithoutMargin = 1, 2
		}, HealthUnavailable, []string{ReasonUnreadable, ReasonWithoutMargin}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := sound
			tc.change(&s)
			s.assess()
			var codes []string
			for _, r := range s.Reasons {
				codes = append(codes, r.Code)
			}
			if s.Health != tc.want || !slices.Equal(codes, tc.codes) {
				t.Errorf("assess = %s %v, want %s %v", s.Health, codes, tc.want, tc.codes)
			}
		})
	}
}

func TestObjectIsAsGoodAsItsWorstPart(t *testing.T) {
	part := func(states ...ChunkState) PartReport {
		p := PartReport{Part: Part{Scheme: layout.Scheme{Data: 2, Parity: 1}}}
		for _, s := range states {
			p.Chunks = append(p.Chunks, ChunkReport{State: s})
		}
		return p
	}
	whole := part(ChunkOK, ChunkOK, ChunkOK)
	degraded := part(ChunkOK, ChunkCorrupt, ChunkOK)
	unreadable := part(ChunkUnavailable, ChunkOK, ChunkMissing)
	tests := []struct {
		name  string
		parts []PartReport
		want  PartState
	}{
		{"no parts", nil, PartWhole},
		{"an empty part has no chunks", []PartReport{{}}, PartWhole},
		{"whole", []PartReport{whole, whole}, PartWhole},
		{"degraded", []PartReport{degraded, whole}, PartDegraded},
		{"unreadable", []PartReport{degraded, unreadable, whole}, PartUnreadable},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := ObjectReport{Parts: tc.parts}
			r.assess()
			if r.State != tc.want {
				t.Errorf("assess = %s, want %s", r.State, tc.want)
			}
		})
	}
}
