package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
)

func newRegistryAdopt(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "adopt OLD NEW",
		Short: "Have a node follow into a successor cluster, offline",
		Long: `Adopt takes the data directory of a node that does not run from cluster OLD into
its successor NEW, which "registry restore" or "registry recover" made on another
node. The node keeps its identity, its store and every chunk; its copy of the old
registry is set aside and never opened again, and the others give it a new one
when it starts. Refused for a directory of any other cluster. Stopped half-way,
the same command goes on; for a node that has followed it does nothing.`,
		Args: exactly("OLD", "NEW"),
	}
	t := newTakeover(e, cmd)
	cmd.RunE = e.offline(func(_ context.Context, args []string) error { return t.adopt(args) })
	return cmd
}

func (t *takeover) adopt(args []string) (err error) {
	var clusters [2]layout.ClusterID
	for i, text := range args {
		if clusters[i], err = layout.ParseClusterID(text); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	from, to := clusters[0], clusters[1]
	d, err := t.open("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	done, err := d.FinishAdopt(from, to)
	if err == nil && done == nil {
		done, err = d.Adopt(from, to)
	}
	if err != nil {
		return err
	}
	r := t.result(d, from, nil)
	r.did(done)
	return t.env.print(r, func(w io.Writer) {
		r.write(w)
		fmt.Fprintln(w, "\nDone. The node may be started once the successor's first node has been.")
	})
}
