package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newEvents(e *env) *cobra.Command {
	limit := 0
	cmd := &cobra.Command{
		Use:   "events",
		Short: "What was decided and what changed",
		Long: `Events shows the last decisions and changes of state that the registry keeps,
oldest first: what was decided about stores and members, stores that fenced
themselves, chunks that could not be healed, and pauses of healing. They outlive
the nodes they are about. The time is that of the registry, shown by the clock of
the node that answers.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			if limit < 1 || limit > admin.MaxEventLimit {
				return fmt.Errorf("%w: --limit %d is not within 1 to %d", errUsage, limit, admin.MaxEventLimit)
			}
			return e.events(ctx, c, limit)
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", admin.DefaultEventLimit, "show so many, the newest")
	return cmd
}

func (e *env) events(ctx context.Context, c *admin.Client, limit int) error {
	l, err := c.Events(ctx, limit)
	if err != nil {
		return err
	}
	return e.print(l, func(w io.Writer) {
		t := newTable(w, "TIME", "AGE", "EVENT", "NODE", "STORE", "REASON")
		for _, event := range l.Events {
			node, store := "-", "-"
			if event.Node != nil {
				node = or(event.Node.Name)
			}
			if event.Store != nil {
				store = event.Store.String()
			}
			age := time.Duration(event.AgeSeconds * float64(time.Second)).Round(time.Second)
			t.AppendRow(row(timestamp(event.Time), age, event.Kind, node, store, quoted(event.Reason)))
		}
		t.Render()
	})
}
