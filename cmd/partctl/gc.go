package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newGCStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "What waits to be freed, and what was freed",
		Long: `Status shows the chunks of deleted, replaced and aborted uploads that wait for
their grace period to end or for their store to come back, and what each node
has freed since it started.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error { return e.gcStatus(ctx, c) }),
	}
}

func (e *env) gcStatus(ctx context.Context, c *admin.Client) error {
	s, err := c.Garbage(ctx)
	if err != nil {
		return err
	}
	return e.print(s, func(w io.Writer) {
		t := newTable(w)
		t.AppendRow(row("waiting", fmt.Sprintf("%s in %d parts", amount(s.Waiting), s.Parts)))
		t.AppendRow(row("due", amount(s.Due)))
		t.AppendRow(row("grace", seconds(s.GraceSeconds)))
		t.AppendRow(row("oldest", seconds(s.OldestSeconds)))
		t.Render()
		fmt.Fprintln(w)
		t = newTable(w, "NODE", "STORE", "WAITING", "FREED")
		for _, share := range s.Stores {
			freed := "?"
			if share.Freed != nil {
				freed = amount(*share.Freed)
			}
			t.AppendRow(row(share.Node.Name, share.Store, amount(share.Waiting), freed))
		}
		t.Render()
	})
}

func amount(a admin.Amount) string { return fmt.Sprintf("%s in %d chunks", size(a.Bytes), a.Chunks) }

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func newGCRun(e *env) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Free now what is due",
		Long: `Run has the leader free what has waited out its grace period, without waiting
for its next turn. With --dry-run it only shows how much that is.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			if dryRun {
				return e.gcDryRun(ctx, c)
			}
			return e.gcRun(ctx, c)
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be freed")
	return cmd
}

// gcDue is what a run would free.
type gcDue struct {
	Due admin.Amount `json:"due"`
}

func (e *env) gcDryRun(ctx context.Context, c *admin.Client) error {
	s, err := c.Garbage(ctx)
	if err != nil {
		return err
	}
	return e.print(gcDue{s.Due}, func(w io.Writer) {
		fmt.Fprintf(w, "Would free %s. Nothing was done.\n", amount(s.Due))
	})
}

func (e *env) gcRun(ctx context.Context, c *admin.Client) error {
	s, err := c.SweepGarbage(ctx)
	if err != nil {
		return err
	}
	return e.print(s, func(w io.Writer) {
		fmt.Fprintf(w, "Freed %s of %d parts.\n", amount(s.Freed), s.Parts)
		if s.Waiting > 0 {
			fmt.Fprintf(w, "%d parts keep a chunk on a store that cannot be asked now.\n", s.Waiting)
		}
		if s.Refused > 0 {
			fmt.Fprintf(w, "%d entries of the queue are named by a record and stay; the log of the leader has them.\n", s.Refused)
		}
		if s.Unfinished {
			fmt.Fprintln(w, "There is more; the leader goes on with it.")
		}
	})
}
