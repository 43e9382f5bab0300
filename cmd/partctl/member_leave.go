package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newMemberLeave(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Have the node that answers leave the registry",
		Long: `Leave removes the node that --admin names: it hands over leadership, loses its
vote to another member that has caught up, and is no member any more. It keeps
serving the chunks it has, and clients no longer. Leave is refused where too few
voters would be left.`,
		Args: exactly(),
	}
	m := newMemberChange(e, cmd, metadata.MembersRemove)
	cmd.RunE = e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		return m.run(ctx, c, s.Node.ID.String(), "")
	})
	return cmd
}
