package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/node/admin"
)

func newScrubStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "When each store was last read in full",
		Long: `Status shows when the scrub of each store began its last pass, how many of the chunks
that has read, since when everything older has been read in full, and how many damaged
chunks all passes have found. A pass that "scrub run" has asked for is marked.`,
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
	list, err := e.stores(ctx, c)
	if err != nil {
		return err
	}
	stores := make([]storeScrub, len(list))
	for i, s := range list {
		stores[i] = storeScrub{s.Node, s.ID, s.Scrub}
	}
	return e.print(stores, func(w io.Writer) {
		t := newTable(w, "NODE", "STORE", "PASS BEGAN", "READ", "VERIFIED SINCE", "DAMAGED")
		for _, s := range stores {
			if s.Scrub == nil {
				t.AppendRow(row(s.Node.Name, s.Store, "?", "?", "?", "?"))
				continue
			}
			read := fmt.Sprintf("%d of %d", s.Scrub.Read, max(s.Scrub.Read, s.Scrub.Total))
			if s.Scrub.Hurried {
				read += " (run)"
			}
			t.AppendRow(row(s.Node.Name, s.Store, orNever(s.Scrub.Began), read, orNever(s.Scrub.Verified), s.Scrub.Damaged))
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

func newScrubRun(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "run [STORE...]",
		Short: "Read stores in full now",
		Long: `Run has stores, or all that are not dead, begin a pass of their scrub now, which does not take
the whole period: it rests after each chunk for as long as reading it took. What is
damaged is healed. "scrub status" shows how far it is; a node that is stopped goes
on when it starts. A store that cannot be asked ends the command with exit status 4, after the others.`,
		Args: atLeast(0, "[STORE...]"),
		RunE: e.runs(e.scrubRun),
	}
}

// begunScrub is a store's answer.
type begunScrub struct {
	Node    admin.NodeRef  `json:"node"`
	Store   layout.StoreID `json:"store"`
	Problem string         `json:"problem,omitempty"` // why it does not read
}

func (e *env) scrubRun(ctx context.Context, c *admin.Client, ids []string) error {
	stores, err := e.stores(ctx, c)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := findStore(stores, id); err != nil {
			return err
		}
	}
	begun, failed := []begunScrub{}, 0
	for _, s := range stores {
		if len(ids) > 0 && !slices.Contains(ids, s.ID.String()) || len(ids) == 0 && s.Duty == "dead" {
			continue
		}
		b := begunScrub{Node: s.Node, Store: s.ID}
		if err := c.RunScrub(ctx, s.ID); err != nil {
			b.Problem = err.Error()
			failed++
		}
		begun = append(begun, b)
	}
	err = e.print(begun, func(w io.Writer) {
		t := newTable(w, "NODE", "STORE", "SCRUB")
		for _, b := range begun {
			t.AppendRow(row(b.Node.Name, b.Store, cmp.Or(b.Problem, "begun")))
		}
		t.Render()
	})
	if err == nil && failed > 0 {
		return fmt.Errorf("%w: %d of %d stores were not asked", admin.ErrUnavailable, failed, len(begun))
	}
	return err
}
