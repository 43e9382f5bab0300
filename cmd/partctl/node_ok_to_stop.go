package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/node/admin"
)

func newNodeOKToStop(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "ok-to-stop NODE...",
		Short: "Say whether nodes may be stopped together",
		Long: `Say whether the cluster could do without the nodes, given by name or ID: whether the
registry keeps a majority, every part can be read, parts are taken, and nothing that is missing
elsewhere waits to be healed. Chunks that were not written when their part was taken count as missing
until they are healed. It looks at every part record, which takes a while if there are millions. If not, the command ends with exit status 4. It changes nothing.`,
		Args: atLeast(1, "NODE..."),
		RunE: e.runs(e.okToStop),
	}
}

func (e *env) okToStop(ctx context.Context, c *admin.Client, names []string) error {
	list, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	all := refs(list.Nodes)
	nodes := make([]layout.NodeID, len(names))
	for i, name := range names {
		if nodes[i], err = findNode(all, name, "node of the cluster"); err != nil {
			return err
		}
	}
	v, err := c.JudgeStop(ctx, nodes)
	if err != nil {
		return err
	}
	err = e.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "margin %d, voters left %d of %d needed\n", v.Margin, v.Voters, v.Majority)
		for _, p := range v.Problems {
			fmt.Fprintln(w, "problem:", p)
		}
	})
	if err == nil && len(v.Problems) > 0 {
		return admin.ErrMargin
	}
	return err
}
