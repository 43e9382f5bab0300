package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"partstore/internal/processes"
)

// report is what is kept of partload's.
type report struct {
	Operations map[string]operation `json:"operations"`

	BytesPerSecond float64 `json:"bytes_per_second"`
	LongestGap     float64 `json:"longest_gap_ms"`
	Errors         int64   `json:"errors"`
	ClientPerGiB   float64 `json:"client_cpu_seconds_per_gib"`
	NodesPerGiB    float64 `json:"servers_cpu_seconds_per_gib"`
	NodesCPU       float64 `json:"servers_cpu_seconds"`
	Seconds        float64 `json:"seconds"`
	Nodes          []struct {
		PeakRSSBytes int64 `json:"peak_rss_bytes"`
	} `json:"servers"`
}

type operation struct {
	Count     int64   `json:"count"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// own is what results call this project's store.
const own = "partstore"

// readyTimeout bounds the formation of a cluster, rowTimeout what a row takes
// beyond its measured time: objects are made, and deleted.
const (
	readyTimeout = 60 * time.Second
	rowTimeout   = 5 * time.Minute
)

// measure measures what is missing of a phase. A failure costs its row alone:
// the others get a cluster that knows nothing of it.
func (p phase) measure(ctx context.Context, o options, repeat int, res *results) (failures []error) {
	fail := func(system string, r row, err error) {
		err = fmt.Errorf("%s, %s, repeat %d: %w", system, r.name(p.encrypted(o)), repeat, err)
		fmt.Fprintln(os.Stderr, "bench:", err)
		failures = append(failures, err)
	}
	missing := slices.DeleteFunc(slices.Clone(p.rows), func(r row) bool { return res.has(own, r.name(p.encrypted(o)), repeat) })
	for len(missing) > 0 && ctx.Err() == nil {
		done, err := p.measureOn(ctx, o, missing, repeat, res)
		if err != nil {
			fail(own, missing[done], err)
			done++
		}
		missing = missing[done:]
	}
	for _, r := range p.rows {
		if !o.other.takes(p, r) || res.has(o.other.name, r.name(false), repeat) || ctx.Err() != nil {
			continue
		}
		rep, err := load(ctx, o, r, o.other.target())
		if err != nil {
			fail(o.other.name, r, err)
		} else if err := res.add(record{System: o.other.name, Row: r.name(false), Repeat: repeat, Report: &rep}); err != nil {
			fail(o.other.name, r, err)
		}
	}
	return failures
}

func (p phase) encrypted(o options) bool { return p.tls || o.tls }

// measureOn measures rows on a cluster of their own and returns how many it
// measured before the error.
func (p phase) measureOn(ctx context.Context, o options, rows []row, repeat int, res *results) (done int, err error) {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(o.dir, "cluster-")
	if err != nil {
		return 0, err
	}
	// Rows that are measured stay so, whatever happens while tidying up.
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench: tidy up:", err)
		}
	}()
	starting, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	env := []string{"PARTSTORE_LOG_LEVEL=warn", "PARTSTORE_PEER_TLS=off"}
	if p.encrypted(o) {
		env[1] = "PARTSTORE_PEER_TLS=on"
	}
	c, err := processes.Start(starting, processes.Config{Partd: filepath.Join(o.bin, "partd"), Dir: dir, Nodes: nodes, Env: env})
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := c.Close(); closeErr != nil {
			fmt.Fprintln(os.Stderr, "bench: end of the cluster:", closeErr)
		}
	}()
	for _, r := range rows {
		rep, err := measureRow(ctx, o, c, r)
		if err != nil {
			return done, err
		}
		if err := res.add(record{System: own, Row: r.name(p.encrypted(o)), Repeat: repeat, Report: &rep}); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// target is what partload is pointed at.
type target struct {
	dialect           string
	endpoints         []string
	pids              []int
	accessKey, secret string
}

// measureRow measures a row on the nodes that meet no trouble.
func measureRow(ctx context.Context, o options, c *processes.Cluster, r row) (rep report, err error) {
	finding, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	victims, err := r.trouble.victims(finding, c)
	if err != nil {
		return rep, err
	}
	to := target{dialect: "qingstor", accessKey: c.AccessKeyID, secret: c.SecretAccessKey}
	for i := 1; i <= nodes; i++ {
		if !slices.Contains(victims, i) {
			to.endpoints, to.pids = append(to.endpoints, c.Endpoint(i)), append(to.pids, c.PID(i))
		}
	}
	loading, done := context.WithCancel(ctx)
	defer done()
	struck := make(chan error, 1)
	go func() { struck <- r.trouble.strike(loading, c, victims, o.duration) }()
	rep, err = load(ctx, o, r, to)
	done()
	return rep, errors.Join(err, <-struck, r.trouble.end(c, victims))
}

// load runs partload.
func load(ctx context.Context, o options, r row, to target) (rep report, err error) {
	duration := o.duration * time.Duration(max(r.trouble.longer, 1))
	ctx, cancel := context.WithTimeout(ctx, duration+rowTimeout)
	defer cancel()
	args := []string{
		"--dialect", to.dialect, "--workload", r.workload, "--part-size", r.partSize, "--parts", strconv.Itoa(r.parts),
		"--clients", strconv.Itoa(r.clients), "--objects", strconv.Itoa(max(r.objects, 1)), "--parallel", strconv.Itoa(max(r.parallel, 1)),
		"--duration", duration.String(), "--output", "json",
	}
	if r.rangeSize != "" {
		args = append(args, "--range-size", r.rangeSize)
	}
	for _, e := range to.endpoints {
		args = append(args, "--endpoint", e)
	}
	for _, pid := range to.pids {
		if err := resetPeakRSS(pid); err != nil {
			return rep, err
		}
		args = append(args, "--server-pid", strconv.Itoa(pid))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "partload"), args...)
	cmd.Env = append(os.Environ(), "PARTSTORE_ACCESS_KEY_ID="+to.accessKey, "PARTSTORE_SECRET_ACCESS_KEY="+to.secret)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return rep, fmt.Errorf("partload: %w\n%s%s", err, errs.Bytes(), out.Bytes())
	}
	return rep, json.Unmarshal(out.Bytes(), &rep)
}

// resetPeakRSS makes the kernel forget the largest resident set so far.
func resetPeakRSS(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// otherStore is a store that speaks S3, to be measured in the same run. Somebody
// else starts and stops it; its credential is in BENCH_S3_ACCESS_KEY_ID and
// BENCH_S3_SECRET_ACCESS_KEY.
type otherStore struct {
	name, endpoints, pids string
}

func (s *otherStore) flags() {
	flag.StringVar(&s.endpoints, "s3", "", "comma-separated `URLs` of a store that speaks S3, measured in the same run")
	flag.StringVar(&s.name, "s3-name", "s3", "what the tables call it")
	flag.StringVar(&s.pids, "s3-pids", "", "comma-separated process `IDs` of that store on this machine, for its CPU time and memory")
}

// takes reports whether the row makes sense there: nothing happens to its nodes.
func (s otherStore) takes(p phase, r row) bool {
	return s.endpoints != "" && !p.tls && r.trouble.kind == ""
}

func (s otherStore) target() target {
	t := target{
		dialect: "s3", endpoints: strings.Split(s.endpoints, ","),
		accessKey: os.Getenv("BENCH_S3_ACCESS_KEY_ID"), secret: os.Getenv("BENCH_S3_SECRET_ACCESS_KEY"),
	}
	for text := range strings.SplitSeq(s.pids, ",") {
		if pid, err := strconv.Atoi(text); err == nil {
			t.pids = append(t.pids, pid)
		}
	}
	return t
}
