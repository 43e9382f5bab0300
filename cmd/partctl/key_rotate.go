package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newKeyRotate(e *env) *cobra.Command {
	var disable bool
	cmd := &cobra.Command{
		Use:   "rotate KEY",
		Short: "Make another access key for the user of this one",
		Long: `Rotate makes a new access key for the user of an old one. The old one goes on
working, so that programs can be changed one after the other, unless --disable-old
is given.`,
		Args: exactly("KEY"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			return e.keyRotate(ctx, c, args[0], disable)
		}),
	}
	cmd.Flags().BoolVar(&disable, "disable-old", false, "disable the old key at once")
	return cmd
}

func (e *env) keyRotate(ctx context.Context, c *admin.Client, id string, disable bool) error {
	l, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	for _, old := range l.Keys {
		if old.ID != id {
			continue
		}
		k, err := c.CreateKey(ctx, old.User)
		if err == nil {
			err = e.print(k, func(w io.Writer) { printNewKey(w, k) })
		}
		if err == nil && disable {
			err = c.SetKey(ctx, id, true)
		}
		if err == nil && !disable && e.output != formJSON {
			fmt.Fprintf(e.out, "When nothing uses the old key any more: partctl key disable %s\n", id)
		}
		return err
	}
	return fmt.Errorf("%w: access key %s", admin.ErrNotFound, id)
}
