package main

import (
	"fmt"
	"slices"
)

// series is one figure over all repeats.
type series []float64

// over collects a figure of all reports; those without it are left out.
func over(reports []report, figure func(report) float64) (s series) {
	for _, r := range reports {
		if v := figure(r); v != 0 {
			s = append(s, v)
		}
	}
	slices.Sort(s)
	return s
}

func (s series) median() float64 {
	switch n := len(s); {
	case n == 0:
		return 0
	case n%2 == 1:
		return s[n/2]
	default:
		return (s[n/2-1] + s[n/2]) / 2
	}
}

// least and most are the ends of the spread.
func (s series) least() float64 { return s[0] }
func (s series) most() float64  { return s[len(s)-1] }

// number writes the median with three significant digits, or a dash.
func (s series) number() string {
	if len(s) == 0 {
		return "-"
	}
	return digits(s.median())
}

// spread writes the median and how far the repeats lie apart, in percent of it.
func (s series) spread() string {
	if len(s) < 2 {
		return s.number()
	}
	return fmt.Sprintf("%s ±%.0f%%", s.number(), 50*(s.most()-s.least())/s.median())
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// figures are what the tables show of a row.
type figures struct {
	rate, mib, p50, p99, gap           series
	nodesPerGiB, nodesPerOp, clientGiB series // CPU; seconds, and milliseconds an operation
	rss                                series // MiB, of the largest node
	errors                             int64  // failed requests, of all repeats together
}

func figuresOf(r row, reports []report) figures {
	op := func(rep report) operation { return rep.Operations[r.operation] }
	var errors int64
	for _, rep := range reports {
		errors += rep.Errors
	}
	return figures{
		errors:      errors,
		rate:        over(reports, func(rep report) float64 { return op(rep).PerSecond }),
		mib:         over(reports, func(rep report) float64 { return rep.BytesPerSecond / (1 << 20) }),
		p50:         over(reports, func(rep report) float64 { return op(rep).P50 }),
		p99:         over(reports, func(rep report) float64 { return op(rep).P99 }),
		gap:         over(reports, func(rep report) float64 { return rep.LongestGap }),
		nodesPerGiB: over(reports, func(rep report) float64 { return rep.NodesPerGiB }),
		nodesPerOp: over(reports, func(rep report) float64 {
			if op(rep).Count == 0 {
				return 0
			}
			return 1000 * rep.NodesCPU / float64(op(rep).Count)
		}),
		clientGiB: over(reports, func(rep report) float64 { return rep.ClientPerGiB }),
		rss: over(reports, func(rep report) float64 {
			var peak int64
			for _, n := range rep.Nodes {
				peak = max(peak, n.PeakRSSBytes)
			}
			return float64(peak) / (1 << 20)
		}),
	}
}
