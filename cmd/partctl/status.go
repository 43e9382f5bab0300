package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "How the cluster is",
		Long: `Status shows leader, voters, nodes, stores and placement groups as one node
sees them, and what is wrong. It exits 3 unless health is ok.

A group is at risk if any of its slots is down: the parts in it have less
margin than their scheme wants until the store is back.`,
		Args: exactly(),
		RunE: e.runs(e.status),
	}
}

func (e *env) status(ctx context.Context, c *admin.Client, _ []string) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if err := e.print(s, func(w io.Writer) { printStatus(w, s) }); err != nil {
		return err
	}
	if s.Health != admin.HealthOK {
		return errDegraded
	}
	return nil
}

func printStatus(w io.Writer, s admin.Status) {
	leader := "none known"
	if s.Leader != nil {
		leader = s.Leader.Name
	}
	var voters []string
	for _, v := range s.Voters {
		voters = append(voters, v.Name)
	}
	t := newTable(w)
	t.AppendRow(row("health", s.Health))
	for _, r := range s.Reasons {
		t.AppendRow(row("", r.Code+": "+r.Message))
	}
	t.AppendRow(row("cluster", s.Cluster))
	t.AppendRow(row("scheme", s.Scheme))
	t.AppendRow(row("seen by", fmt.Sprintf("%s, version %s", s.Node.Name, s.Version)))
	t.AppendRow(row("leader", fmt.Sprintf("%s, term %d", leader, s.Term)))
	t.AppendRow(row("voters", or(strings.Join(voters, " "))))
	t.AppendRow(row("registry digest", digest(s.Digest)))
	t.AppendRow(row("nodes", fmt.Sprintf("%d up, %d down", s.Nodes.Up, s.Nodes.Down)))
	t.AppendRow(row("stores", fmt.Sprintf("%d up, %d down, %d fenced; %s of %s free", s.Stores.Up, s.Stores.Down,
		s.Stores.Fenced, size(s.Stores.FreeBytes), size(s.Stores.CapacityBytes))))
	t.AppendRow(row("groups", fmt.Sprintf("%d: %d whole, %d degraded, %d without margin, %d unreadable", s.Groups.Total,
		s.Groups.Whole, s.Groups.Degraded, s.Groups.WithoutMargin, s.Groups.Unreadable)))
	t.AppendRow(row("parts at risk", atRisk(s.Groups)))
	t.Render()
}

func digest(d *admin.Digest) string {
	if d == nil {
		return "none yet"
	}
	return fmt.Sprintf("%.16s at index %d, the same on %d of %d members", d.Sum, d.Index, d.Equal, d.Asked)
}

func atRisk(g admin.GroupCounts) string {
	if g.AtRisk == 0 {
		return "none"
	}
	return fmt.Sprintf("those in %d of %d groups", g.AtRisk, g.Total)
}
