package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node"
)

// waitUntilWhole waits until every chunk of every object is there and verified.
func waitUntilWhole(c *testcluster.Cluster, through int, objects map[string][]byte) {
	c.T.Helper()
	for key := range objects {
		c.Await(key+" is whole", func() error { return whole(c, through, key) })
	}
}

// Chunks taken off the drives of as many nodes as the scheme survives, one after
// the other, come back; the data is then safe without the others.
func TestMissingChunksAreHealed(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t, func(cfg *node.Config) { cfg.HealInterval = 50 * time.Millisecond })
	objects := fill(t, c)
	named := map[layout.ChunkID]bool{}
	for key := range objects {
		for _, id := range chunksOf(c, 1, key) {
			named[id] = true
		}
	}
	lost := 0
	for _, i := range []int{2, 5} {
		c.Must(c.Stop(i))
		for _, id := range empty(c, i) {
			if named[id] {
				lost++
			}
		}
		c.Must(c.Start(i))
	}
	c.WaitReady()
	waitUntilWhole(c, 1, objects)
	c.Await("all that was lost was rebuilt", func() error {
		if n := rebuilt(c, 3); n < lost {
			return fmt.Errorf("%d chunks were rebuilt of %d", n, lost)
		}
		return nil
	})
	for _, i := range []int{1, 6} {
		c.Must(c.Kill(i))
	}
	for key, want := range objects {
		checkExact(t, c, rnd, 2+rnd.IntN(4), key, want)
	}
	if lost == 0 {
		t.Error("nothing was lost")
	}
}

// rebuilt is how many chunks all nodes that answer rebuilt since they started.
func rebuilt(c *testcluster.Cluster, through int) (n int) {
	c.T.Helper()
	nodes, err := adminOf(c, through).Nodes(c.T.Context())
	c.Must(err)
	for _, node := range nodes.Nodes {
		if node.Heal != nil {
			n += node.Heal.AllRebuilt
		}
	}
	return n
}

// flip changes one byte in every 4 KiB that a running node's chunks take.
func flip(t *testing.T, c *testcluster.Cluster, rnd *rand.Rand, node int) {
	t.Helper()
	for _, name := range segments(t, c, node) {
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		c.Must(err)
		b, err := io.ReadAll(file)
		c.Must(err)
		for at := 4096; at < len(b); at += 4096 { // what comes before is no chunk's
			unit := b[at:min(at+4096, len(b))]
			if written := len(bytes.TrimRight(unit, "\x00")); written > 0 {
				i := rnd.IntN(written)
				_, err := file.WriteAt([]byte{unit[i] ^ 1<<rnd.IntN(8)}, int64(at+i))
				c.Must(err)
			}
		}
		c.Must(file.Close())
	}
}

// Bytes that changed on the drives of as many nodes as the scheme survives are
// found and healed without anybody reading the objects.
func TestDamagedChunksAreHealed(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t, func(cfg *node.Config) {
		cfg.ScrubPeriod, cfg.HealInterval = 100*time.Millisecond, 100*time.Millisecond
	})
	objects := fill(t, c)
	for _, i := range []int{3, 4} {
		flip(t, c, rnd, i)
	}
	waitUntilWhole(c, 1, objects)
	c.Await("the two nodes say that they rebuilt chunks", func() error {
		nodes, err := adminOf(c, 1).Nodes(t.Context())
		c.Must(err)
		for _, n := range nodes.Nodes {
			hit := n.Name == "node3" || n.Name == "node4"
			if hit && (n.Heal == nil || n.Heal.AllRebuilt == 0) {
				return fmt.Errorf("%s says %+v", n.Name, n.Heal)
			}
		}
		return nil
	})
	for _, i := range []int{2, 5} {
		c.Must(c.Kill(i))
	}
	for key, want := range objects {
		checkExact(t, c, rnd, []int{1, 3, 4, 6}[rnd.IntN(4)], key, want)
	}
}

// Stores that are told to read themselves in full find such bytes too, however long
// their scrubs may take, and nothing the next time.
func TestStoresAreReadWhenAsked(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t, func(cfg *node.Config) { cfg.HealInterval = 100 * time.Millisecond }) // for labels that changed
	objects := fill(t, c)
	for _, i := range []int{3, 4} {
		flip(t, c, rnd, i)
	}
	found := scrubAll(c, 1)
	if found["node3"] == 0 || found["node4"] == 0 || len(found) != 2 {
		t.Errorf("damage was found on %v", found)
	}
	waitUntilWhole(c, 1, objects)
	c.Eventually("the nodes say that they rebuilt what was found", func() bool { return rebuilt(c, 1) >= found["node3"]+found["node4"] })
	if again := scrubAll(c, 2); !maps.Equal(again, found) {
		t.Errorf("a second scrub: %v, after %v", again, found)
	}
}

// scrubAll has all stores read in full, asked for through a node, and returns how many
// damaged chunks the scrubs have found so far on the nodes that had any.
func scrubAll(c *testcluster.Cluster, through int) map[string]int {
	c.T.Helper()
	operator, asked := adminOf(c, through), time.Now()
	before, err := operator.Nodes(c.T.Context())
	c.Must(err)
	for _, n := range before.Nodes {
		for _, s := range n.Stores {
			c.Must(operator.RunScrub(c.T.Context(), s.ID))
		}
	}
	damaged := map[string]int{}
	c.Await("every store was read", func() error {
		nodes, err := operator.Nodes(c.T.Context())
		if err != nil {
			return err
		}
		for _, n := range nodes.Nodes {
			for _, s := range n.Stores {
				if s.Scrub == nil || s.Scrub.Verified.Before(asked) {
					return fmt.Errorf("%s: %+v", n.Name, s.Scrub)
				}
				if s.Scrub.Damaged > 0 {
					damaged[n.Name] = s.Scrub.Damaged
				}
			}
		}
		return nil
	})
	return damaged
}

// changeRepair pauses or resumes healing and waits until every node has heard.
func changeRepair(c *testcluster.Cluster, through int, verb metadata.RepairVerb) {
	c.T.Helper()
	c.Must(adminOf(c, through).ChangeRepair(c.T.Context(), verb, 0))
	c.Await("every node has heard", func() error {
		for i := 1; i <= c.Nodes; i++ {
			p, err := adminOf(c, i).Repair(c.T.Context())
			if err != nil || p.Paused != (verb == metadata.RepairPause) {
				return errors.Join(fmt.Errorf("node %d: %+v", i, p), err)
			}
		}
		return nil
	})
}

// Damage that a reader meets is healed soon, with no scrub and no pass over the
// records: by the node that has the chunk, unless an operator paused healing on
// all nodes, which the registry's events tell.
func TestReadersHaveDamageHealed(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	objects := fill(t, c)
	changeRepair(c, 2, metadata.RepairPause)
	for _, i := range []int{3, 4} {
		flip(t, c, rnd, i)
	}
	for _, reader := range []int{1, 3} { // one of which has damage of its own
		checkAll(t, c, rnd, reader, objects)
	}
	if n := rebuilt(c, 1); n > 0 {
		t.Errorf("%d chunks were rebuilt during the pause", n)
	}
	changeRepair(c, 5, metadata.RepairResume)
	c.Eventually("chunks are rebuilt", func() bool { return rebuilt(c, 1) > 0 })
	checkAll(t, c, rnd, 6, objects)
	c.Await("the events are recorded", func() error {
		l, err := adminOf(c, 6).Events(t.Context(), 100)
		var told []string
		for _, e := range l.Events {
			if e.Kind == metadata.EventRepairChanged && e.Node != nil {
				told = append(told, e.Node.Name+" "+e.Reason)
			}
		}
		if want := []string{"node2 pause", "node5 resume"}; err != nil || !slices.Equal(told, want) {
			return errors.Join(fmt.Errorf("events tell %q, want %q", told, want), err)
		}
		return nil
	})
}
