package main

import (
	"fmt"
	"strings"
)

// goal is what is wanted of a row. Nothing fails if it is missed; the report
// says so.
type goal struct {
	row    string
	wanted []limit
}

// limit is the least or the most a figure should be.
type limit struct {
	what   string // with %s for the value
	bound  float64
	atMost bool
	figure func(figures) series
}

func rate(least float64) limit {
	return limit{"%s/s", least, false, func(f figures) series { return f.rate }}
}
func mib(least float64) limit {
	return limit{"%s MiB/s", least, false, func(f figures) series { return f.mib }}
}
func cpuGiB(most float64) limit {
	return limit{"%s CPU-s/GiB", most, true, func(f figures) series { return f.nodesPerGiB }}
}
func cpuOp(most float64) limit {
	return limit{"%s CPU-ms", most, true, func(f figures) series { return f.nodesPerOp }}
}
func p50(most float64) limit {
	return limit{"p50 %s ms", most, true, func(f figures) series { return f.p50 }}
}
func p99(most float64) limit {
	return limit{"p99 %s ms", most, true, func(f figures) series { return f.p99 }}
}
func gap(most float64) limit {
	return limit{"longest gap %s ms", most, true, func(f figures) series { return f.gap }}
}
func rss(most float64) limit {
	return limit{"RSS %s MiB", most, true, func(f figures) series { return f.rss }}
}

// goals are for six processes on one machine of two CPUs, without TLS.
var goals = []goal{
	{"put 64KiB × 1", []limit{p50(4)}},
	{"put 64KiB × 32", []limit{rate(1000), p99(80), cpuOp(1.8)}},
	{"put 1MiB × 8", []limit{mib(260), cpuGiB(5.5)}},
	{"put 5MiB × 8", []limit{mib(400), cpuGiB(3.9)}},
	{"put 16MiB × 8", []limit{mib(450), cpuGiB(3.5)}},
	{"put 64MiB × 8", []limit{mib(450), cpuGiB(3.5)}},
	{"put 64MiB × 32", []limit{rss(150)}},
	{"upload 32 × 8MiB, 4 in parallel", []limit{p50(800)}},
	{"get 256MiB × 4", []limit{mib(1536), cpuGiB(1.1)}},
	{"range 64KiB × 8", []limit{rate(2500)}},
	{"range 1MiB × 8", []limit{rate(800)}},
	{"initiate and abort × 32", []limit{rate(3000)}},
	{"list 10000 parts × 1", []limit{p50(60)}},
	{"put 1MiB × 8, 1 frozen", []limit{gap(600)}},
	{"put 1MiB × 8, 1 killed", []limit{gap(250)}},
}

// lines describes for each limit of the goal what is wanted and what there is.
func (g goal) lines(f figures) (wanted, measured, verdict string) {
	var wants, has, verdicts []string
	for _, l := range g.wanted {
		s, sign := l.figure(f), "≥"
		if l.atMost {
			sign = "≤"
		}
		wants = append(wants, fmt.Sprintf(l.what, fmt.Sprintf("%s %g", sign, l.bound)))
		has = append(has, fmt.Sprintf(l.what, s.number()))
		met := s.median() >= l.bound
		if l.atMost {
			met = s.median() <= l.bound
		}
		verdicts = append(verdicts, map[bool]string{true: "met", false: "missed"}[met && len(s) > 0])
	}
	return strings.Join(wants, ", "), strings.Join(has, ", "), strings.Join(verdicts, ", ")
}
