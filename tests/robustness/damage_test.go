package robustness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"partstore/internal/testrand"
	"partstore/internal/testwait"
	"partstore/node/admin"
)

// Property: a node whose copy of the registry's log is damaged, while it runs
// or while it is down, voter or leader, gives the copy up without an answer from
// it, fetches another and is a member again: in the same process, without an operator,
// and nothing that was acknowledged is lost.
func TestADamagedRegistryIsReplacedWithoutAnOperator(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	underUploads(t, c, rnd, func(progress func()) {
		for round, tc := range []struct {
			role    admin.Role
			running bool
		}{{admin.RoleVoter, true}, {admin.RoleLeader, true}, {admin.RoleVoter, false}} {
			progress()
			victim := c.withRole(tc.role)
			t.Logf("round %d: damage node%d, a %s", round, victim, tc.role)
			dir := filepath.Join(c.dir, fmt.Sprintf("node%d", victim))
			before := quarantined(t, dir)
			if !tc.running {
				c.must(c.Kill(victim))
			}
			flipMetas(t, filepath.Join(dir, "registry", "raft.db"))
			if !tc.running {
				c.must(c.Start(victim))
			}
			pid := c.PID(victim)
			c.eventually("a registry set aside", func() error {
				if now := quarantined(t, dir); now == before {
					return fmt.Errorf("set aside as before: %s", now)
				}
				return nil
			})
			progress() // the others go on
			c.ready()
			c.eventually("all votes again", func() error {
				if roles := c.roles(); voters(roles) != 5 || roles[victim] == admin.RoleUnknown {
					return fmt.Errorf("roles %v", roles)
				}
				return nil
			})
			c.eventually("a clean status", func() error {
				s, err := c.status(victim)
				if err == nil && len(s.Damaged) > 0 {
					err = fmt.Errorf("damaged: %v", s.Damaged)
				}
				return err
			})
			if c.PID(victim) != pid {
				t.Errorf("node%d is another process", victim)
			}
		}
		progress()
	})
}

// quarantined names what was set aside in a data directory.
func quarantined(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "registry-quarantined-*"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(paths)
}

// flipMetas flips a bit in each of the two pages of the log that say where
// everything else is.
func flipMetas(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{16 + 60, 4096 + 16 + 60} {
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 2
		if _, err := f.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cluster) status(i int) (admin.Status, error) {
	client, err := c.Admin(i)
	if err != nil {
		return admin.Status{}, err
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), requestPatience)
	defer cancel()
	return client.Status(ctx)
}

func (c *cluster) nodes() testwait.Nodes {
	return testwait.Nodes{T: c.t, Count: c.Nodes(), Patience: patience, Running: c.Running, Status: c.status}
}

// voters counts the nodes that vote.
func voters(roles map[int]admin.Role) (n int) {
	for _, role := range roles {
		if role == admin.RoleVoter || role == admin.RoleLeader {
			n++
		}
	}
	return n
}

// roles are those of all nodes, as any node tells them.
func (c *cluster) roles() map[int]admin.Role {
	c.t.Helper()
	roles := map[int]admin.Role{}
	for i := 1; i <= c.Nodes(); i++ {
		client, err := admin.NewClient(c.AdminURL(i), "")
		c.must(err)
		list, err := client.Nodes(c.t.Context())
		if err != nil || len(list.Nodes) != c.Nodes() {
			continue
		}
		for _, n := range list.Nodes {
			var k int
			if _, err := fmt.Sscanf(n.Name, "node%d", &k); err != nil {
				c.t.Fatal(err)
			}
			roles[k] = n.Role
		}
		return roles
	}
	return roles
}

func (c *cluster) withRole(role admin.Role) (node int) {
	c.t.Helper()
	c.eventually("a "+string(role), func() error {
		roles := c.roles()
		for i, is := range roles {
			if is == role {
				node = i
				return nil
			}
		}
		return fmt.Errorf("roles %v", roles)
	})
	return node
}

// eventually polls until look finds nothing missing; if patience is at its end,
// the test fails with what it said last.
func (c *cluster) eventually(what string, look func() error) {
	c.t.Helper()
	c.nodes().Await(what, look)
}
