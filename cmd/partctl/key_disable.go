package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newKeyDisable(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "disable KEY",
		Short: "Have an access key refused until it is enabled again",
		Long: `Disable has a key refused like an unknown one. It counts on no node for longer than
a second more; requests that had begun go on.`,
		Args: exactly("KEY"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			if err := c.SetKey(ctx, args[0], true); err != nil {
				return err
			}
			return e.printDone(args[0], "Disabled.")
		}),
	}
}
