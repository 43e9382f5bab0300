package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sample is a report with the given rate of every operation.
func sample(rate float64) *report {
	r := &report{Operations: map[string]operation{}, BytesPerSecond: rate * (1 << 20), NodesPerGiB: 100 / rate, NodesCPU: 2, LongestGap: 10, Seconds: 1}
	for _, p := range phases() {
		for _, row := range p.rows {
			r.Operations[row.operation] = operation{Count: int64(rate), PerSecond: rate, P50: 1, P99: 2}
		}
	}
	return r
}

func open(t *testing.T, path string, fresh bool) *results {
	t.Helper()
	res, err := openResults(path, machine{Commit: "c0ffee", Duration: time.Second}, fresh)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Close() })
	return res
}

func add(t *testing.T, res *results, records ...record) {
	t.Helper()
	for _, r := range records {
		if err := res.add(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRowsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range phases() {
		for i, r := range p.rows {
			name := r.name(p.tls)
			if seen[name] {
				t.Errorf("two rows are called %q", name)
			}
			seen[name] = true
			if r.trouble.kind != "" && i != len(p.rows)-1 {
				t.Errorf("%q leaves its cluster in trouble and is not the last of its phase", name)
			}
		}
	}
	for _, g := range goals {
		if !seen[g.row] {
			t.Errorf("a goal is for %q, which is not measured", g.row)
		}
	}
}

func TestAnInterruptedRunGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "results.jsonl")
	res := open(t, path, false)
	add(t, res, record{System: own, Row: "a", Repeat: 1, Report: sample(1)}, record{System: own, Row: "b", Repeat: 1, Report: sample(2)})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		res := open(t, path, false)
		wantA, wantB := cut >= len(lines[0]+lines[1]), cut == len(whole)
		if res.has(own, "a", 1) != wantA || res.has(own, "b", 1) != wantB || res.has(own, "a", 2) || res.has("other", "a", 1) {
			t.Fatalf("cut after %d of %d bytes: a %v, b %v", cut, len(whole), res.has(own, "a", 1), res.has(own, "b", 1))
		}
		add(t, res, record{System: own, Row: "c", Repeat: 1, Report: sample(3)})
		if again := open(t, path, false); !again.has(own, "c", 1) || again.has(own, "a", 1) != wantA {
			t.Fatalf("cut after %d of %d bytes: what was added is not read back", cut, len(whole))
		}
	}
	if res := open(t, path, true); res.has(own, "c", 1) {
		t.Error("a fresh run has old figures")
	}
}

func TestMediansAndSpread(t *testing.T) {
	for want, values := range map[string][]float64{"-": nil, "5.00": {5}, "20.0 ±50%": {30, 10, 20}, "150 ±33%": {100, 200}} {
		var reports []report
		for _, v := range values {
			reports = append(reports, *sample(v))
		}
		if got := over(reports, func(r report) float64 { return r.BytesPerSecond / (1 << 20) }).spread(); got != want {
			t.Errorf("spread of %v = %q, want %q", values, got, want)
		}
	}
}

func TestGoalsAreJudged(t *testing.T) {
	g := goal{"put", []limit{rate(100), cpuGiB(1)}}
	for rate, want := range map[float64]string{100: "met, met", 99: "missed, missed", 200: "met, met"} {
		_, _, verdict := g.lines(figuresOf(row{operation: "put_part"}, []report{*sample(rate)}))
		if verdict != want {
			t.Errorf("at %v the goals are %q, want %q", rate, verdict, want)
		}
	}
	if _, _, verdict := g.lines(figures{}); verdict != "missed, missed" {
		t.Errorf("without figures the goals are %q", verdict)
	}
}

const goBench = `goos: linux
pkg: partstore/node/erasure
BenchmarkWrite-2         	      12	  95000000 ns/op	 706.41 MB/s	         2.500 CPU-s/GiB	    2048 B/op	      12 allocs/op
BenchmarkRead/degraded-2 	       3	  10000000 ns/op
PASS
ok  	partstore/node/erasure	3.2s
`

func TestGoBenchmarksAreRead(t *testing.T) {
	list := parseMicro([]byte(goBench))
	if len(list) != 2 || list[0].Package != "partstore/node/erasure" || list[0].Name != "Write" || list[1].Name != "Read/degraded" ||
		list[0].Values["mb/s"] != 706.41 || list[0].Values["cpu-s/gib"] != 2.5 || list[1].Values["ns/op"] != 1e7 {
		t.Errorf("parseMicro = %+v", list)
	}
}

// TestReportReplacesItsSection writes a report twice: what is around the section
// stays, and so does the result.
func TestReportReplacesItsSection(t *testing.T) {
	dir := t.TempDir()
	res := open(t, filepath.Join(dir, "results.jsonl"), false)
	for repeat, rate := range []float64{300, 310, 320} {
		for _, name := range []string{"put 5MiB × 8", "put 5MiB × 8, TLS", "get 256MiB × 4", "get 256MiB × 4, 2 stopped"} {
			rep := sample(rate)
			if name == "get 256MiB × 4" {
				rep.Errors = int64(repeat)
			}
			add(t, res, record{System: own, Row: name, Repeat: repeat + 1, Report: rep})
		}
	}
	add(t, res, record{System: "an <other>", Row: "put 5MiB × 8", Repeat: 1, Report: sample(100)}, record{Micro: parseMicro([]byte(goBench))})
	doc := filepath.Join(dir, "doc.md")
	if err := os.WriteFile(doc, []byte("before\n"+sectionBegin+"\nold\n"+sectionEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var last string
	for range 2 {
		if err := writeReport(doc, res); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, want := range []string{
			"before\n", "after\n", "commit c0ffee", "| put 5MiB × 8 | 310 ±3% | 310 ±3% |", "| put 5MiB × 8, TLS |", "an <other>:", "| get 256MiB × 4 (3 requests failed and were repeated) |",
			"| put 5MiB × 8 | ≥ 400 MiB/s, ≤ 3.9 CPU-s/GiB | 310 MiB/s, 0.32 CPU-s/GiB | missed, met |", "1.00 × healthy | met",
			"| node/erasure Write | 95000 | 706 | 2.50 |", "(doc/throughput.svg)", "(doc/cost.svg)",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the report lacks %q:\n%s", want, text)
			}
		}
		if strings.Contains(text, "old") || last != "" && text != last {
			t.Errorf("the section was not replaced:\n%s", text)
		}
		last = text
	}
	for _, name := range []string{"throughput.svg", "cost.svg"} {
		checkSVG(t, filepath.Join(dir, "doc", name))
	}
	if err := os.WriteFile(doc, []byte("no section"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(doc, res); err == nil {
		t.Error("a document without a section was accepted")
	}
}

func checkSVG(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bars := 0
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 5 {
		t.Errorf("%s has %d bars, want 5", path, bars)
	}
}

func TestFileSystemIsFound(t *testing.T) {
	if kind := fileSystem("/proc/self"); kind != "proc" {
		t.Errorf("/proc is on %q", kind)
	}
	if kind := fileSystem(filepath.Join(t.TempDir(), "not", "there")); kind == unknown {
		t.Error("the file system of a directory that is still to be made is unknown")
	}
}
