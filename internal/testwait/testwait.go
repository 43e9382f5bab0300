// Package testwait waits for what the nodes of a test's cluster should come to,
// and says what they think of it if they do not.
package testwait

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partstore/node/admin"
)

// Nodes are the nodes of a cluster, numbered from 1.
type Nodes struct {
	T        testing.TB
	Count    int
	Patience time.Duration // bounds every wait; no claim about speed
	Running  func(i int) bool
	Status   func(i int) (admin.Status, error)
}

// Await polls until look finds nothing missing. If patience is at its end, the
// test fails with what it said last.
func (n Nodes) Await(what string, look func() error) {
	n.T.Helper()
	for deadline := time.Now().Add(n.Patience); ; time.Sleep(20 * time.Millisecond) {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.T.Fatalf("not within %s: %s: %v\n%s", n.Patience, what, err, n.Describe())
		}
	}
}

// AwaitEachOther waits until every running node sees the others: a node may serve
// before all have heard that it is there.
func (n Nodes) AwaitEachOther() {
	n.T.Helper()
	var running []int
	for i := 1; i <= n.Count; i++ {
		if n.Running(i) {
			running = append(running, i)
		}
	}
	for _, i := range running {
		n.Await(fmt.Sprintf("node %d sees the others", i), func() error {
			s, err := n.Status(i)
			if err == nil && s.Nodes.Up < len(running) {
				err = fmt.Errorf("it sees %d of %d", s.Nodes.Up, len(running))
			}
			return err
		})
	}
}

// Describe says what every node thinks of the cluster.
func (n Nodes) Describe() string {
	var b strings.Builder
	for i := 1; i <= n.Count; i++ {
		if !n.Running(i) {
			fmt.Fprintf(&b, "node %d: not running\n", i)
			continue
		}
		s, err := n.Status(i)
		if err != nil {
			fmt.Fprintf(&b, "node %d: %v\n", i, err)
			continue
		}
		leader := "none"
		if s.Leader != nil {
			leader = s.Leader.Name
		}
		fmt.Fprintf(&b, "node %d: %s, leader %s, term %d, voters", i, s.Health, leader, s.Term)
		for _, v := range s.Voters {
			fmt.Fprintf(&b, " %s", v.Name)
		}
		fmt.Fprintf(&b, ", nodes %+v, stores %+v, groups %+v, reasons %v\n", s.Nodes, s.Stores, s.Groups, s.Reasons)
	}
	return b.String()
}
