package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newNodeList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the nodes and their stores",
		Args:  exactly(),
		RunE:  e.runs(e.nodeList),
	}
}

func (e *env) nodeList(ctx context.Context, c *admin.Client, _ []string) error {
	l, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	return e.print(l, func(w io.Writer) {
		printNodes(w, l.Nodes)
		io.WriteString(w, "\n")
		printStores(w, l.Nodes)
	})
}

func printNodes(w io.Writer, nodes []admin.Node) {
	t := newTable(w, "NAME", "ID", "ZONE", "ALIVE", "ROLE", "APPLIED", "CLIENT", "PEER", "GOSSIP", "ADMIN", "VERSION")
	for _, n := range nodes {
		applied := ""
		if n.AppliedIndex != nil {
			applied = strconv.FormatUint(*n.AppliedIndex, 10)
		}
		a := n.Addresses
		t.AppendRow(row(n.Name, n.ID, n.Zone, yesNo(n.Alive), n.Role, or(applied),
			or(a.Client), or(a.Peer), or(a.Gossip), or(a.Admin), or(n.Version)))
	}
	t.Render()
}

func printStores(w io.Writer, nodes []admin.Node) {
	t := newTable(w, "STORE", "NODE", "STATE", "FREE", "CAPACITY", "DIRECTORY", "FAULT")
	for _, n := range nodes {
		for _, s := range n.Stores {
			t.AppendRow(row(s.ID, n.Name, s.State, size(s.FreeBytes), size(s.CapacityBytes), or(s.Dir), or(s.Fault)))
		}
		for _, d := range n.Refused {
			t.AppendRow(row("none", n.Name, admin.StoreDown, "", "", d.Dir, d.Fault))
		}
	}
	t.Render()
}
