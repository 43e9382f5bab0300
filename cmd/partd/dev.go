package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"partstore/internal/embedded"
	"partstore/internal/layout"
)

// devReadyTimeout bounds the wait for a fresh cluster to take its first request,
// which a machine with much else to do may need minutes for.
const devReadyTimeout = 5 * time.Minute

func newDev() *cobra.Command {
	var opts devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster in this process, to try it and to test against it",
		Long: `Dev runs a whole cluster on loopback addresses: real disks, real Raft, real
sockets, one process. It prints the endpoints, an access key and a first
request to copy, and takes commands from standard input; "help" lists them.

Without --data everything is removed at exit. With --data the same cluster
comes back when started again: its data, its access key and, if they are free,
its ports.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.nodesGiven, opts.schemeGiven = cmd.Flags().Changed("nodes"), cmd.Flags().Changed("scheme")
			return runDev(cmd.Context(), opts, stdio{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()})
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&opts.nodes, "nodes", 6, "number of `nodes`")
	flags.StringVar(&opts.scheme, "scheme", "4+2", "data and parity `shards` of new parts")
	flags.StringVar(&opts.data, "data", "", "keep everything in `directory`")
	flags.StringVarP(&opts.output, "output", "o", "text", "`form` of the output: text, or json for one event a line")
	flags.TextVar(&opts.logLevel, "log-level", slog.LevelWarn, "least `level` that is logged on standard error")
	return cmd
}

type devOptions struct {
	nodes       int
	scheme      string
	data        string
	output      string
	logLevel    slog.Level
	nodesGiven  bool
	schemeGiven bool
}

// runDev starts the cluster, tells the user, and obeys commands until ctx ends.
func runDev(ctx context.Context, opts devOptions, std stdio) (err error) {
	printer, err := newDevPrinter(opts.output, std.out)
	if err != nil {
		return err
	}
	dir, release, err := devDirectory(opts.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	state, err := openDevState(dir, opts)
	if err != nil {
		return err
	}
	cluster, err := embedded.Start(ctx, embedded.Config{
		Nodes:           state.Nodes,
		Scheme:          state.Scheme,
		Dir:             dir,
		AccessKeyID:     state.AccessKeyID,
		SecretAccessKey: state.SecretAccessKey,
		ClusterSecret:   state.ClusterSecret,
		SealingKeys:     state.SealingKeys,
		Logger:          newLogger(std.err, "text", opts.logLevel),
	})
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()

	if err := waitReady(ctx, cluster); err != nil {
		return ignoreEnd(ctx, err)
	}
	console := newDevConsole(cluster, state, printer)
	printer.ready(console.report(), dir, opts.data != "")
	console.obey(ctx, lines(std.in))
	return nil
}

func waitReady(ctx context.Context, cluster *embedded.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, devReadyTimeout)
	defer cancel()
	return cluster.WaitReady(ctx)
}

// ignoreEnd drops an error that only says that the user ended the command.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// devDirectory returns the directory to work in and what to do with it in the
// end: nothing to one the user named, removal to one of our own.
func devDirectory(data string) (dir string, release func() error, err error) {
	if data != "" {
		return data, func() error { return nil }, os.MkdirAll(data, 0o700)
	}
	dir, err = os.MkdirTemp("", "partd-dev-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// lines sends each line of r until r ends. Nothing can interrupt a read of
// standard input, so the goroutine may live as long as the process.
func lines(r io.Reader) <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(r); s.Scan(); {
			c <- s.Text()
		}
	}()
	return c
}

func parseDevScheme(s string) (layout.Scheme, error) {
	scheme, err := layout.ParseScheme(s)
	if err != nil {
		return scheme, fmt.Errorf("%w: %w", errUsage, err)
	}
	return scheme, nil
}
