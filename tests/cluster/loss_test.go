package cluster

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node"
)

// sizes are parts around the boundaries of blocks and stripes; all but the
// last of an upload are above the smallest allowed.
var lossSizes = [][]int{
	{1}, {64 << 10}, {64<<10 + 1}, {256 << 10}, {1<<20 + 7},
	{4 << 20, 5<<20 + 1, 100_000},
}

// fill stores the objects every loss is tried on, whole.
func fill(t *testing.T, c *testcluster.Cluster) map[string][]byte {
	t.Helper()
	objects := make(map[string][]byte)
	for i, sizes := range lossSizes {
		key := fmt.Sprintf("object-%d", i)
		objects[key] = uploadWhole(t, c, others(6), key, uint64(100*i), sizes...)
	}
	return objects
}

func checkAll(t *testing.T, c *testcluster.Cluster, rnd *rand.Rand, node int, objects map[string][]byte) {
	t.Helper()
	for key, want := range objects {
		checkExact(t, c, rnd, node, key, want)
	}
}

// pairs calls f with every pair of six nodes and one node of neither.
func pairs(f func(i, j, other int)) {
	for i := 1; i <= 6; i++ {
		for j := i + 1; j <= 6; j++ {
			f(i, j, others(6, i, j)[(i+j)%4])
		}
	}
}

// segments are the files that hold the chunks of a node.
func segments(t *testing.T, c *testcluster.Cluster, node int) (files []string) {
	t.Helper()
	root := filepath.Join(c.Dir(node), "store", "segments")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	c.Must(err, "list segments")
	if len(files) == 0 {
		t.Fatalf("node %d has no segments", node)
	}
	return files
}

// damage flips one byte in every 4 KiB of a node's chunks, which is at least
// one in every chunk, and returns what undoes it.
func damage(t *testing.T, c *testcluster.Cluster, rnd *rand.Rand, node int) (undo func()) {
	t.Helper()
	originals := make(map[string][]byte)
	for _, file := range segments(t, c, node) {
		b, err := os.ReadFile(file)
		c.Must(err)
		originals[file] = b
		bad := bytes.Clone(b)
		for unit := range slices.Chunk(bad, 4096) {
			if written := len(bytes.TrimRight(unit, "\x00")); written > 0 {
				unit[rnd.IntN(written)] ^= 1 << rnd.IntN(8)
			}
		}
		c.Must(os.WriteFile(file, bad, 0o600))
	}
	return func() {
		for file, b := range originals {
			c.Must(os.WriteFile(file, b, 0o600))
		}
	}
}

// remove takes the segments of a node away, also from a process that has them
// open, and returns what undoes it.
func remove(t *testing.T, c *testcluster.Cluster, node int) (undo func()) {
	dir := filepath.Join(c.Dir(node), "store", "segments")
	originals := make(map[string][]byte)
	for _, file := range segments(t, c, node) {
		b, err := os.ReadFile(file)
		c.Must(err)
		originals[filepath.Join(dir+".away", filepath.Base(file))] = b
	}
	c.Must(os.Rename(dir, dir+".away"))
	for file := range originals {
		c.Must(os.Truncate(file, 0))
	}
	return func() {
		for file, b := range originals {
			c.Must(os.WriteFile(file, b, 0o600))
		}
		c.Must(os.Rename(dir+".away", dir))
	}
}

func TestAnyTwoStoresMayBeDamaged(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	objects := fill(t, c)
	changeRepair(c, 1, metadata.RepairPause) // damage is undone below
	pairs(func(i, j, other int) {
		undoI, undoJ := damage(t, c, rnd, i), damage(t, c, rnd, j)
		checkAll(t, c, rnd, other, objects)
		undoThird := damage(t, c, rnd, other)
		for key, want := range objects {
			got, err := read(t.Context(), c.Client(other), key, "")
			if err == nil && !bytes.Equal(got, want) || !bytes.HasPrefix(want, got) {
				t.Fatalf("nodes %d, %d, %d damaged: wrong bytes of %s", i, j, other, key)
			}
			if err != nil && qsclient.StatusOf(err) != http.StatusServiceUnavailable && qsclient.StatusOf(err) != 0 {
				t.Errorf("three stores damaged: %s answers %v, want 503", key, err)
			}
		}
		undoThird()
		undoI()
		undoJ()
	})
}

func TestAnyTwoStoresMayBeRemoved(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	objects := fill(t, c)
	changeRepair(c, 1, metadata.RepairPause) // damage is undone below
	pairs(func(i, j, other int) {
		undoI, undoJ := remove(t, c, i), remove(t, c, j)
		checkAll(t, c, rnd, other, objects)
		key := fmt.Sprintf("uploaded without %d and %d", i, j)
		body := uploadWhole(t, c, others(6), key, rnd.Uint64(), 4<<20, 70_000)
		checkExact(t, c, rnd, other, key, body)
		undoI() // which takes what the two got meanwhile
		undoJ()
		checkExact(t, c, rnd, i, key, body)
	})
}

func TestAnyTwoNodesMayStop(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	objects := fill(t, c)
	pairs(func(i, j, other int) {
		c.Must(c.Kill(i))
		c.Must(c.Kill(j))
		left := others(6, i, j)
		for _, node := range left {
			checkAll(t, c, rnd, node, objects)
		}
		key := fmt.Sprintf("uploaded without %d and %d", i, j)
		var body []byte
		c.Await(key, func() (err error) { // with two down, one more that seems to be is one too many: come back
			body, err = upload(t.Context(), c, left, key, rnd.Uint64(), 4<<20, 70_000)
			if qsclient.StatusOf(err) != http.StatusServiceUnavailable {
				c.Must(err, key)
			}
			return err
		})
		checkExact(t, c, rnd, other, key, body)
		c.Must(c.Start(i))
		c.Must(c.Start(j))
		c.WaitReady()
		checkExact(t, c, rnd, i, key, body)
	})
}

// With a third node gone, some clusters have lost the majority of their voters
// and some have not; either way the answer is 503, or right.
func TestThreeNodesDownIsAClear503(t *testing.T) {
	c := start(t, func(cfg *node.Config) { cfg.RegistryTimeout = time.Second })
	objects := fill(t, c)
	for _, down := range [][]int{{1, 2, 3}, {2, 4, 6}} {
		for _, i := range down {
			c.Must(c.Kill(i))
		}
		var wg sync.WaitGroup
		for _, survivor := range others(6, down...) {
			wg.Go(func() { checkThreeDown(t, c, survivor, objects) })
		}
		wg.Wait()
		for _, i := range down {
			c.Must(c.Start(i))
		}
		c.WaitReady()
	}
}

func checkThreeDown(t *testing.T, c *testcluster.Cluster, node int, objects map[string][]byte) {
	for key, want := range objects {
		got, err := read(t.Context(), c.Client(node), key, "")
		if err == nil && bytes.Equal(got, want) {
			continue // a small object has copies enough
		}
		if err == nil || qsclient.StatusOf(err) != http.StatusServiceUnavailable {
			t.Errorf("three nodes down: %s through node %d: %d bytes, %v; want 503", key, node, len(got), err)
		}
	}
	if _, err := c.Client(node).Initiate(t.Context(), bucket, "key"); qsclient.StatusOf(err) != http.StatusServiceUnavailable && err != nil {
		t.Errorf("three nodes down: initiate through node %d: %v; want 503 or success", node, err)
	}
	// As long as one of the dead nodes seems to be up, three chunks of a narrow
	// scheme are a write quorum; then the object is there, with a chunk to spare.
	body, key := make([]byte, 1<<20), fmt.Sprint("refused-", node)
	for deadline := time.Now().Add(testcluster.Patience); time.Now().Before(deadline); {
		err := c.Client(node).PutObject(t.Context(), bucket, key, bytes.NewReader(body), int64(len(body)))
		if qsclient.StatusOf(err) == http.StatusServiceUnavailable {
			return
		}
		var got []byte
		if err == nil {
			got, err = read(t.Context(), c.Client(node), key, "")
		}
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("three nodes down: put through node %d: %d bytes, %v; want 503 or success", node, len(got), err)
			return
		}
	}
	t.Errorf("three nodes down: node %d goes on taking objects\n%s", node, c.Describe())
}
