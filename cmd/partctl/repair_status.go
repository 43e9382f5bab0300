package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newRepairStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "What the nodes heal",
		Long: `Status shows what each node's last pass over the part records found on its stores:
how many chunks belong there, how many the pass rebuilt or only recorded, how
many it could not heal, and how many parts, written while stores were away, have
a narrower scheme than the others still; and what was healed since the node
started. It also shows whether healing is paused or throttled.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error { return e.repairStatus(ctx, c) }),
	}
}

// nodeHeal is one node's line.
type nodeHeal struct {
	Node admin.NodeRef `json:"node"`
	Heal *admin.Heal   `json:"heal"`
}

// repairState is the answer to "repair status".
type repairState struct {
	admin.RepairPolicy
	Nodes []nodeHeal `json:"nodes"`
}

func (e *env) repairStatus(ctx context.Context, c *admin.Client) error {
	policy, err := c.Repair(ctx)
	if err != nil {
		return err
	}
	list, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	nodes := make([]nodeHeal, len(list.Nodes))
	for i, n := range list.Nodes {
		nodes[i] = nodeHeal{n.Ref(), n.Heal}
	}
	return e.print(repairState{policy, nodes}, func(w io.Writer) {
		if policy.Paused {
			fmt.Fprintln(w, "Healing is paused.")
		}
		if policy.BytesPerSecond > 0 {
			fmt.Fprintf(w, "Each node moves at most %s a second.\n", size(int64(policy.BytesPerSecond)))
		}
		if total := int64(policy.TotalBytesPerSecond); total > 0 {
			fmt.Fprintf(w, "All nodes together move at most %s a second, which is %s for each of %d.\n", size(total), size(total/int64(max(1, policy.Nodes))), policy.Nodes)
		}
		if p := (metadata.RepairPolicy{AtOnce: policy.ChunksAtOnce}); p.AtOnce > 0 {
			fmt.Fprintf(w, "All nodes together make at most %d chunks at once, which is %d for each of %d.\n", p.AtOnce, p.AtOnceOf(policy.Nodes), policy.Nodes)
		}
		t := newTable(w, "NODE", "CHUNKS", "REBUILT", "RECORDED", "NOT HEALED", "NARROW", "REBUILT SINCE START", "WIDENED", "COPIED", "SLOTS SETTLED", "LET GO")
		for _, n := range nodes {
			if n.Heal == nil {
				t.AppendRow(row(n.Node.Name, "?", "?", "?", "?", "?", "?", "?", "?", "?", "?"))
				continue
			}
			t.AppendRow(row(n.Node.Name, n.Heal.Chunks, n.Heal.Rebuilt, n.Heal.Recorded, n.Heal.Left, n.Heal.Narrow, n.Heal.AllRebuilt, n.Heal.AllWidened, n.Heal.AllCopied, n.Heal.AllSettled, n.Heal.AllLetGo))
		}
		t.Render()
	})
}
