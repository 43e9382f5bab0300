package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newUserList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users of the client API",
		Long:  `List shows every user but usr-root, to whom the root access key of the configuration belongs.`,
		Args:  exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			l, err := c.Users(ctx)
			if err != nil {
				return err
			}
			return e.print(l, func(w io.Writer) {
				t := newTable(w, "ID", "NAME", "CREATED")
				for _, u := range l.Users {
					t.AppendRow(row(u.ID, u.Name, timestamp(u.Created)))
				}
				t.Render()
			})
		}),
	}
}
