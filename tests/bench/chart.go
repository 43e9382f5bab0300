package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// chart is horizontal bars in groups, with a mark for the spread of each.
type chart struct {
	file, title, unit string
	groups            []group
}

type group struct {
	name string
	bars []bar
}

type bar struct {
	name string
	series
}

// charted are the charts of the results; those without figures are left out.
func charted(res *results) (charts []chart) {
	throughput := chart{file: "throughput.svg", title: "Throughput", unit: "MiB/s"}
	cost := chart{file: "cost.svg", title: "CPU time of all nodes, 1 MiB and more at a time", unit: "CPU-s/GiB"}
	for _, system := range res.systems() {
		eachRow(res, func(r row, name string) {
			f := figuresOf(r, res.of(system, name))
			kind := r.workload
			if len(res.systems()) > 1 {
				kind = system + ", " + kind
			}
			if r.trouble.kind == frozen || r.trouble.kind == killed {
				return
			}
			throughput.add(kind, strings.TrimPrefix(name, r.workload+" "), f.mib)
			if r.partSize != "64KiB" && r.rangeSize != "64KiB" { // counted by operation
				cost.add(kind, strings.TrimPrefix(name, r.workload+" "), f.nodesPerGiB)
			}
		})
	}
	for _, c := range []chart{throughput, cost} {
		if len(c.groups) > 0 {
			charts = append(charts, c)
		}
	}
	return charts
}

func (c *chart) add(kind, name string, s series) {
	if len(s) == 0 {
		return
	}
	for i := range c.groups {
		if c.groups[i].name == kind {
			c.groups[i].bars = append(c.groups[i].bars, bar{name, s})
			return
		}
	}
	c.groups = append(c.groups, group{kind, []bar{{name, s}}})
}

// Measures of a chart, in pixels.
const (
	chartWidth = 760
	labelWidth = 230
	valueWidth = 70
	barHeight  = 14
	barStep    = 20
	groupGap   = 14
	titleSpace = 40
)

// chartStyle has colours for light and for dark pages; the ground is the page's.
const chartStyle = `
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .group { font-weight: 600 }
  .bar { fill: #2f6fb3 }
  .spread { stroke: #24292f; stroke-width: 1.5 }
  .grid { stroke: #8c959f; stroke-opacity: .35 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .bar { fill: #5aa2e8 }
    .spread { stroke: #e6edf3 }
  }
`

// svg draws the chart.
func (c chart) svg() []byte {
	top := 0.0
	height := titleSpace
	for _, g := range c.groups {
		height += groupGap + barStep + len(g.bars)*barStep
		for _, b := range g.bars {
			top = max(top, b.most())
		}
	}
	height += barStep
	step := gridStep(top)
	top = step * math.Ceil(top/step)
	x := func(v float64) float64 { return labelWidth + v/top*(chartWidth-labelWidth-valueWidth) }

	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", chartWidth, height, chartWidth, height)
	fmt.Fprintf(&s, "<title>%s, %s</title>\n<style>%s</style>\n", escape(c.title), escape(c.unit), chartStyle)
	fmt.Fprintf(&s, `<text class="title" x="0" y="18">%s, %s</text>`+"\n", escape(c.title), escape(c.unit))
	for v := 0.0; v <= top; v += step {
		fmt.Fprintf(&s, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(v), x(v), titleSpace, height-barStep)
		fmt.Fprintf(&s, `<text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x(v), height-5, v)
	}
	y := titleSpace
	for _, g := range c.groups {
		y += groupGap
		fmt.Fprintf(&s, `<text class="group" x="0" y="%d">%s</text>`+"\n", y+11, escape(g.name))
		y += barStep
		for _, b := range g.bars {
			middle := y + barHeight/2
			fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+11, escape(b.name))
			fmt.Fprintf(&s, `<rect class="bar" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, labelWidth, y, x(b.median())-labelWidth, barHeight)
			fmt.Fprintf(&s, `<line class="spread" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(b.least()), x(b.most()), middle, middle)
			fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s</text>`+"\n", x(b.most())+6, y+11, b.number())
			y += barStep
		}
	}
	s.WriteString("</svg>\n")
	return []byte(s.String())
}

// gridStep is a round number that makes three to eight lines up to top.
func gridStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top)))
	switch {
	case top/step < 2:
		return step / 4
	case top/step < 5:
		return step / 2
	default:
		return step
	}
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
