package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The results section of a document stands between these lines.
const (
	sectionBegin = "<!-- results: written by make bench-report -->"
	sectionEnd   = "<!-- end of results -->"
)

// printReport writes all tables as Markdown.
func printReport(w io.Writer, res *results) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s.\n\n", res.machine)
	for _, system := range res.systems() {
		printRows(&b, res, system)
	}
	printGoals(&b, res)
	printMicro(&b, res.micro())
	_, err := w.Write(b.Bytes())
	return err
}

// printRows writes the table of one store.
func printRows(w io.Writer, res *results, system string) {
	if len(res.systems()) > 1 {
		fmt.Fprintf(w, "%s:\n\n", system)
	}
	fmt.Fprintln(w, "| work | operations/s | MiB/s | p50 ms | p99 ms | longest gap ms | CPU-s/GiB nodes | CPU-ms/operation nodes | CPU-s/GiB client | RSS MiB | repeats |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|")
	eachRow(res, func(r row, name string) {
		reports := res.of(system, name)
		if len(reports) == 0 {
			return
		}
		f := figuresOf(r, reports)
		if f.errors > 0 {
			name += fmt.Sprintf(" (%d requests failed and were repeated)", f.errors)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %d |\n", name, f.rate.spread(), f.mib.spread(), f.p50.number(),
			f.p99.number(), f.gap.number(), f.nodesPerGiB.spread(), f.nodesPerOp.number(), f.clientGiB.number(), f.rss.number(), len(reports))
	})
	fmt.Fprintln(w)
}

// eachRow calls f with all rows in order, by the name they have in res.
func eachRow(res *results, f func(r row, name string)) {
	for _, p := range phases() {
		for _, r := range p.rows {
			f(r, r.name(p.tls || res.machine.TLS))
		}
	}
}

// printGoals holds the figures against the goals, which are for plain HTTP
// between the nodes.
func printGoals(w io.Writer, res *results) {
	found := map[string]figures{}
	eachRow(res, func(r row, name string) {
		if reports := res.of(own, name); len(reports) > 0 {
			found[name] = figuresOf(r, reports)
		}
	})
	if len(found) == 0 || res.machine.TLS {
		return
	}
	fmt.Fprintln(w, "| work | target | measured | |\n|---|---|---|---|")
	for _, g := range goals {
		if f, ok := found[g.row]; ok {
			wanted, measured, verdict := g.lines(f)
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", g.row, wanted, measured, verdict)
		}
	}
	healthy, degraded := found["get 256MiB × 4"].mib.median(), found["get 256MiB × 4, 2 stopped"].mib.median()
	if healthy > 0 && degraded > 0 {
		verdict := "met"
		if degraded < 0.8*healthy {
			verdict = "missed"
		}
		fmt.Fprintf(w, "| get 256MiB × 4, 2 stopped | ≥ 0.8 × healthy | %.2f × healthy | %s |\n", degraded/healthy, verdict)
	}
	fmt.Fprintln(w)
}

// printMicro writes the medians of Go's benchmarks.
func printMicro(w io.Writer, list []micro) {
	if len(list) == 0 {
		return
	}
	type key struct{ pkg, name string }
	var order []key
	values := map[key]map[string]series{}
	for _, m := range list {
		k := key{strings.TrimPrefix(m.Package, "partstore/"), m.Name}
		if values[k] == nil {
			order, values[k] = append(order, k), map[string]series{}
		}
		for _, unit := range slices.Sorted(maps.Keys(m.Values)) {
			s := append(values[k][unit], m.Values[unit])
			slices.Sort(s)
			values[k][unit] = s
		}
	}
	fmt.Fprintf(w, "`go test -run '^$' -bench . -benchtime %s %s`:\n\n", microTime, strings.Join(microPackages, " "))
	fmt.Fprintln(w, "| benchmark | us/op | MB/s | CPU-s/GiB |\n|---|---|---|---|")
	for _, k := range order {
		v := values[k]
		us := make(series, 0, len(v["ns/op"]))
		for _, ns := range v["ns/op"] {
			us = append(us, ns/1000)
		}
		fmt.Fprintf(w, "| %s %s | %s | %s | %s |\n", k.pkg, k.name, us.number(), v["mb/s"].spread(), v["cpu-s/gib"].spread())
	}
	fmt.Fprintln(w)
}

// writeReport puts the tables and the charts into the results section of a
// document, and the charts into a directory of the document's name.
func writeReport(path string, res *results) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(doc), sectionBegin+"\n")
	_, after, ended := strings.Cut(rest, sectionEnd)
	if !found || !ended {
		return fmt.Errorf("%s has no section between %q and %q", path, sectionBegin, sectionEnd)
	}
	charts := strings.TrimSuffix(path, filepath.Ext(path))
	if err := os.MkdirAll(charts, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(before + sectionBegin + "\n\n")
	for _, c := range charted(res) {
		if err := os.WriteFile(filepath.Join(charts, c.file), c.svg(), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&b, "![%s](%s/%s)\n\n", c.title, filepath.Base(charts), c.file)
	}
	if err := printReport(&b, res); err != nil {
		return err
	}
	b.WriteString(sectionEnd + after)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
