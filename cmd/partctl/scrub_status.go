package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/node/admin"
)

func newScrubStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "When each store was last read in full",
		Long: `Status shows when the scrub of each store began its pass, since when everything
older has been read in full, and how many damaged chunks it has found in all.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error { return e.scrubStatus(ctx, c) }),
	}
}

// storeScrub is one store's line.
type storeScrub struct {
	Node  admin.NodeRef  `json:"node"`
	Store layout.StoreID `json:"store"`
	Scrub *admin.Scrub   `json:"scrub"`
}

func (e *env) scrubStatus(ctx context.Context, c *admin.Client) error {
	list, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	stores := []storeScrub{}
	for _, n := range list.Nodes {
		for _, s := range n.Stores {
			stores = append(stores, storeScrub{n.Ref(), s.ID, s.Scrub})
		}
	}
	return e.print(stores, func(w io.Writer) {
		t := newTable(w, "NODE", "STORE", "PASS BEGAN", "VERIFIED SINCE", "DAMAGED")
		for _, s := range stores {
			if s.Scrub == nil {
				t.AppendRow(row(s.Node.Name, s.Store, "?", "?", "?"))
				continue
			}
			t.AppendRow(row(s.Node.Name, s.Store, orNever(s.Scrub.Began), orNever(s.Scrub.Verified), s.Scrub.Damaged))
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
