package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"partstore/internal/testcluster"
	"partstore/metadata"
	"partstore/node/admin"
)

// decide has an operator's verb done through a node's API, on the newest
// membership, and waits until the cluster has followed.
func decide(t *testing.T, c *testcluster.Cluster, through int, verb metadata.MembersVerb, name, by string) admin.MemberList {
	t.Helper()
	client, err := admin.NewClient("http://"+c.Addrs(through).Admin, "")
	c.Must(err)
	l, err := client.Members(t.Context())
	c.Must(err, "list members")
	change := metadata.MembersChange{Verb: verb, Version: l.Version, Node: member(t, l, name).ID}
	if by != "" {
		change.By = member(t, l, by).ID
	}
	c.Must(client.ChangeMembers(t.Context(), change), verb.String(), name)
	c.Await(fmt.Sprintf("%s of %s", verb, name), func() error {
		l, err = client.Members(t.Context())
		if err != nil || !l.Settled || l.Version <= change.Version {
			return errors.Join(fmt.Errorf("%+v", l), err)
		}
		return nil
	})
	return l
}

func member(t *testing.T, l admin.MemberList, name string) admin.Member {
	t.Helper()
	i := slices.IndexFunc(l.Members, func(m admin.Member) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("%s is no member of %+v", name, l)
	}
	return l.Members[i]
}

// A voter is replaced and the leader leaves; clients of the others notice
// nothing, and the one that left stays away after a restart.
func TestMembersLeaveWithoutAnErrorToClients(t *testing.T) {
	c := start(t)
	client, err := admin.NewClient("http://"+c.Addrs(1).Admin, "")
	c.Must(err)
	var list admin.MemberList
	c.Await("a leader and five voters of six", func() error {
		list, err = client.Members(t.Context())
		leads := slices.ContainsFunc(list.Members, func(m admin.Member) bool { return m.Role == admin.RoleLeader })
		if err != nil || !list.Settled || !leads || len(list.Members) != 6 || len(voters(list)) != 5 {
			return errors.Join(fmt.Errorf("%+v", list), err)
		}
		return nil
	})
	names := map[string]int{}
	for i := 1; i <= 6; i++ {
		at, err := admin.NewClient("http://"+c.Addrs(i).Admin, "")
		c.Must(err)
		s, err := at.Status(t.Context())
		c.Must(err)
		names[s.Node.Name] = i
	}
	spare := list.Members[slices.IndexFunc(list.Members, func(m admin.Member) bool { return m.Role == admin.RoleNonvoter })].Name
	leader := list.Members[slices.IndexFunc(list.Members, func(m admin.Member) bool { return m.Role == admin.RoleLeader })].Name
	old := list.Members[slices.IndexFunc(list.Members, func(m admin.Member) bool { return m.Role == admin.RoleVoter })].Name
	stay := others(6, names[leader], names[old])

	stop := load(t, c, stay)
	if l := decide(t, c, stay[0], metadata.MembersReplace, old, spare); len(l.Members) != 5 || !slices.Contains(voters(l), spare) || len(voters(l)) != 5 {
		t.Errorf("members after the replacement: %+v", l)
	}
	if l := decide(t, c, names[leader], metadata.MembersRemove, leader, ""); len(l.Members) != 4 || len(voters(l)) != 3 {
		t.Errorf("members after the leader left: %+v", l)
	}
	stop()

	c.Must(c.Stop(names[leader]), "stop the one that left")
	c.Must(c.Start(names[leader]), "start it again")
	gone, err := admin.NewClient("http://"+c.Addrs(names[leader]).Admin, "")
	c.Must(err)
	c.Await("an answer of the one that left", func() error {
		_, err := gone.Status(t.Context())
		return err
	})
	brief, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := gone.Ready(brief); err == nil {
		t.Error("the node that left is ready after a restart")
	}
	c.Await("the one that left asks the others who the members are", func() error {
		l, err := gone.Members(t.Context())
		if err == nil && len(l.Members) != 4 {
			err = fmt.Errorf("%+v", l)
		}
		return err
	})
}

func voters(l admin.MemberList) (names []string) {
	for _, m := range l.Members {
		if m.Role != admin.RoleNonvoter {
			names = append(names, m.Name)
		}
	}
	return names
}

// load uploads objects through the nodes until stop is called, which waits for
// the last. Any error fails the test.
func load(t *testing.T, c *testcluster.Cluster, nodes []int) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := uint64(0); ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			if _, err := upload(t.Context(), c, nodes, fmt.Sprintf("load-%d", i), i, 100_000); err != nil {
				t.Errorf("upload %d: %v", i, err)
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
