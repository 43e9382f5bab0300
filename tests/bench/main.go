// Bench measures a cluster of six real processes on this machine with partload,
// and single parts of it with Go's own benchmarks, and writes what came out:
// tables on standard output, and on demand into docs/benchmarks.md. It expects
// partd and partload in -bin, and keeps the nodes' data below -dir while it runs.
//
// Every figure is written to a file as soon as it is there. A run of the same
// commit takes up where the last one ended, and tries again what failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const nodes = 6

// options are the flags.
type options struct {
	bin, dir, results string
	duration          time.Duration
	repeats           int
	only              string
	tls, fresh, micro bool
	report            string
	other             otherStore
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of partd and partload")
	flag.StringVar(&o.dir, "dir", "bin/bench", "`directory` below which the nodes keep their data meanwhile")
	flag.StringVar(&o.results, "results", "bin/bench-results", "`directory` for the figures, a file for each commit")
	flag.DurationVar(&o.duration, "duration", 3*time.Second, "`time` for each row")
	flag.IntVar(&o.repeats, "repeats", 3, "how `often` each row is measured")
	flag.StringVar(&o.only, "only", "", "only phases whose name contains `text`")
	flag.BoolVar(&o.tls, "tls", false, "mutual TLS between the nodes in all rows")
	flag.BoolVar(&o.fresh, "fresh", false, "forget the figures this commit has already")
	flag.BoolVar(&o.micro, "micro", true, "run Go's benchmarks too")
	flag.StringVar(&o.report, "report", "", "write the results section and charts into this Markdown `file`")
	o.other.flags()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures what is missing and reports what there is, even if some of it
// could not be measured.
func run(ctx context.Context, o options) (err error) {
	m := examineMachine(ctx, o)
	path := filepath.Join(o.results, m.fileName(o))
	res, err := openResults(path, m, o.fresh || m.Dirty)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	failures := measureAll(ctx, o, res)
	if ctx.Err() != nil {
		failures = append(failures, fmt.Errorf("interrupted; run again to go on from %s", path))
	}
	if err := printReport(os.Stdout, res); err != nil {
		return err
	}
	if o.report != "" {
		failures = append(failures, writeReport(o.report, res))
	}
	return errors.Join(failures...)
}

// measureAll goes through the whole matrix once for each repeat, so that the
// spread has the drift of the machine in it.
func measureAll(ctx context.Context, o options, res *results) (failures []error) {
	for repeat := 1; repeat <= o.repeats; repeat++ {
		for _, p := range phases() {
			if strings.Contains(p.name, o.only) && ctx.Err() == nil {
				failures = append(failures, p.measure(ctx, o, repeat, res)...)
			}
		}
	}
	if o.micro && o.only == "" && ctx.Err() == nil {
		if err := runMicro(ctx, o, res); err != nil {
			failures = append(failures, err)
		}
	}
	return failures
}
