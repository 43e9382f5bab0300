package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newMemberList(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the members of the registry",
		Long: `List shows who holds a copy of the registry, who votes, and what operators
wished: "vote" for a promoted member, "no-vote" for a demoted one, "gone" for
one on its way out. Nodes that were removed are named below: they do not become
members again unless that is taken back. The version names what is shown; a change that was decided
on an older version is refused.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			l, err := c.Members(ctx)
			if err != nil {
				return err
			}
			return e.print(l, func(w io.Writer) { printMembers(w, l) })
		}),
	}
}

func printMembers(w io.Writer, l admin.MemberList) {
	t := newTable(w, "NAME", "ID", "ROLE", "WISH", "ALIVE", "APPLIED")
	for _, m := range l.Members {
		applied := ""
		if m.AppliedIndex != nil {
			applied = strconv.FormatUint(*m.AppliedIndex, 10)
		}
		t.AppendRow(row(or(m.Name), m.ID, m.Role, m.Wish, yesNo(m.Alive), or(applied)))
	}
	t.Render()
	if len(l.Removed) > 0 {
		fmt.Fprintln(w, "\nRemoved:")
		for _, n := range l.Removed {
			fmt.Fprintf(w, "  %s  %s\n", or(n.Name), n.ID)
		}
	}
	state := "settled"
	if !l.Settled {
		state = "a change is under way"
	}
	fmt.Fprintf(w, "\nVersion %d, %s.\n", l.Version, state)
}
