package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newMemberReplace(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replace OLD [NEW]",
		Short: "Give a member's vote to another and remove it",
		Long: `Replace gives a vote to NEW, or without NEW to a member without a vote, and then
removes OLD, whether that is up or dead. NEW must be a member that has caught up:
start the node, and wait until member list shows it.`,
		Args: oneOrTwo("OLD", "NEW"),
	}
	m := newMemberChange(e, cmd, metadata.MembersReplace)
	cmd.RunE = e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
		by := ""
		if len(args) == 2 {
			by = args[1]
		}
		return m.run(ctx, c, args[0], by)
	})
	return cmd
}
