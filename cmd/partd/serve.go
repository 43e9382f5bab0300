package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"partstore/node"
)

func newServe(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node",
		Long: `Serve runs one node until SIGTERM or SIGINT: then it stops being ready, hands
over leadership, finishes the requests in flight and exits 0. A second signal
ends it at once.

Settings come from flags, the environment (PARTSTORE_*) and one YAML file, in
this order of precedence.`,
		Args: noArgs,
	}
	addSettingFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		values, err := resolve(cmd.Flags(), environ)
		if err != nil {
			return err
		}
		cfg, err := build(values)
		if err != nil {
			return err
		}
		cfg.node.Logger = newLogger(cmd.ErrOrStderr(), cfg.logFormat, cfg.logLevel)
		return serve(cmd.Context(), cfg.node)
	}
	return cmd
}

func serve(ctx context.Context, cfg node.Config) error {
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	return node.Serve(ctx, n, func(ctx context.Context) (*node.Node, error) { return node.Open(ctx, cfg) })
}

func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
