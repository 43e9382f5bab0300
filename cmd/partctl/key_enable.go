package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newKeyEnable(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "enable KEY",
		Short: "Let a disabled access key in again",
		Args:  exactly("KEY"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			if err := c.SetKey(ctx, args[0], false); err != nil {
				return err
			}
			return e.printDone(args[0], "Enabled.")
		}),
	}
}
