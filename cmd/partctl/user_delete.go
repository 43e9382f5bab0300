package main

import (
	"context"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newUserDelete(e *env) *cobra.Command {
	return e.newDelete("USER", "End a user who has neither access keys nor buckets",
		`Delete ends a user. It is refused while the user has access keys or buckets:
delete those first. Without --yes nothing is done.`, (*admin.Client).DeleteUser)
}

// newDelete is a command that ends one thing, named by its ID.
func (e *env) newDelete(what, short, long string, end func(*admin.Client, context.Context, string) error) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete " + what,
		Short: short,
		Long:  long,
		Args:  exactly(what),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			if yes {
				if err := end(c, ctx, args[0]); err != nil {
					return err
				}
				return e.printDone(args[0], "Deleted.")
			}
			return e.printNotDone(args[0], "Would delete "+args[0]+". Nothing was done; --yes does it.")
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
