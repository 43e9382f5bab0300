package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitDone  = 0
	exitError = 1
	exitUsage = 2
)

// errUsage reports a command line that cannot be understood.
var errUsage = errors.New("usage")

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns its exit status. The first SIGTERM
// or SIGINT ends ctx; the second ends the process at once.
func run(ctx context.Context, args []string, std stdio, environ []string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // back to the default action

	root := newRoot(std, environ)
	root.SetArgs(args)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage):
		fmt.Fprintln(std.err, "partd:", err)
		return exitUsage
	default:
		fmt.Fprintln(std.err, "partd:", err)
		return exitError
	}
}

func newRoot(std stdio, environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "partd",
		Short: "Partstore server",
		Long: `Partd runs a node of a Partstore cluster.

Exit status: 0 done, 1 error, 2 usage.`,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(
		newServe(environ),
		newConfig(environ),
		newDev(),
		newHealthcheck(environ),
		newInspect(),
		newVersion(),
	)
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: unexpected %q; see %q", errUsage, args[0], cmd.CommandPath()+" --help")
	}
	return nil
}
