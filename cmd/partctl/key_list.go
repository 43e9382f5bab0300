package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newKeyList(e *env) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List access keys",
		Long: `List shows every access key but the root one, which is in the configuration. A
stale key is not sealed with the first sealing key of the node that answers; key
reseal changes that.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			l, err := c.Keys(ctx)
			if err != nil {
				return err
			}
			shown := admin.KeyList{Keys: []admin.Key{}}
			for _, k := range l.Keys {
				if user == "" || k.User == user {
					shown.Keys = append(shown.Keys, k)
				}
			}
			return e.print(shown, func(w io.Writer) { printKeys(w, shown) })
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "only keys of this `user`")
	return cmd
}

func printKeys(w io.Writer, l admin.KeyList) {
	t := newTable(w, "ID", "USER", "STATE", "SEALED", "CREATED")
	for _, k := range l.Keys {
		state, sealed := "enabled", "current"
		if k.Disabled {
			state = "disabled"
		}
		if k.Stale {
			sealed = "stale"
		}
		t.AppendRow(row(k.ID, k.User, state, sealed, timestamp(k.Created)))
	}
	t.Render()
}
