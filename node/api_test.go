package node

import "testing"

// A node is quiet while no client waits, and has not lately.
func TestRequestsAreQuiet(t *testing.T) {
	var q requests
	if !q.quiet() {
		t.Error("not quiet before the first")
	}
	for range 2 {
		if !q.begin() || q.quiet() {
			t.Error("quiet with a request")
		}
	}
	if q.end(); q.quiet() {
		t.Error("quiet with one")
	}
	if q.end(); q.quiet() {
		t.Error("quiet just after the last")
	}
	q.last = q.last.Add(-2 * quietAfter)
	if !q.quiet() {
		t.Error("not quiet long after the last")
	}
}
