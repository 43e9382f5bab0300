package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestRangesHaveTheirSize(t *testing.T) {
	var wrong, ranges atomic.Int32
	f := &fakeServer{fault: func(_ http.ResponseWriter, r *http.Request) bool {
		if which := r.Header.Get("Range"); which != "" {
			var from, to int
			if _, err := fmt.Sscanf(which, "bytes=%d-%d", &from, &to); err != nil || to-from+1 != 1000 {
				wrong.Add(1)
			}
			ranges.Add(1)
		}
		return false
	}}
	status, _, stderr := partload(t, startFake(t, f), "--workload", "range", "--ops", "100", "--part-size", "3000", "--range-size", "1000B")
	if status != 0 || wrong.Load() != 0 || ranges.Load() < 100 {
		t.Errorf("status %d, %d of %d ranges have another size, stderr %q", status, wrong.Load(), ranges.Load(), stderr)
	}
}

// TestUploadPutsItsPartsInParallel lets no part finish alone.
func TestUploadPutsItsPartsInParallel(t *testing.T) {
	pair := make(chan struct{})
	f := &fakeServer{fault: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("part_number") {
			select {
			case pair <- struct{}{}:
			case <-pair:
			case <-time.After(time.Minute):
				t.Error("a part was put alone")
			}
		}
		return false
	}}
	status, r, stderr := partload(t, startFake(t, f), "--workload", "upload", "--ops", "30", "--clients", "1",
		"--part-size", "100", "--parts", "4", "--parallel", "2")
	if status != 0 || r.Operations["upload"].Count == 0 {
		t.Errorf("status %d, operations %v, stderr %q", status, r.Operations, stderr)
	}
}

func TestLongestGapIsReported(t *testing.T) {
	const pause = 50 * time.Millisecond
	f := &fakeServer{}
	f.fault = func(http.ResponseWriter, *http.Request) bool {
		if f.faults.Add(1) == 20 {
			time.Sleep(pause)
		}
		return false
	}
	_, r, _ := partload(t, startFake(t, f), "--workload", "initiate-abort", "--ops", "60", "--clients", "1")
	if least := float64(pause.Milliseconds()); r.LongestGap < least || r.LongestGap > 1000*r.Seconds {
		t.Errorf("longest gap is %v ms of %v s, want at least %v", r.LongestGap, r.Seconds, least)
	}
}
