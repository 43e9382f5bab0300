package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newMemberPromote(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "promote NODE",
		Short: "Give a member a vote",
		Long: `Promote gives a member a vote before members that no operator promoted. If all
votes are given, the member that joined last of the others loses its own. The
member must have caught up.`,
		Args: exactly("NODE"),
	}
	m := newMemberChange(e, cmd, metadata.MembersPromote)
	cmd.RunE = e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
		return m.run(ctx, c, args[0], "")
	})
	return cmd
}
