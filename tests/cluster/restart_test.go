package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"partstore/internal/testcluster"
	"partstore/internal/testrand"
)

func TestAllNodesKilledAtOnceLoseNothing(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	objects := fill(t, c)
	id, err := c.Client(1).Initiate(t.Context(), bucket, "open upload")
	c.Must(err)
	body := payload(5, 4<<20)
	_, err = c.Client(2).PutPart(t.Context(), bucket, "open upload", id, 3, bytes.NewReader(body), int64(len(body)))
	c.Must(err)
	for i := 1; i <= 6; i++ {
		c.Must(c.Kill(i))
	}
	for _, i := range rnd.Perm(6) {
		c.Must(c.Start(i + 1))
	}
	c.WaitReady()
	for node := 1; node <= 6; node++ {
		checkAll(t, c, rnd, node, objects)
		page, err := c.Client(node).ListParts(t.Context(), bucket, "open upload", id, -1, 10)
		if err != nil || page.Count != 1 || page.Parts[0].Number != 3 {
			t.Errorf("node %d lists %+v, %v", node, page, err)
		}
	}
}

func TestAWipedNodeComesBackAsANewOne(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	objects := fill(t, c)
	victim := leader(c)
	c.Must(c.Kill(victim))
	c.Must(os.RemoveAll(c.Dir(victim)))
	c.Must(c.Start(victim))
	c.WaitReady()
	checkAll(t, c, rnd, victim, objects)
	for _, node := range others(6, victim) {
		checkAll(t, c, rnd, node, objects)
	}
	body, err := upload(t.Context(), c, []int{victim}, "after", 9, 4<<20, 17)
	c.Must(err)
	checkExact(t, c, rnd, victim%6+1, "after", body)
}

func TestSwappedDirectoriesAreRefused(t *testing.T) {
	c := start(t)
	one, two := c.Dir(1), c.Dir(2)
	c.Must(c.Stop(1))
	c.Must(c.Stop(2))
	aside := filepath.Join(filepath.Dir(one), "aside")
	for _, move := range [][2]string{{one, aside}, {two, one}, {aside, two}} {
		c.Must(os.Rename(move[0], move[1]))
	}
	for i := 1; i <= 2; i++ {
		if err := c.Cluster.Start(i); err == nil || !strings.Contains(err.Error(), "belongs to node") {
			t.Errorf("node %d started in the directory of the other: %v", i, err)
		}
	}
}

func TestADirectoryOfAnotherClusterIsRefused(t *testing.T) {
	c := start(t)
	other := testcluster.Start(t, 3, smallScheme)
	c.Must(c.Stop(1))
	c.Must(other.Stop(1))
	c.Must(os.RemoveAll(c.Dir(1)))
	c.Must(os.Rename(other.Dir(1), c.Dir(1)))
	c.Must(c.Cluster.Start(1))
	ended, err := c.Ended(1)
	select {
	case <-ended:
		if err() == nil || !strings.Contains(err().Error(), "another cluster") {
			t.Errorf("node ended with %v", err())
		}
	case <-t.Context().Done():
		t.Fatal("node of another cluster keeps running")
	}
	c.Must(c.Stop(1))
	c.Must(c.Client(2).CreateBucket(t.Context(), "still-works"))
}

func TestANodeWithoutItsRegistryOrStoreIsRefused(t *testing.T) {
	c := start(t)
	for node, part := range map[int]string{2: "registry", 3: "store"} {
		c.Must(c.Stop(node))
		c.Must(os.RemoveAll(filepath.Join(c.Dir(node), part)))
		c.Must(c.Cluster.Start(node))
		ended, err := c.Ended(node)
		select {
		case <-ended:
			if err() == nil || !strings.Contains(err().Error(), part) {
				t.Errorf("node without its %s ended with %v", part, err())
			}
		case <-t.Context().Done():
			t.Fatalf("node without its %s keeps running", part)
		}
		c.Must(c.Stop(node))
	}
}
