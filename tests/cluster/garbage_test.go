package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"partstore/chunkstore"
	"partstore/internal/layout"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/node"
	"partstore/node/admin"
	"partstore/node/datadir"
)

// eagerly frees garbage at once.
func eagerly(cfg *node.Config) {
	cfg.GCGrace, cfg.GCInterval = time.Nanosecond, 20*time.Millisecond
}

func adminOf(c *testcluster.Cluster, i int) *admin.Client {
	c.T.Helper()
	client, err := admin.NewClient("http://"+c.Addrs(i).Admin, "")
	c.Must(err)
	return client
}

// waitUntilFreed waits until a node's copy of the garbage queue is empty.
func waitUntilFreed(c *testcluster.Cluster, through int) {
	c.T.Helper()
	c.Await("the garbage queue is empty", func() error {
		s, err := adminOf(c, through).Garbage(c.T.Context())
		if err != nil || s.Entries > 0 {
			return errors.Join(fmt.Errorf("%+v", s), err)
		}
		return nil
	})
}

// chunksOf are the chunks the records of an object name.
func chunksOf(c *testcluster.Cluster, through int, key string) (chunks []layout.ChunkID) {
	c.T.Helper()
	report, err := adminOf(c, through).InspectObject(c.T.Context(), bucket, key)
	c.Must(err, "inspect", key)
	for _, p := range report.Parts {
		for i, chunk := range p.Chunks {
			if chunk.State == admin.ChunkOK {
				chunks = append(chunks, layout.ChunkID{Attempt: p.Attempt, Index: uint8(i)})
			}
		}
	}
	return chunks
}

// onDisk opens the store of a stopped node.
func onDisk(c *testcluster.Cluster, i int, use func(*chunkstore.Disk)) {
	c.T.Helper()
	id, err := datadir.Load(c.Dir(i), fmt.Sprintf("node%d", i))
	c.Must(err, "load identity")
	disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: filepath.Join(c.Dir(i), "store"), ID: id.Store, Cluster: id.Cluster})
	c.Must(err, "open store")
	use(disk)
	c.Must(disk.Close())
}

// empty deletes all chunks of a stopped node's store and returns them.
func empty(c *testcluster.Cluster, i int) (deleted []layout.ChunkID) {
	c.T.Helper()
	onDisk(c, i, func(disk *chunkstore.Disk) {
		for {
			page, err := disk.List(c.T.Context(), layout.ChunkID{}, 1000)
			c.Must(err)
			if len(page) == 0 {
				return
			}
			for _, info := range page {
				c.Must(disk.Delete(c.T.Context(), info.ID))
				deleted = append(deleted, info.ID)
			}
		}
	})
	return deleted
}

// stored stops the cluster and returns all chunks on the drives of its nodes.
func stored(c *testcluster.Cluster) map[layout.ChunkID]bool {
	c.T.Helper()
	c.Must(c.Close(), "stop the cluster")
	chunks := map[layout.ChunkID]bool{}
	for i := 1; i <= c.Nodes; i++ {
		onDisk(c, i, func(disk *chunkstore.Disk) {
			for after := (layout.ChunkID{}); ; {
				page, err := disk.List(c.T.Context(), after, 1000)
				c.Must(err, "list store")
				if len(page) == 0 {
					return
				}
				for _, info := range page {
					chunks[info.ID] = true
					after = info.ID
				}
			}
		})
	}
	return chunks
}

// What was deleted, replaced and aborted is freed, on a node that was away too,
// and nothing else.
func TestSpaceComesBack(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t, eagerly)
	kept := map[string][]byte{}
	for i := range 6 {
		key := fmt.Sprint("kept-", i)
		body, err := upload(t.Context(), c, others(6), key, uint64(i), 4<<20, 100_000)
		c.Must(err, key)
		kept[key] = body
		_, err = upload(t.Context(), c, others(6), fmt.Sprint("deleted-", i), uint64(i), 200_000)
		c.Must(err)
	}
	away := 1 + rnd.IntN(6)
	c.Must(c.Kill(away))
	here := others(6, away)
	for i := range 6 {
		c.Must(c.Client(here[0]).DeleteObject(t.Context(), bucket, fmt.Sprint("deleted-", i)), "delete")
		if i%2 == 0 {
			key := fmt.Sprint("kept-", i)
			body, err := upload(t.Context(), c, here, key, uint64(50+i), 300_000)
			c.Must(err, key)
			kept[key] = body
		}
	}
	id, err := c.Client(here[0]).Initiate(t.Context(), bucket, "aborted")
	c.Must(err)
	for n := range 20 {
		_, err := c.Client(here[n%5]).PutPart(t.Context(), bucket, "aborted", id, n/2, bytes.NewReader(payload(9, 70_000)), 70_000)
		c.Must(err, "put part")
	}
	c.Must(c.Client(here[0]).Abort(t.Context(), bucket, "aborted", id), "abort")

	c.Await("the nodes that are there gave up their share", func() error {
		swept, err := adminOf(c, here[0]).SweepGarbage(t.Context())
		if err != nil || swept.Waiting == 0 || swept.Freed.Chunks > 0 || swept.Unfinished {
			return errors.Join(fmt.Errorf("%+v", swept), err)
		}
		return nil
	})
	c.Must(c.Start(away))
	c.WaitReady()
	waitUntilFreed(c, here[0])

	named := map[layout.ChunkID]bool{}
	for key, body := range kept {
		checkExact(t, c, rnd, away, key, body)
		for _, id := range chunksOf(c, here[0], key) {
			named[id] = true
		}
	}
	left := stored(c)
	for id := range named {
		if !left[id] {
			t.Errorf("chunk %s is named and gone", id)
		}
		delete(left, id)
	}
	if len(left) > 0 {
		t.Errorf("%d chunks are left that no record names: %v", len(left), left)
	}
}

// A reader of an object that is replaced and freed under its feet gets the old
// bytes, or is cut off.
func TestReaderOfWhatIsFreedGetsOldBytesOrIsCutOff(t *testing.T) {
	c := start(t, eagerly)
	const key = "object"
	body, err := upload(t.Context(), c, others(6), key, 1, 8<<20, 8<<20, 8<<20)
	c.Must(err)
	r, err := c.Client(2).GetObject(t.Context(), bucket, key, "")
	c.Must(err, "open")
	defer r.Close()
	got := make([]byte, 1<<20)
	_, err = io.ReadFull(r, got)
	c.Must(err, "read the beginning")
	for i := range 2 {
		_, err := upload(t.Context(), c, others(6), key, uint64(10+i), 9<<20, 9<<20)
		c.Must(err, "replace")
		waitUntilFreed(c, 3)
	}
	c.Must(c.Client(4).DeleteObject(t.Context(), bucket, key), "delete")
	waitUntilFreed(c, 3)
	rest, err := io.ReadAll(r)
	got = append(got, rest...)
	if !bytes.HasPrefix(body, got) || err == nil && len(got) != len(body) {
		t.Errorf("%d bytes of %d, equal as far as they go: %t, err %v", len(got), len(body), bytes.HasPrefix(body, got), err)
	}
}

// What a coordinator left behind is freed once it has started anew, and what it
// may still be writing is not.
func TestOrphansOfAnEndedIncarnationAreFreed(t *testing.T) {
	c := start(t, func(cfg *node.Config) { cfg.OrphanInterval = 50 * time.Millisecond })
	body, err := upload(t.Context(), c, []int{2}, "object", 1, 4<<20, 100_000)
	c.Must(err)
	inc := chunksOf(c, 1, "object")[0].Attempt.Incarnation()
	_, err = upload(t.Context(), c, []int{3}, "other", 1, 1000)
	c.Must(err)
	live := chunksOf(c, 1, "other")[0].Attempt.Incarnation()

	c.Must(c.Stop(2))
	orphan := layout.ChunkID{Attempt: layout.NewAttemptID(inc, 1, 1<<40)}
	underWay := layout.ChunkID{Attempt: layout.NewAttemptID(live, 1, 1<<40)}
	onDisk(c, 2, func(disk *chunkstore.Disk) {
		for _, id := range []layout.ChunkID{orphan, underWay} {
			w, err := disk.Create(t.Context(), id, nil)
			c.Must(err)
			c.Must(w.WriteBlock([]byte("left behind")))
			c.Must(w.Commit())
		}
	})
	c.Must(c.Start(2))
	c.WaitReady()
	c.Await("the orphan is freed", func() error {
		nodes, err := adminOf(c, 1).Nodes(t.Context())
		c.Must(err)
		for _, n := range nodes.Nodes {
			if n.Name == "node2" && n.Freed != nil && n.Freed.Chunks > 0 {
				return nil
			}
		}
		return fmt.Errorf("nodes %+v", nodes.Nodes)
	})
	checkExact(t, c, testrand.New(t), 2, "object", body)
	left := stored(c)
	if left[orphan] || !left[underWay] {
		t.Errorf("the orphan is there: %t; what may still be written is there: %t", left[orphan], left[underWay])
	}
}
