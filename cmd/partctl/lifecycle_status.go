package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newLifecycleStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "How far the lifecycle rules have been applied",
		Long: `Status shows the passes that apply the lifecycle rules of all buckets. The leader
makes one an hour, so a node that has not led yet has none: when its pass under
way began and which bucket it is at, when its last whole pass ended, and what it
deleted and aborted since the node started. LEFT OUT counts the buckets of its
last pass that failed; the next one tries them again.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error { return e.lifecycleStatus(ctx, c) }),
	}
}

// nodeLifecycle is one node's line.
type nodeLifecycle struct {
	Node      admin.NodeRef    `json:"node"`
	Leads     bool             `json:"leads"`
	Lifecycle *admin.Lifecycle `json:"lifecycle"`
}

func (e *env) lifecycleStatus(ctx context.Context, c *admin.Client) error {
	list, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	nodes := make([]nodeLifecycle, len(list.Nodes))
	for i, n := range list.Nodes {
		nodes[i] = nodeLifecycle{n.Ref(), n.Role == admin.RoleLeader, n.Lifecycle}
	}
	return e.print(nodes, func(w io.Writer) {
		t := newTable(w, "NODE", "LEADS", "PASS BEGAN", "AT BUCKET", "LAST WHOLE PASS", "LEFT OUT", "EXPIRED", "ABORTED")
		for _, n := range nodes {
			leads := yesNo(n.Leads)
			if l := n.Lifecycle; l != nil {
				t.AppendRow(row(n.Node.Name, leads, orNever(l.Began), l.Bucket, orNever(l.Passed), l.Failed, l.Expired, l.Aborted))
			} else {
				t.AppendRow(row(n.Node.Name, leads, "?", "?", "?", "?", "?", "?"))
			}
		}
		t.Render()
	})
}
