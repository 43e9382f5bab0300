package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newScrubStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "When each node last read its whole store",
		Long: `Status shows when each node's scrub began its pass over the store, since when
everything older has been read in full, and how many damaged chunks it has found
in all.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error { return e.scrubStatus(ctx, c) }),
	}
}

// nodeScrub is one node's line.
type nodeScrub struct {
	Node  admin.NodeRef `json:"node"`
	Scrub *admin.Scrub  `json:"scrub"`
}

func (e *env) scrubStatus(ctx context.Context, c *admin.Client) error {
	list, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	nodes := make([]nodeScrub, len(list.Nodes))
	for i, n := range list.Nodes {
		nodes[i] = nodeScrub{n.Ref(), n.Scrub}
	}
	return e.print(nodes, func(w io.Writer) {
		t := newTable(w, "NODE", "PASS BEGAN", "VERIFIED SINCE", "DAMAGED")
		for _, n := range nodes {
			if n.Scrub == nil {
				t.AppendRow(row(n.Node.Name, "?", "?", "?"))
				continue
			}
			t.AppendRow(row(n.Node.Name, orNever(n.Scrub.Began), orNever(n.Scrub.Verified), n.Scrub.Damaged))
		}
		t.Render()
	})
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return timestamp(t)
}
