package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newKeyReseal(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "reseal",
		Short: "Seal the secrets of all access keys with the node's first sealing key",
		Long: `Reseal ends the change of a sealing key: put the new one in front of the old on
every node (sealing_keys), restart, reseal, then take the old one away. Secrets
stay what they are.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			r, err := c.ResealKeys(ctx)
			if err != nil {
				return err
			}
			return e.print(r, func(w io.Writer) { fmt.Fprintf(w, "Sealed %d keys anew.\n", r.Keys) })
		}),
	}
}
