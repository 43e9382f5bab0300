package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newRegistryCapacity(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "capacity",
		Short: "How full the registry is",
		Long: `Capacity counts the rows of one node's copy of the registry, which takes
seconds for millions of them, and compares them with what a registry was
measured to hold.`,
		Args: exactly(),
		RunE: e.runs(e.registryCapacity),
	}
}

func (e *env) registryCapacity(ctx context.Context, c *admin.Client, _ []string) error {
	r, err := c.RegistryCapacity(ctx)
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) {
		t := newTable(w)
		t.AppendRow(row("seen by", r.Node.Name))
		t.AppendRow(row("full", fmt.Sprintf("%.1f%%: %d parts of %d", r.PercentFull, r.Rows.Parts, r.MaxParts)))
		t.AppendRow(row("rows on disk", size(r.RowsBytes)))
		t.AppendRow(row("log on disk", fmt.Sprintf("%s for %d entries", size(r.LogBytes), r.LogEntries)))
		t.AppendRow(row("snapshots", fmt.Sprintf("%d of %s, most of it shared with the rows", r.Snapshots, size(r.SnapshotBytes))))
		t.AppendRow(row("memory", size(r.MemoryBytes)))
		t.AppendRow(row("applied", fmt.Sprintf("log entry %d", r.AppliedIndex)))
		t.Render()
		fmt.Fprintln(w)
		printRows(w, r.Rows)
	})
}

func printRows(w io.Writer, n metadata.RowCounts) {
	t := newTable(w, "ROWS", "")
	for _, kind := range []struct {
		name  string
		count int
	}{
		{"buckets", n.Buckets}, {"settings", n.Settings}, {"users", n.Users}, {"access keys", n.Keys},
		{"open uploads", n.Uploads}, {"parts", n.Parts}, {"objects", n.Objects},
		{"garbage", n.Garbage}, {"members", n.Members}, {"stores", n.Stores}, {"groups", n.Groups},
		{"memory of commands", n.Memory}, {"internal", n.Internal},
	} {
		t.AppendRow(row(kind.name, kind.count))
	}
	t.Render()
}
