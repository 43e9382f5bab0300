package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newMemberDemote(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demote NODE",
		Short: "Take a member's vote",
		Long: `Demote takes a member's vote and keeps it from getting one until it is promoted.
It keeps its copy of the registry. Another member that has caught up takes its
place; without one there are 3 voters instead of 5. Fewer than 3 need --force.`,
		Args: exactly("NODE"),
	}
	m := newMemberChange(e, cmd, metadata.MembersDemote)
	cmd.RunE = e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
		return m.run(ctx, c, args[0], "")
	})
	return cmd
}
