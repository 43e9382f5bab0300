package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newKeyCreate(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "create USER",
		Short: "Make an access key of a user",
		Long: `Create makes an access key and prints its secret, once: only a sealed form is
kept. The key works on every node at once.`,
		Args: exactly("USER"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			k, err := c.CreateKey(ctx, args[0])
			if err != nil {
				return err
			}
			return e.print(k, func(w io.Writer) { printNewKey(w, k) })
		}),
	}
}

func printNewKey(w io.Writer, k admin.NewKey) {
	fmt.Fprintf(w, "access_key_id      %s\nsecret_access_key  %s\n\nThe secret is not shown again.\n", k.ID, k.Secret)
}
