package metadata

import (
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
		{RepairChange{Verb: RepairThrottle, Bandwidth: 5 << 20}, RepairPolicy{Bandwidth: 5 << 20}, 1},
		{RepairChange{Verb: RepairPause}, RepairPolicy{Paused: true, Bandwidth: 5 << 20}, 2},
		{RepairChange{Verb: RepairPause}, RepairPolicy{Paused: true, Bandwidth: 5 << 20}, 2},
		{RepairChange{Verb: RepairThrottle}, RepairPolicy{Paused: true}, 3},
		{RepairChange{Verb: RepairResume}, RepairPolicy{}, 4},
		{RepairChange{Verb: RepairThrottleTotal, Bandwidth: 9 << 20}, RepairPolicy{Total: 9 << 20}, 5},
		{RepairChange{Verb: RepairThrottle, Bandwidth: 7}, RepairPolicy{Total: 9 << 20, Bandwidth: 7}, 6},
		{RepairChange{Verb: RepairThrottleTotal}, RepairPolicy{Bandwidth: 7}, 7},
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
	b.want(&changeRepair{Request: testRequest(91), Change: RepairChange{Verb: RepairThrottle, Bandwidth: MaxRepairBandwidth + 1}}, ErrInvalid)
	b.want(&changeRepair{Request: testRequest(92), Change: RepairChange{Verb: RepairThrottleTotal, Bandwidth: MaxRepairBandwidth + 1}}, ErrInvalid)
}

// A policy without a total is written as it was before there was one.
func TestPolicyWithoutTotalIsStable(t *testing.T) {
	for _, row := range []struct {
		bytes  string
		policy RepairPolicy
	}{
		{"\x01\x05", RepairPolicy{Paused: true, Bandwidth: 5}},
		{"\x00\x05\x07", RepairPolicy{Bandwidth: 5, Total: 7}},
	} {
		got, err := encodeValue(row.policy.code)
		var back RepairPolicy
		if err != nil || string(got) != row.bytes || decodeValue([]byte(row.bytes), back.code) != nil || back != row.policy {
			t.Errorf("%+v is %x, %v, and %x is %+v", row.policy, got, err, row.bytes, back)
		}
	}
	if err := decodeValue([]byte("\x00\x05\x00"), new(RepairPolicy).code); err == nil {
		t.Error("a total of 0 has two forms")
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
