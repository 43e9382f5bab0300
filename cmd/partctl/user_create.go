package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newUserCreate(e *env) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a user of the client API",
		Long: `Create makes a user. Access keys stand for users, and buckets belong to them. The
ID is chosen unless --id gives one, as for a user who was deleted and whose
grants in other users' buckets shall count again.`,
		Args: exactly("NAME"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			u, err := c.CreateUser(ctx, id, args[0])
			if err != nil {
				return err
			}
			return e.print(u, func(w io.Writer) { fmt.Fprintf(w, "User %s. Next: partctl key create %s\n", u.ID, u.ID) })
		}),
	}
	cmd.Flags().StringVar(&id, "id", "", "user `ID`, usr-... (default: chosen at random)")
	return cmd
}
