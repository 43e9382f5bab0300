package metadata

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// The ring keeps the last events in their order, however many there were, and
// each only once.
func TestEventsAreARing(t *testing.T) {
	b := newStockedBench(t)
	const total = MaxEvents + 137
	for n := 0; n < total; {
		x := &recordEvents{Request: testRequest(uint64(1000 + n))}
		for range min(1+n%MaxEventsAtOnce, total-n) {
			n++
			x.Events = append(x.Events, Event{Kind: EventHealClear, Reason: fmt.Sprint(n), Sequence: 7, Time: 1 << 50})
		}
		b.must(x)
		b.must(x) // a repeat
		if n < 5 {
			b.checkEvents(n, n)
		}
	}
	b.checkEvents(total, MaxEvents)
	if rows := b.rows(rowEvent); rows != MaxEvents+1 {
		t.Errorf("%d rows of events", rows)
	}
	if report, err := verify(backupOf(t, b)); err != nil || len(report.Problems) > 0 {
		t.Errorf("a backup has problems: %v, %v", report.Problems, err)
	}
	if err := b.db.Set(eventKey(total+1), nil, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if report, err := verify(backupOf(t, b)); err == nil && len(report.Problems) == 0 {
		t.Error("an event after the last one is no problem")
	}
}

// checkEvents wants the last ones of so many, the newest with the highest number.
func (b *bench) checkEvents(total, kept int) {
	b.t.Helper()
	for _, limit := range []int{-1, 0, 1, 10, MaxEvents, 1 << 40} {
		events, now, err := lastEvents(b.db, limit)
		if err != nil || len(events) != max(0, min(limit, kept)) {
			b.t.Fatalf("%d of %d events, %v", len(events), kept, err)
		}
		for i, e := range events {
			if n := total - len(events) + i + 1; e.Sequence != uint64(n) || e.Reason != fmt.Sprint(n) || e.Time > now {
				b.t.Fatalf("event %d at %d is %+v", n, now, e)
			}
		}
	}
}

func TestEventsNeedAKind(t *testing.T) {
	b := newStockedBench(t)
	b.want(&recordEvents{Request: testRequest(70), Events: []Event{{Kind: EventRebuilt}, {Reason: "of what kind?"}}}, ErrInvalid)
	if events, _, err := lastEvents(b.db, 10); err != nil || len(events) > 0 {
		t.Errorf("%v, %v", events, err)
	}
	if _, err := encodeCommand(&recordEvents{Events: []Event{{Kind: "x", Reason: strings.Repeat("x", MaxEventReason+1)}}}); err == nil {
		t.Error("a reason above the limit was encoded")
	}
}

// A decision about healing changes what it names and nothing else, and every
// change is an event.
func TestRepairPolicy(t *testing.T) {
	b := newStockedBench(t)
	for n, step := range []struct {
		change RepairChange
		want   RepairPolicy
		events int
	}{
		{RepairChange{Verb: RepairResume}, RepairPolicy{}, 0},
		{RepairChange{Verb: RepairThrottle, Limit: 5 << 20}, RepairPolicy{Bandwidth: 5 << 20}, 1},
		{RepairChange{Verb: RepairPause}, RepairPolicy{Paused: true, Bandwidth: 5 << 20}, 2},
		{RepairChange{Verb: RepairPause}, RepairPolicy{Paused: true, Bandwidth: 5 << 20}, 2},
		{RepairChange{Verb: RepairThrottle}, RepairPolicy{Paused: true}, 3},
		{RepairChange{Verb: RepairResume}, RepairPolicy{}, 4},
		{RepairChange{Verb: RepairThrottleTotal, Limit: 9 << 20}, RepairPolicy{Total: 9 << 20}, 5},
		{RepairChange{Verb: RepairThrottle, Limit: 7}, RepairPolicy{Total: 9 << 20, Bandwidth: 7}, 6},
		{RepairChange{Verb: RepairAtOnce, Limit: 12}, RepairPolicy{Total: 9 << 20, Bandwidth: 7, AtOnce: 12}, 7},
		{RepairChange{Verb: RepairThrottleTotal}, RepairPolicy{Bandwidth: 7, AtOnce: 12}, 8},
		{RepairChange{Verb: RepairAtOnce}, RepairPolicy{Bandwidth: 7}, 9},
	} {
		step.change.Node = testNodeID(1)
		x := &changeRepair{Request: testRequest(uint64(10 + n)), Change: step.change}
		b.must(x)
		b.must(x)
		var p RepairPolicy
		if _, err := getRow(b.db, repairKey(), p.code); err != nil || p != step.want {
			t.Errorf("step %d: %+v, %v; want %+v", n, p, err, step.want)
		}
		events, _, err := lastEvents(b.db, 10)
		if err != nil || len(events) != step.events {
			t.Errorf("step %d: %d events, %v", n, len(events), err)
		}
	}
	b.want(&changeRepair{Request: testRequest(90), Change: RepairChange{}}, ErrInvalid)
	b.want(&changeRepair{Request: testRequest(91), Change: RepairChange{Verb: RepairThrottle, Limit: MaxRepairBandwidth + 1}}, ErrInvalid)
	b.want(&changeRepair{Request: testRequest(92), Change: RepairChange{Verb: RepairThrottleTotal, Limit: MaxRepairBandwidth + 1}}, ErrInvalid)
	b.want(&changeRepair{Request: testRequest(93), Change: RepairChange{Verb: RepairAtOnce, Limit: MaxRepairAtOnce + 1}}, ErrInvalid)
}

// A policy without the later bounds is written as it was before there were any.
func TestPolicyWithoutLaterBoundsIsStable(t *testing.T) {
	for _, row := range []struct {
		bytes  string
		policy RepairPolicy
	}{
		{"\x01\x05", RepairPolicy{Paused: true, Bandwidth: 5}},
		{"\x00\x05\x07", RepairPolicy{Bandwidth: 5, Total: 7}},
		{"\x00\x05\x07\x09", RepairPolicy{Bandwidth: 5, Total: 7, AtOnce: 9}},
		{"\x00\x05\x00\x09", RepairPolicy{Bandwidth: 5, AtOnce: 9}},
	} {
		got, err := encodeValue(row.policy.code)
		var back RepairPolicy
		if err != nil || string(got) != row.bytes || decodeValue([]byte(row.bytes), back.code) != nil || back != row.policy {
			t.Errorf("%+v is %x, %v, and %x is %+v", row.policy, got, err, row.bytes, back)
		}
	}
	for _, row := range []string{"\x00\x05\x00", "\x00\x05\x07\x00"} {
		if err := decodeValue([]byte(row), new(RepairPolicy).code); err == nil {
			t.Errorf("a bound of 0 has two forms: %x", row)
		}
	}
}

// A node moves its share of the total, and never more than its own bound.
func TestTotalIsShared(t *testing.T) {
	for _, tc := range []struct {
		policy RepairPolicy
		nodes  int
		want   int64
	}{
		{RepairPolicy{}, 6, 100},
		{RepairPolicy{Bandwidth: 300}, 6, 300},
		{RepairPolicy{Total: 240}, 6, 40},
		{RepairPolicy{Total: 240}, 4, 60},
		{RepairPolicy{Total: 6000}, 6, 100},
		{RepairPolicy{Total: 6000, Bandwidth: 30}, 6, 30},
		{RepairPolicy{Total: 60, Bandwidth: 30}, 6, 10},
		{RepairPolicy{Total: 5}, 6, 1},
		{RepairPolicy{Total: 60}, 0, 60},
	} {
		if got := tc.policy.BandwidthOr(100, tc.nodes); got != tc.want {
			t.Errorf("%+v on %d nodes: %d, want %d", tc.policy, tc.nodes, got, tc.want)
		}
	}
}

// What all nodes make at once is no more than the bound, unless they are more.
func TestAtOnceIsShared(t *testing.T) {
	for bound := range uint64(40) {
		p := RepairPolicy{AtOnce: bound}
		for nodes := 1; nodes < 45; nodes++ {
			got := p.AtOnceOf(nodes)
			if bound > 0 && (got < 1 || got*nodes > max(int(bound), nodes) || (got+1)*nodes <= int(bound)) || bound == 0 && got != 0 {
				t.Errorf("%d at once on %d nodes: %d on each", bound, nodes, got)
			}
		}
	}
}

// A limit that is a mistake is refused before it is proposed, and says what would do.
func TestLimitsThatMakeNoSense(t *testing.T) {
	for _, tc := range []struct {
		change RepairChange
		says   string // "": it makes sense
	}{
		{RepairChange{Verb: RepairPause}, ""},
		{RepairChange{Verb: RepairThrottle}, ""},
		{RepairChange{Verb: RepairThrottle, Limit: 10}, "64 KiB/s"},
		{RepairChange{Verb: RepairThrottle, Limit: 64<<10 - 1}, "64 KiB/s"},
		{RepairChange{Verb: RepairThrottle, Limit: 64 << 10}, ""},
		{RepairChange{Verb: RepairThrottle, Limit: MaxRepairBandwidth}, ""},
		{RepairChange{Verb: RepairThrottle, Limit: MaxRepairBandwidth + 1}, "the most is"},
		{RepairChange{Verb: RepairThrottleTotal, Limit: 10}, "64 KiB/s"},
		{RepairChange{Verb: RepairAtOnce}, ""},
		{RepairChange{Verb: RepairAtOnce, Limit: 5}, "the least is 6"},
		{RepairChange{Verb: RepairAtOnce, Limit: 6}, ""},
		{RepairChange{Verb: RepairAtOnce, Limit: MaxRepairAtOnce + 1}, "the most is"},
	} {
		err := tc.change.Check(6)
		if tc.says == "" && err != nil || tc.says != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%+v: %v, want %q", tc.change, err, tc.says)
		}
	}
	c := newCluster(t, 1, nil)
	if err := c.leader().ChangeRepair(t.Context(), RepairChange{Verb: RepairThrottle, Limit: 10}); !errors.Is(err, ErrInvalid) {
		t.Errorf("10 bytes a second: %v", err)
	}
}

// What is decided about a store is an event by itself.
func TestDutyIsAnEvent(t *testing.T) {
	b := newStockedBench(t)
	var id layout.StoreID
	for id = range b.stores {
		break
	}
	b.must(&setDuty{Request: testRequest(50), Duty: Duty{Store: id, State: DutyOut, Reason: "away for 10m"}})
	events, _, err := lastEvents(b.db, 10)
	if err != nil || len(events) != 1 || events[0].Store != id || events[0].Node != b.stores[id].Node || events[0].Reason != "out: away for 10m" {
		t.Errorf("%+v, %v", events, err)
	}
}
