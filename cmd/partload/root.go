package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/spf13/cobra"
)

const rootHelp = `Put load on a Partstore cluster, or on any store that speaks S3, through one or
more endpoints and verify every byte that comes back. The credential comes from the flags or, better, from
PARTSTORE_ACCESS_KEY_ID and PARTSTORE_SECRET_ACCESS_KEY.

Workloads:
  mixed           whole life of uploads: initiate, put, overwrite, list, complete,
                  read whole and in ranges, abort, delete; probes for false answers
  put             part PUTs into uploads that are aborted afterwards
  upload          whole uploads of --parts parts, --parallel at a time; the objects are
                  deleted afterwards
  get             whole GETs of objects made beforehand
  range           GETs of ranges of --range-size, at random, of objects made beforehand
  initiate-abort  uploads that are opened and aborted at once
  list-parts      full listings of one upload of --parts parts made beforehand

Exit status:
  0  done, nothing wrong
  1  findings (wrong bytes, lost parts, false answers), or the run failed
  2  usage`

var errUsage = errors.New("usage")

// run executes one command line and returns its exit status.
func run(ctx context.Context, args []string, out, stderr io.Writer, getenv func(string) string) int {
	cmd := newRoot(out, stderr, getenv)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "partload:", err)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	return 1
}

func newRoot(out, stderr io.Writer, getenv func(string) string) *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use:           "partload --endpoint URL [flags]",
		Short:         "Load and verify a Partstore cluster",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: no arguments expected, got %q", errUsage, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.complete(getenv); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			report, err := newLoad(cfg).run(cmd.Context(), newProgress(stderr, isTerminal(stderr)))
			if err != nil {
				return err
			}
			if err := report.write(out, cfg.output); err != nil {
				return err
			}
			return report.verdict(cfg.strict)
		},
	}
	cmd.SetOut(out)
	cmd.SetErr(stderr)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	f := cmd.Flags()
	f.StringArrayVar(&cfg.endpoints, "endpoint", nil, "`URL` of a node, such as http://127.0.0.1:7070; repeat for several")
	f.StringVar(&cfg.accessKeyID, "access-key-id", "", "access key `ID`")
	f.StringVar(&cfg.secretAccessKey, "secret-access-key", "", "its `secret`; the environment hides it better")
	f.StringVar(&cfg.dialect, "dialect", "qingstor", "API of the endpoints: qingstor or s3")
	f.StringVar(&cfg.region, "region", "us-east-1", "`region` in the signatures of s3")
	f.StringVar(&cfg.bucket, "bucket", "partload", "bucket, created if absent")
	f.StringVar(&cfg.workload, "workload", "mixed", "mixed, put, upload, get, range, initiate-abort or list-parts")
	f.IntVar(&cfg.clients, "clients", 8, "parallel clients")
	f.DurationVar(&cfg.duration, "duration", 0, "stop after this `time` (default 10s without --ops)")
	f.Int64Var(&cfg.ops, "ops", 0, "stop after this `number` of operations of the workload")
	f.StringVar(&cfg.partSize, "part-size", "5MiB", "size of parts, or a mix: `SIZE[:WEIGHT],...` such as 64KiB:8,5MiB:1")
	f.IntVar(&cfg.parts, "parts", 4, "parts of an upload, at most")
	f.IntVar(&cfg.parallel, "parallel", 1, "parts put at a time by each client of upload, and for list-parts")
	f.IntVar(&cfg.objects, "objects", 4, "objects that get and range read")
	f.StringVar(&cfg.rangeSize, "range-size", "1MiB", "length of ranges; at most, in mixed")
	f.Uint64Var(&cfg.seed, "seed", rand.Uint64(), "seed of all content and choices")
	f.IntVar(&cfg.retries, "retries", 10, "times an operation is tried again after a 503 or a broken connection")
	f.DurationVar(&cfg.timeout, "timeout", cfgTimeout, "longest `time` one request may take")
	f.BoolVar(&cfg.strict, "strict", false, "any failed request is fatal too")
	f.IntSliceVar(&cfg.serverPIDs, "server-pid", nil, "process `ID` of a node on this machine, to report its CPU time and memory; repeat for several")
	f.StringVarP(&cfg.output, "output", "o", "table", "`form` of the report: table, or json")
	f.Lookup("seed").DefValue = "random"
	return cmd
}

// isTerminal reports whether w is a terminal somebody watches.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
