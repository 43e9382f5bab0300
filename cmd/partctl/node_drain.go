package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

func newNodeDrain(e *env) *cobra.Command {
	d := admin.StoreDecision{Duty: "draining"}
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Give the slots of a node's stores to others while it still serves",
		Long: `Drain the stores of a node; its vote, if it has one, goes to another member. That goes on whatever
becomes of this command, and store in takes it back. Without margin or room for it the command
ends with exit status 4 and nothing is done, or with 3 if --wait was not enough.`,
		Args: exactly("NODE"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			node, err := findNodeOf(ctx, c, args[0])
			if err != nil {
				return err
			}
			if err := e.drainNode(ctx, c, d, node); err != nil || d.DryRun {
				return err
			}
			return e.awaitDrained(ctx, c, args[0], wait)
		}),
	}
	cmd.Flags().BoolVar(&d.DryRun, "dry-run", false, "only say what would follow")
	cmd.Flags().StringVar(&d.Reason, "reason", "by an operator", "`text` to be kept with the decision")
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait until nothing that is needed is left on the node")
	return cmd
}

// storePlan is what was decided, or would be, about one store of a node.
type storePlan struct {
	Store layout.StoreID `json:"store"`
	admin.StorePlan
}

// decideNode decides about every store of a node together, as far as that was not
// done before; what is dead stays so. It returns what was decided before an error.
func decideNode(ctx context.Context, c *admin.Client, d admin.StoreDecision, node admin.Node) (plans []storePlan, err error) {
	plans = []storePlan{}
	for _, s := range node.Stores {
		d.Besides = append(d.Besides, s.ID)
	}
	for _, s := range node.Stores {
		if (s.Duty == d.Duty || s.Duty == "dead") && !d.DryRun {
			continue
		}
		plan, err := decideStoreOf(ctx, c, d, s)
		if err != nil {
			return plans, fmt.Errorf("store %s: %w", s.ID, err)
		}
		plans = append(plans, storePlan{s.ID, plan})
	}
	return plans, nil
}

// drainNode decides that all stores of a node drain, and shows what follows.
func (e *env) drainNode(ctx context.Context, c *admin.Client, d admin.StoreDecision, node admin.Node) error {
	plans, err := decideNode(ctx, c, d, node)
	if err != nil && len(plans) == 0 {
		return err
	}
	shown := e.print(plans, func(w io.Writer) {
		for _, p := range plans {
			fmt.Fprint(w, "store ", p.Store, ": ")
			showPlan(w, p.StorePlan)
		}
	})
	err = errors.Join(err, shown)
	for _, p := range plans {
		err = errors.Join(err, refused(d, p.StorePlan))
	}
	return err
}

// awaitDrained says how far a drain is, until it is done or patience ends.
func (e *env) awaitDrained(ctx context.Context, c *admin.Client, name string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	p := e.newProgress("drain " + name)
	defer p.end()
	for wait > 0 {
		node, err := findNodeOf(ctx, c, name)
		switch {
		case errors.Is(err, admin.ErrNotFound):
			return err
		case err == nil && node.Needed() == 0:
			return nil
		case err == nil:
			p.say("%d slots left", node.Needed())
		}
		select {
		case <-ctx.Done():
			return errDegraded
		case <-time.After(memberPoll):
		}
	}
	return nil
}

// findNodeOf returns the node of a name or an ID.
func findNodeOf(ctx context.Context, c *admin.Client, name string) (admin.Node, error) {
	list, err := c.Nodes(ctx)
	if err != nil {
		return admin.Node{}, err
	}
	id, err := findNode(refs(list.Nodes), name, "node of the cluster")
	for _, n := range list.Nodes {
		if err == nil && n.ID == id {
			return n, nil
		}
	}
	return admin.Node{}, err
}

func refs(nodes []admin.Node) (all []admin.NodeRef) {
	for _, n := range nodes {
		all = append(all, n.Ref())
	}
	return all
}

func newNodeDecommission(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "decommission NODE",
		Short: "Remove a drained node for good",
		Long: `Decommission gives up the stores of a drained node and ends its membership in the registry, whether it is
up or not; then it may be stopped, and its drives destroyed. A node on which something is
left that is needed is refused with exit status 4: drain it first. A call that broke off is
finished by the next.`,
		Args: exactly("NODE"),
	}
	m := newMemberChange(e, cmd, metadata.MembersRemove)
	cmd.RunE = e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
		node, err := findNodeOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		if left := node.Needed(); left > 0 {
			return fmt.Errorf("%w: %d slots of node %s are still needed; drain it first", admin.ErrMargin, left, args[0])
		}
		if m.yes {
			if _, err := decideNode(ctx, c, admin.StoreDecision{Duty: "dead", Reason: "decommissioned"}, node); err != nil {
				return err
			}
		}
		return m.run(ctx, c, node.ID.String(), "")
	})
	return cmd
}
