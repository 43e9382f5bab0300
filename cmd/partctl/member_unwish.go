package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newMemberUnwish(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unwish NODE",
		Short: "Take back what was wished of a node",
		Long: `Unwish undoes what promote, demote, remove, replace and leave wished of a node:
from then on the cluster decides by itself whether it votes. A node that is on
its way out stays, and one that was removed may become a member again: it does
once it is started again. Nobody loses a vote by it.`,
		Args: exactly("NODE"),
	}
	m := newMemberChange(e, cmd, metadata.MembersUnwish)
	cmd.RunE = e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
		return m.run(ctx, c, args[0], "")
	})
	return cmd
}
