package robustness

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"partstore/internal/testrand"
	"partstore/node/admin"
)

var drains = flag.Int("drains", 1, "how often TestADrainGoesOnWhateverIsKilled drains a node")

// A drain that an operator began comes to its end, or is finished by the same
// command, whichever processes are killed meanwhile: the leader, the node that
// is drained, one that takes its chunks, the command itself. Once the command says
// that it is done, the node's drive may be destroyed, and the node is taken out of
// the cluster.
func TestADrainGoesOnWhateverIsKilled(t *testing.T) {
	rnd := testrand.New(t)
	for run := range *drains {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		t.Run(fmt.Sprint("drain ", run+1), func(t *testing.T) { drainAmongKills(t, own) })
	}
}

func drainAmongKills(t *testing.T, rnd *rand.Rand) {
	// Nothing is done because of absence, and a drain takes some seconds.
	c := startNodes(t, 7, "PARTSTORE_OUT_GRACE=1h", "PARTSTORE_HEAL_INTERVAL=200ms", "PARTSTORE_HEAL_BANDWIDTH=2500000")
	kept := c.upload(3, "kept")
	order := rnd.Perm(c.Nodes())
	drained, through := 1+order[0], 1+order[1]
	name := fmt.Sprint("node", drained)
	begin := func() *exec.Cmd {
		cmd := exec.Command(partctl, "node", "drain", name, "--wait", patience.String(), "--admin", c.AdminURL(through))
		c.must(cmd.Start())
		return cmd
	}
	command := begin()
	victims := []string{"the command", "the leader", "the drained node", "a target"}
	for _, which := range rnd.Perm(len(victims)) {
		time.Sleep(time.Duration(rnd.IntN(700)) * time.Millisecond)
		if which == 0 {
			_ = command.Process.Signal(syscall.SIGKILL) // it may have ended by now
			_ = command.Wait()
			command = begin()
			continue
		}
		victim := []int{0, c.withRole(admin.RoleLeader), drained, 1 + order[2+rnd.IntN(len(order)-2)]}[which]
		t.Logf("%s, node%d, is killed with %d slots left to drain", victims[which], victim, c.leftOn(through, name))
		c.must(c.Kill(victim))
		time.Sleep(time.Duration(rnd.IntN(700)) * time.Millisecond)
		c.must(c.Start(victim))
		c.ready()
	}
	for deadline := time.Now().Add(2 * patience); command.Wait() != nil; command = begin() { // it met a node that was killed, or an election
		if time.Now().After(deadline) {
			t.Fatalf("not drained within %s\n%s", 2*patience, c.nodes().Describe())
		}
	}
	dir := c.DataDir(drained)
	c.must(c.Kill(drained))
	c.must(os.RemoveAll(dir))
	var wg sync.WaitGroup
	for _, i := range order[1:] {
		wg.Go(func() {
			for _, u := range kept {
				c.checkOne(u, 1+i)
			}
		})
	}
	wg.Wait()
	c.partctl(0, "node", "decommission", name, "--yes", "--admin", c.AdminURL(through))
	c.eventually("the node is no member any more", func() error {
		client, err := c.Admin(through)
		if err != nil {
			return err
		}
		members, err := client.Members(t.Context())
		for _, m := range members.Members {
			if m.Name == name {
				err = fmt.Errorf("%s is a member", name)
			}
		}
		return err
	})
}

// leftOn is how many slots still need a node, as another tells; -1 if it cannot.
func (c *cluster) leftOn(through int, name string) int {
	c.t.Helper()
	client, err := c.Admin(through)
	c.must(err)
	list, err := client.Nodes(c.t.Context())
	for _, n := range list.Nodes {
		if n.Name == name && err == nil {
			return n.Needed()
		}
	}
	return -1
}
