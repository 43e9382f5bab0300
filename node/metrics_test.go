package node

import (
	"testing"

	"partstore/internal/layout"
)

// A node that has not found its cluster yet is scraped like any other.
func TestMetricsBeforeTheRegistryIsThere(t *testing.T) {
	n := &Node{opened: make(chan struct{})}
	n.view.Store(&layout.View{})
	if _, err := newMetrics(n).registry.Gather(); err != nil {
		t.Error(err)
	}
}
