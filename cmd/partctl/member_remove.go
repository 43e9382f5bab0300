package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newMemberRemove(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Remove a member from the registry",
		Long: `Remove takes a member's vote and ends its membership, whether it is up or dead.
Another member that has caught up gets the vote if there is one. The node keeps
serving the chunks it has; drain it before it goes for good.`,
		Args: exactly("NODE"),
	}
	m := newMemberChange(e, cmd, metadata.MembersRemove)
	cmd.RunE = e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
		return m.run(ctx, c, args[0], "")
	})
	return cmd
}
