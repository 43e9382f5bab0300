package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// report is the outcome of a run, as --output json prints it.
type report struct {
	Workload        string              `json:"workload"`
	Dialect         string              `json:"dialect"`
	Seed            uint64              `json:"seed"`
	Endpoints       []string            `json:"endpoints"`
	Clients         int                 `json:"clients"`
	PartSize        string              `json:"part_size"`
	Seconds         float64             `json:"seconds"`
	Interrupted     bool                `json:"interrupted"`
	Operations      map[string]opReport `json:"operations"`
	LongestGap      float64             `json:"longest_gap_ms"` // without any success
	Bytes           int64               `json:"bytes"`
	BytesPerSec     float64             `json:"bytes_per_second"`
	Errors          int64               `json:"errors"` // failed requests, most of them tried again
	Failed          int64               `json:"failed"` // operations given up
	Findings        map[string]int64    `json:"findings"`
	FindingDetails  []finding           `json:"finding_details"`
	ClientCPU       float64             `json:"client_cpu_seconds"`
	ClientCPUPerGiB float64             `json:"client_cpu_seconds_per_gib"`
	Servers         []serverReport      `json:"servers"`
	ServersCPU      float64             `json:"servers_cpu_seconds"`
	ServersPerGiB   float64             `json:"servers_cpu_seconds_per_gib"`
}

// usage remembers what processes had used when the measured time began.
type usage struct {
	began  time.Time
	client time.Duration
	pids   []int
	server []time.Duration
}

func startUsage(pids []int) (usage, error) {
	u := usage{pids: pids}
	for _, pid := range pids {
		cpu, err := processCPU(pid)
		if err != nil {
			return u, err
		}
		u.server = append(u.server, cpu)
	}
	u.began, u.client = time.Now(), ownCPU()
	return u, nil
}

func (l *load) report(u usage, interrupted bool) (*report, error) {
	took := time.Since(u.began)
	ops, gap := l.stats.report(took)
	r := &report{
		Workload: l.cfg.workload, Dialect: l.cfg.dialect, Seed: l.cfg.seed, Endpoints: l.cfg.endpoints, Clients: l.cfg.clients,
		PartSize: l.cfg.partSize, Seconds: took.Seconds(), Interrupted: interrupted,
		Operations: ops, LongestGap: float64(gap.Microseconds()) / 1000,
		ClientCPU: (ownCPU() - u.client).Seconds(),
		Servers:   []serverReport{},
	}
	r.Findings, r.FindingDetails, _ = l.findings.snapshot()
	for _, o := range r.Operations {
		r.Bytes += o.Bytes
		r.Failed += o.Failed
		for _, n := range o.Errors {
			r.Errors += n
		}
	}
	r.BytesPerSec = float64(r.Bytes) / r.Seconds
	r.ClientCPUPerGiB = perGiB(r.ClientCPU, r.Bytes)
	for i, pid := range u.pids {
		cpu, err := processCPU(pid)
		if err != nil {
			return nil, fmt.Errorf("a node ended during the run: %w", err)
		}
		rss, err := processPeakRSS(pid)
		if err != nil {
			return nil, err
		}
		used := (cpu - u.server[i]).Seconds()
		r.Servers = append(r.Servers, serverReport{PID: pid, CPUSeconds: used, CPUPerGiB: perGiB(used, r.Bytes), PeakRSSBytes: rss})
		r.ServersCPU += used
	}
	r.ServersPerGiB = perGiB(r.ServersCPU, r.Bytes)
	return r, nil
}

func perGiB(seconds float64, bytes int64) float64 {
	if bytes == 0 {
		return 0
	}
	return seconds / (float64(bytes) / (1 << 30))
}

// verdict returns what makes the exit status 1, or nil.
func (r *report) verdict(strict bool) error {
	var errs []error
	for _, k := range kinds {
		if n := r.Findings[k]; n > 0 {
			errs = append(errs, fmt.Errorf("%d × %s", n, k))
		}
	}
	if strict && r.Errors > 0 {
		errs = append(errs, fmt.Errorf("%d failed requests", r.Errors))
	}
	if r.Interrupted {
		errs = append(errs, errors.New("interrupted"))
	}
	return errors.Join(errs...)
}

func (r *report) write(w io.Writer, form string) error {
	if form == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"operation", "count", "per s", "MiB/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors", "failed"})
	for _, name := range slices.Sorted(maps.Keys(r.Operations)) {
		o := r.Operations[name]
		t.AppendRow(table.Row{
			name, o.Count, fmt.Sprintf("%.1f", o.PerSecond), fmt.Sprintf("%.1f", o.BytesPerSec/(1<<20)),
			fmt.Sprintf("%.2f", o.P50), fmt.Sprintf("%.2f", o.P95), fmt.Sprintf("%.2f", o.P99), fmt.Sprintf("%.2f", o.Max),
			describeErrors(o.Errors), o.Failed,
		})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s, %d clients, %d endpoints, %.1f s, longest gap %.0f ms, seed %d\n", t.Render(), r.Workload, r.Clients, len(r.Endpoints), r.Seconds, r.LongestGap, r.Seed)
	fmt.Fprintf(&b, "client CPU %.1f s (%.2f s/GiB)", r.ClientCPU, r.ClientCPUPerGiB)
	if len(r.Servers) > 0 {
		fmt.Fprintf(&b, ", nodes CPU %.1f s (%.2f s/GiB)", r.ServersCPU, r.ServersPerGiB)
	}
	fmt.Fprintln(&b)
	for _, s := range r.Servers {
		fmt.Fprintf(&b, "  process %d: CPU %.1f s (%.2f s/GiB), peak RSS %.0f MiB\n", s.PID, s.CPUSeconds, s.CPUPerGiB, float64(s.PeakRSSBytes)/(1<<20))
	}
	for _, k := range kinds {
		fmt.Fprintf(&b, "%s %d  ", k, r.Findings[k])
	}
	fmt.Fprintln(&b)
	for _, f := range r.FindingDetails {
		fmt.Fprintln(&b, " ", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func describeErrors(errors map[string]int64) string {
	var list []string
	for _, code := range slices.Sorted(maps.Keys(errors)) {
		list = append(list, fmt.Sprintf("%d × %s", errors[code], code))
	}
	return strings.Join(list, ", ")
}
