package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newStoreList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the stores, their duty and their slots",
		Long: `List every store: its duty (in, draining, out or dead) and why, the slots it holds,
those of them whose chunks are still arriving, and the slots it gave up whose new store may
still need it. A store that holds none and has none leaving may be destroyed.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error { return e.storeList(ctx, c) }),
	}
}

// listedStore is a store and its node.
type listedStore struct {
	admin.Store
	Node admin.NodeRef `json:"node"`
}

func (e *env) stores(ctx context.Context, c *admin.Client) ([]listedStore, error) {
	list, err := c.Nodes(ctx)
	stores := []listedStore{}
	for _, n := range list.Nodes {
		for _, s := range n.Stores {
			stores = append(stores, listedStore{s, n.Ref()})
		}
	}
	return stores, err
}

// findStore returns the one of the stores that has an ID.
func findStore(stores []listedStore, id string) (listedStore, error) {
	at := slices.IndexFunc(stores, func(s listedStore) bool { return s.ID.String() == id })
	if at < 0 {
		return listedStore{}, fmt.Errorf("%w: store %q", admin.ErrNotFound, id)
	}
	return stores[at], nil
}

func (e *env) storeList(ctx context.Context, c *admin.Client) error {
	stores, err := e.stores(ctx, c)
	if err != nil {
		return err
	}
	return e.print(stores, func(w io.Writer) {
		t := newTable(w, "STORE", "NODE", "STATE", "DUTY", "SLOTS", "ARRIVING", "LEAVING", "REASON")
		for _, s := range stores {
			t.AppendRow(row(s.ID, s.Node.Name, s.State, s.Duty, s.Slots, s.Arriving, s.Leaving, s.Reason))
		}
		t.Render()
	})
}

// newStoreDuty is a verb that decides about a store.
func newStoreDuty(e *env, verb, duty, short string) *cobra.Command {
	d := admin.StoreDecision{Duty: duty}
	override := ""
	cmd := &cobra.Command{
		Use:   verb + " STORE",
		Short: short,
		Long: short + `. Without margin or room for it the command ends with exit status 4 and
nothing is done, unless --override no-margin says otherwise. Store list shows how far it has come; store in takes it back.`,
		Args: exactly("STORE"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			if override != "" && override != "no-margin" {
				return fmt.Errorf("%w: override %q", errUsage, override)
			}
			d.NoRoom = override != ""
			stores, err := e.stores(ctx, c)
			if err != nil {
				return err
			}
			s, err := findStore(stores, args[0])
			if err != nil {
				return err
			}
			return e.decideStore(ctx, c, d, s.Store)
		}),
	}
	cmd.Flags().BoolVar(&d.DryRun, "dry-run", false, "only say what would follow")
	cmd.Flags().StringVar(&d.Reason, "reason", "by an operator", "`text` to be kept with the decision")
	cmd.Flags().StringVar(&override, "override", "", "`name` of what need not hold: no-margin")
	return cmd
}

// decideStore decides about a store as it was looked at.
func (e *env) decideStore(ctx context.Context, c *admin.Client, d admin.StoreDecision, s admin.Store) error {
	plan, err := decideStoreOf(ctx, c, d, s)
	if err != nil {
		return err
	}
	if err := e.print(plan, func(w io.Writer) { showPlan(w, plan) }); err != nil {
		return err
	}
	return refused(d, plan)
}

func decideStoreOf(ctx context.Context, c *admin.Client, d admin.StoreDecision, s admin.Store) (admin.StorePlan, error) {
	d.Store, d.Version = s.ID, s.Version
	return c.DecideStore(ctx, d)
}

func showPlan(w io.Writer, plan admin.StorePlan) {
	fmt.Fprintf(w, "slots %d, %s, at least %s; nodes to take them %d with %s free, margin meanwhile %d\n",
		plan.Slots, size(plan.Bytes), time.Duration(plan.Seconds)*time.Second, plan.Targets, size(plan.Room), plan.Margin)
	if plan.Problem != "" {
		fmt.Fprintln(w, "problem:", plan.Problem)
	}
	if !plan.Done {
		fmt.Fprintln(w, "nothing was done")
	}
}

// refused is the error of a plan that would not be done.
func refused(d admin.StoreDecision, plan admin.StorePlan) error {
	if d.DryRun && plan.Problem != "" {
		return admin.ErrMargin
	}
	return nil
}
