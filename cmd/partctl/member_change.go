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

// memberChange is what the commands that change the membership share: flags,
// the look before, and the wait after.
type memberChange struct {
	env     *env
	verb    metadata.MembersVerb
	yes     bool // was given, or is not needed
	force   bool
	version uint64
	wait    time.Duration
}

// newMemberChange adds the shared flags to a command. Only a verb that ends a
// membership needs --yes.
func newMemberChange(e *env, cmd *cobra.Command, verb metadata.MembersVerb) *memberChange {
	m := &memberChange{env: e, verb: verb}
	flags := cmd.Flags()
	flags.Uint64Var(&m.version, "version", 0, "refuse unless the membership still has this `version`, as member list shows it (default: the one of now)")
	flags.DurationVar(&m.wait, "wait", time.Minute, "how long to wait until the cluster has followed; 0 does not wait")
	if verb != metadata.MembersPromote && verb != metadata.MembersUnwish {
		flags.BoolVar(&m.force, "force", false, "accept fewer voters than survive the loss of one")
	}
	if m.yes = verb != metadata.MembersRemove && verb != metadata.MembersReplace; !m.yes {
		flags.BoolVar(&m.yes, "yes", false, "do it")
	}
	return m
}

// memberResult is what a change did, or would do, and the members afterwards.
type memberResult struct {
	Done bool `json:"done"`
	admin.MemberList
}

// run decides about node, and about by, which may be empty. Both are names or
// IDs.
func (m *memberChange) run(ctx context.Context, c *admin.Client, node, by string) error {
	l, err := c.Members(ctx)
	if err != nil {
		return err
	}
	change := metadata.MembersChange{Verb: m.verb, Version: l.Version, Force: m.force}
	if m.version != 0 {
		change.Version = m.version
	}
	if change.Node, err = findMember(l, node, m.verb == metadata.MembersUnwish); err != nil {
		return err
	}
	if by != "" {
		if change.By, err = findMember(l, by, false); err != nil {
			return err
		}
	}
	if m.yes {
		if err := c.ChangeMembers(ctx, change); err != nil {
			return err
		}
		if l, err = m.await(ctx, c, l); err != nil {
			return err
		}
	}
	err = m.env.print(memberResult{m.yes, l}, func(w io.Writer) {
		printMembers(w, l)
		if !m.yes {
			fmt.Fprintf(w, "\nWould %s %s. It would be no member any more, and could come back only as a new node.\nNothing was done; --yes does it.\n", m.verb, node)
		}
	})
	if err == nil && m.yes && m.wait > 0 && !l.Settled {
		return errDegraded
	}
	return err
}

// memberPoll is how often a waiting command looks.
const memberPoll = 200 * time.Millisecond

// await looks until the change has been followed, or patience ends. The node
// that is asked may itself have left.
func (m *memberChange) await(ctx context.Context, c *admin.Client, l admin.MemberList) (admin.MemberList, error) {
	ctx, cancel := context.WithTimeout(ctx, m.wait)
	defer cancel()
	l.Settled = false
	for {
		now, err := c.Members(ctx)
		switch {
		case err == nil:
			l = now
		case !errors.Is(err, admin.ErrUnavailable) && ctx.Err() == nil:
			return l, err
		}
		if l.Settled {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return l, nil
		case <-time.After(memberPoll):
		}
	}
}

// findMember returns the member, or the removed one, of a name or an ID.
func findMember(l admin.MemberList, want string, removed bool) (found layout.NodeID, err error) {
	var nodes []admin.NodeRef
	for _, m := range l.Members {
		nodes = append(nodes, m.NodeRef)
	}
	if removed {
		nodes = append(nodes, l.Removed...)
	}
	return findNode(nodes, want, "member of the registry")
}

// findNode returns the one of the nodes that has a name or an ID. A name may be
// that of several: the nodes that lived in one place after another.
func findNode(nodes []admin.NodeRef, want, what string) (found layout.NodeID, err error) {
	count := 0
	for _, m := range nodes {
		if m.ID.String() == want {
			return m.ID, nil
		}
		if m.Name == want {
			found = m.ID
			count++
		}
	}
	switch count {
	case 1:
		return found, nil
	case 0:
		return found, fmt.Errorf("%w: %q is no %s", admin.ErrNotFound, want, what)
	}
	return found, fmt.Errorf("%w: %d nodes are named %q; use the ID", errUsage, count, want)
}
