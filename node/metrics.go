package node

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"partstore/metadata"
	"partstore/node/admin"
)

// metrics are the numbers a node shows. docs/operations.md explains each.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(n *Node) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "partstore_http_requests_total",
			Help: "Client requests by operation and status code.",
		}, []string{"op", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "partstore_http_request_duration_seconds",
			Help:    "Duration of client requests by operation.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"op"}),
	}
	m.registry.MustRegister(m.requests, m.duration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("partstore_registry_applied_index", "Highest log index this node's state machine has applied.", func() float64 {
		return float64(n.registryStatus().AppliedIndex)
	})
	m.gauge("partstore_registry_term", "Raft term of this node.", func() float64 {
		return float64(n.registryStatus().Term)
	})
	m.gauge("partstore_registry_is_leader", "1 if this node leads the registry.", func() float64 {
		s := n.registryStatus()
		if s.Leader == n.id {
			return 1
		}
		return 0
	})
	m.gauge("partstore_registry_room", "Room for the registry on this node's disk: 2 enough, 1 low, 0 none.", func() float64 {
		return map[string]float64{"enough": 2, "low": 1}[n.registryStatus().Room]
	})
	m.gauge("partstore_registry_digest_index", "Log index of this node's newest digest of its registry state; 0 before the first.", func() float64 {
		return float64(n.registryStatus().Digest.Index)
	})
	m.gauge("partstore_registry_digest_other", "Members whose digest for that index differs from this node's.", func() float64 {
		return float64(len(n.registryStatus().Digest.Other))
	})
	m.gauge("partstore_groups_not_whole", "Placement groups with a slot down, as this node sees it.", func() float64 {
		return float64(admin.CountGroups(n.currentView()).AtRisk)
	})
	m.ofStores(n, "partstore_store_free_bytes", "Room left in a store of this node.", func(s *localStore) float64 { return float64(n.room(s)) })
	m.gauge("partstore_stores_missing", "Directories for stores, and stores of this node, that it could not open.", func() float64 {
		if !n.isOpen() {
			return 0
		}
		return float64(len(n.lost))
	})
	m.counter("partstore_gc_freed_chunks_total", "Chunks freed on this node's stores.", func() int64 { return int64(n.freed().Chunks) })
	m.counter("partstore_gc_freed_bytes_total", "Payload bytes in the chunks freed on this node's stores.", func() int64 { return n.freed().Bytes })
	m.gauge("partstore_gc_waiting_chunks", "Chunks in the garbage queue that lie on this node's stores.", func() float64 {
		return float64(n.ownGarbage().Chunks)
	})
	m.gauge("partstore_gc_waiting_bytes", "Payload bytes in those chunks.", func() float64 {
		return float64(n.ownGarbage().Bytes)
	})
	m.gauge("partstore_gc_unnamed_chunks", "Chunks on this node's stores that no record named in the last pass, those being written included.", func() float64 {
		unnamed := 0
		for _, s := range n.ownStores() {
			last, _ := s.orphans.Last()
			unnamed += last.Unnamed - last.Freed
		}
		return float64(unnamed)
	})
	m.counter("partstore_gc_orphan_passes_total", "Passes over this node's stores, each of them, that looked for chunks no record names.", func() (all int64) {
		for _, s := range n.ownStores() {
			_, passes := s.orphans.Last()
			all += int64(passes)
		}
		return all
	})
	m.counter("partstore_heal_rebuilt_chunks_total", "Chunks rebuilt on this node's stores.", func() int64 { return int64(n.healed().AllRebuilt) })
	m.gauge("partstore_heal_making_chunks", "Chunks that this node's stores are making now; a part that is widened counts as one.", func() float64 {
		return float64(n.making.Making())
	})
	m.gauge("partstore_heal_at_once_chunks", "Bound of all nodes together for what they make at once, from the registry; 0 if there is none.", func() float64 {
		if !n.isOpen() {
			return 0
		}
		p, err := n.registry.RepairPolicy()
		if err != nil {
			return 0
		}
		return float64(p.AtOnce)
	})
	m.gauge("partstore_heal_left_chunks", "Chunks of this node's stores that the last pass found missing or damaged and could not heal.", func() float64 {
		return float64(n.healed().Left)
	})
	m.gauge("partstore_heal_narrow_parts", "Parts with their first chunk on this node's stores that the last pass found and left with a narrower scheme than the cluster's.", func() float64 {
		return float64(n.healed().Narrow)
	})
	m.counter("partstore_heal_widened_parts_total", "Such parts that this node gave the cluster's scheme.", func() int64 { return int64(n.healed().AllWidened) })
	m.counter("partstore_lifecycle_expired_total", "Objects this node deleted by lifecycle rules while it led.", n.lifecycle.expired.Load)
	m.counter("partstore_lifecycle_aborted_total", "Uploads this node aborted by lifecycle rules while it led.", n.lifecycle.aborted.Load)
	m.gauge("partstore_lifecycle_last_pass_seconds", "Unix time when this node last applied every lifecycle rule; 0 if it has not.", func() float64 {
		return float64(n.lifecycle.passed.Load())
	})
	m.gauge("partstore_scrub_unverified_seconds", "How long ago the oldest chunk of this node's stores may have been read in full; 0 before the first scrub began.", func() float64 {
		oldest := 0.0
		for _, s := range n.ownStores() {
			state := s.scrubbed()
			if state.Verified.IsZero() {
				state.Verified = state.Began
			}
			if !state.Verified.IsZero() {
				oldest = max(oldest, time.Since(state.Verified).Seconds())
			}
		}
		return oldest
	})
	m.ofStores(n, "partstore_store_fenced", "1 if a store of this node takes no writes after a failed sync.", func(s *localStore) float64 {
		if s.Fenced() != nil {
			return 1
		}
		return 0
	})
	return m
}

func (m *metrics) gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func (m *metrics) counter(name, help string, value func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
}

// ofStores adds a gauge with a value for each open store of the node.
func (m *metrics) ofStores(n *Node, name, help string, value func(*localStore) float64) {
	m.registry.MustRegister(storeGauge{n, prometheus.NewDesc(name, help, []string{"store"}, nil), value})
}

// storeGauge implements prometheus.Collector.
type storeGauge struct {
	node  *Node
	desc  *prometheus.Desc
	value func(*localStore) float64
}

func (g storeGauge) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

func (g storeGauge) Collect(ch chan<- prometheus.Metric) {
	for _, s := range g.node.ownStores() {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(s), s.ID().String())
	}
}

// request counts one finished client request.
func (m *metrics) request(op string, status int, took time.Duration) {
	m.requests.WithLabelValues(op, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(op).Observe(took.Seconds())
}

// isOpen reports whether registry and store are there.
func (n *Node) isOpen() bool {
	select {
	case <-n.opened:
		return true
	default:
		return false
	}
}

func (n *Node) registryStatus() metadata.Status {
	if !n.isOpen() {
		return metadata.Status{Node: n.id}
	}
	return n.registry.Status()
}

// room is what is left in a store, 0 if that is not known.
func (n *Node) room(s *localStore) int64 {
	space, err := s.Space()
	if err != nil {
		n.log.Debug("space of store", "err", err)
	}
	return space.FreeBytes
}
