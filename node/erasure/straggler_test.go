package erasure

import (
	"testing"
	"time"
)

func TestStragglers(t *testing.T) {
	const hedge, stall = 500 * time.Millisecond, 10 * time.Second
	now := time.Now()
	ago := func(d time.Duration, owed int) *lane { return &lane{last: now.Add(-d), sent: 5, done: 5 - owed} }
	dead := func() *lane { l := ago(time.Hour, 3); l.err = errBroken; return l }
	tests := []struct {
		name  string
		lanes []*lane
		want  []int
	}{
		{"all idle", []*lane{ago(0, 0), ago(time.Hour, 0), ago(time.Hour, 0)}, nil},
		{"one behind, and on time", []*lane{ago(time.Second, 0), ago(time.Second, 0), ago(400*time.Millisecond, 2)}, nil},
		{"one behind and silent", []*lane{ago(time.Second, 0), ago(time.Second, 0), ago(time.Second, 2)}, []int{2}},
		{"silent, but the others only just finished", []*lane{ago(100*time.Millisecond, 0), ago(time.Second, 0), ago(time.Second, 2)}, nil},
		{"everybody slow", []*lane{ago(time.Second, 1), ago(time.Second, 1), ago(time.Second, 0)}, nil},
		{"everybody stalled", []*lane{ago(stall, 1), ago(stall, 1), ago(time.Second, 1)}, []int{0, 1}},
		{"dead ones do not count", []*lane{dead(), ago(time.Second, 0), ago(time.Second, 1)}, nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := stragglers(tc.lanes, 2, hedge, stall, now)
			if len(got) != len(tc.want) {
				t.Fatalf("%d stragglers, want %v", len(got), tc.want)
			}
			for i, l := range got {
				if l != tc.lanes[tc.want[i]] {
					t.Errorf("straggler %d is another lane than %d", i, tc.want[i])
				}
			}
		})
	}
}
