package robustness

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"partstore/internal/qsclient"
)

// Property: after every copy of the registry is gone, a backup makes a
// successor cluster with every part that was in it, on the same nodes and
// stores; what the backup does not have is 404; and a node that has not followed
// does not start, and says why.
func TestARestoredClusterHasEveryPartOfTheBackup(t *testing.T) {
	c := start(t)
	kept := c.upload(3, "kept")
	old := c.id(1)
	backup := filepath.Join(c.dir, "backup")
	c.partctl(0, "registry", "backup", backup, "--admin", c.AdminURL(2))
	var late string
	c.must(c.insist(func() (err error) { late, err = c.client(1).Initiate(t.Context(), bucket, "late"); return err }))

	restore := []string{"registry", "restore", backup, "--data-dir", c.DataDir(1)}
	if out := c.partctl(1, restore...); !strings.Contains(out, "another process") {
		t.Errorf("restore below a running node: %s", out)
	}
	c.must(c.Stop(1))
	if out := c.partctl(1, restore...); !strings.Contains(out, "cluster is running") {
		t.Errorf("restore beside running nodes: %s", out)
	}
	for i := 2; i <= c.Nodes(); i++ {
		c.must(c.Stop(i))
	}
	registry := func(i int) string { return filepath.Join(c.DataDir(i), "registry") }
	found := filepath.Join(c.dir, "found")
	c.must(os.Rename(registry(c.Nodes()), found)) // too late
	for i := 1; i < c.Nodes(); i++ {
		c.must(os.RemoveAll(registry(i)))
	}
	if out := c.partctl(0, restore...); !strings.Contains(out, "Nothing was done") {
		t.Errorf("restore without a confirmation: %s", out)
	}
	successor := c.succeed(append(restore, "--confirm", old)...)
	for i := 2; i < c.Nodes(); i++ {
		c.partctl(0, "registry", "adopt", "--data-dir", c.DataDir(i), old, successor)
	}
	for i := 1; i < c.Nodes(); i++ {
		c.must(c.Start(i))
	}
	c.ready()
	c.must(os.Rename(found, registry(c.Nodes())))
	c.refusedAsSucceeded(c.Nodes(), old, successor)
	c.partctl(0, "registry", "adopt", "--data-dir", c.DataDir(c.Nodes()), old, successor)
	c.must(c.Start(c.Nodes()))
	c.check(kept, successor, "late", late)
}

// Property: of one copy of the registry that is left, the one that has most, comes a
// successor cluster with every acknowledged part, on the same nodes and stores.
// It is refused as long as there is a quorum, or could be one.
func TestARecoveredClusterHasEveryAcknowledgedPart(t *testing.T) {
	c := start(t)
	kept := c.upload(3, "kept")
	old := c.id(1)
	recover := func(i int, more ...string) []string {
		return append([]string{"registry", "recover", "--data-dir", c.DataDir(i)}, more...)
	}
	c.must(c.Kill(1))
	if out := c.partctl(1, recover(1, "--confirm", old)...); !strings.Contains(out, "has a quorum") {
		t.Errorf("recover beside a quorum: %s", out)
	}
	for i := 2; i <= c.Nodes(); i++ {
		c.must(c.Kill(i))
	}
	best, most := 0, [2]uint64{}
	for i := 1; i <= c.Nodes(); i++ {
		var seen struct {
			Done bool
			Copy struct {
				Last uint64 `json:"last_index"`
				Term uint64 `json:"last_term"`
			}
		}
		c.must(json.Unmarshal([]byte(c.partctl(0, recover(i, "-o", "json")...)), &seen))
		if has := [2]uint64{seen.Copy.Term, seen.Copy.Last}; !seen.Done && (has[0] > most[0] || has[0] == most[0] && has[1] > most[1]) {
			best, most = i, has
		}
	}
	t.Logf("node%d has entry %d of term %d; the other copies are lost", best, most[1], most[0])
	for i := 1; i <= c.Nodes(); i++ {
		if i != best {
			c.must(os.RemoveAll(filepath.Join(c.DataDir(i), "registry")))
		}
	}
	successor := c.succeed(recover(best, "--confirm", old)...)
	for i := 1; i <= c.Nodes(); i++ {
		if i != best {
			c.partctl(0, "registry", "adopt", "--data-dir", c.DataDir(i), old, successor)
		}
		c.must(c.Start(i))
	}
	c.check(kept, successor, "", "")
}

// id is the cluster that a node is of.
func (c *cluster) id(node int) (id string) {
	c.t.Helper()
	c.eventually("a node says which cluster it is of", func() error {
		s, err := c.status(node)
		id = s.Cluster.String()
		return err
	})
	return id
}

// stored is an upload with the bodies of its parts, or the object it became.
type stored struct {
	key, id string
	open    bool
	bodies  [][]byte
}

// upload makes n objects and n open uploads of two parts each.
func (c *cluster) upload(n int, prefix string) (all []*stored) {
	c.t.Helper()
	for i := range 2 * n {
		u := &stored{key: fmt.Sprintf("%s-%d", prefix, i), open: i >= n}
		c.must(c.insist(func() (err error) {
			u.id, err = c.client(1+i%c.Nodes()).Initiate(c.t.Context(), bucket, u.key)
			return err
		}))
		for _, size := range []int{4<<20 + i, 100_000 + i} {
			u.bodies = append(u.bodies, u.put(c, 1+(i+len(u.bodies))%c.Nodes(), len(u.bodies), size))
		}
		if !u.open {
			u.complete(c, 1+i%c.Nodes())
		}
		all = append(all, u)
	}
	return all
}

func (u *stored) put(c *cluster, node, number, size int) (body []byte) {
	c.t.Helper()
	body = (&uploader{seed: uint64(size)}).body(number, size)
	c.must(c.insist(func() error {
		_, err := c.client(node).PutPart(c.t.Context(), bucket, u.key, u.id, number, bytes.NewReader(body), int64(size))
		return err
	}))
	return body
}

func (u *stored) complete(c *cluster, node int) {
	c.t.Helper()
	var parts []qsclient.Part
	for i := range u.bodies {
		parts = append(parts, qsclient.Part{Number: i})
	}
	c.must(c.insist(func() error { return c.client(node).Complete(c.t.Context(), bucket, u.key, u.id, parts) }))
	u.open = false
}

// check looks at a successor cluster from every node: open uploads have their
// parts, objects their bytes, and what never was, or is lost, is 404. Then it
// replaces a part of each open upload, completes it, and does the same with new
// ones.
func (c *cluster) check(kept []*stored, successor, lostKey, lost string) {
	c.t.Helper()
	c.ready()
	var wg sync.WaitGroup
	for node := 1; node <= c.Nodes(); node++ {
		wg.Go(func() {
			for _, u := range kept {
				c.checkOne(u, node)
			}
			for key, id := range map[string]string{lostKey: lost, kept[0].key: kept[0].id, kept[len(kept)-1].key: kept[len(kept)-2].id} {
				if key == "" {
					continue
				}
				err := c.insist(func() error { _, err := c.client(node).ListParts(c.t.Context(), bucket, key, id, -1, 10); return err })
				if qsclient.StatusOf(err) != http.StatusNotFound {
					c.t.Errorf("node%d: unknown upload %s of %s: %v, want 404", node, id, key, err)
				}
			}
			if s, err := c.status(node); err != nil || s.Cluster.String() != successor {
				c.t.Errorf("node%d is of cluster %s, not of %s: %v", node, s.Cluster, successor, err)
			}
		})
	}
	wg.Wait()
	c.eventually("five voters", func() error {
		if roles := c.roles(); voters(roles) != 5 {
			return fmt.Errorf("roles %v", roles)
		}
		return nil
	})
	for i, u := range append(kept[len(kept)/2:], c.upload(1, "new")...) {
		if u.open {
			u.bodies[1] = u.put(c, 1+i%c.Nodes(), 1, 70_000+i)
			u.complete(c, 1+(i+3)%c.Nodes())
		}
		c.checkOne(u, 1+(i+1)%c.Nodes())
	}
}

func (c *cluster) checkOne(u *stored, node int) {
	if u.open {
		var page qsclient.PartPage
		err := c.insist(func() (err error) {
			page, err = c.client(node).ListParts(c.t.Context(), bucket, u.key, u.id, -1, 10)
			return err
		})
		if err != nil || len(page.Parts) != len(u.bodies) {
			c.t.Errorf("node%d: %s has %d parts, %v; want %d", node, u.key, len(page.Parts), err, len(u.bodies))
			return
		}
		for i, p := range page.Parts {
			if sum := md5.Sum(u.bodies[i]); p.ETag != hex.EncodeToString(sum[:]) || p.Size != int64(len(u.bodies[i])) {
				c.t.Errorf("node%d: part %d of %s is %+v", node, i, u.key, p)
			}
		}
		return
	}
	got, err := c.read(c.t.Context(), node, u.key)
	if err != nil || !bytes.Equal(got, bytes.Join(u.bodies, nil)) {
		c.t.Errorf("node%d: %s reads as %d bytes that differ, %v", node, u.key, len(got), err)
	}
}

// refusedAsSucceeded starts a node of the old cluster, which must end and say
// which cluster took its place.
func (c *cluster) refusedAsSucceeded(i int, old, successor string) {
	c.t.Helper()
	c.must(c.Start(i))
	c.eventually("the end of a node of the old cluster", func() error {
		b, err := os.ReadFile(c.Log(i))
		if want := "was succeeded by " + successor; err == nil && !bytes.Contains(b, []byte(want)) {
			err = fmt.Errorf("its log does not say %q", want)
		}
		return err
	})
	if err := c.Wait(i); err == nil {
		c.t.Errorf("a node of cluster %s ended with status 0 beside its successor", old)
	}
}

// succeed runs a command that makes a successor cluster and returns its ID.
func (c *cluster) succeed(args ...string) string {
	c.t.Helper()
	var made struct {
		Successor string `json:"successor_id"`
	}
	c.must(json.Unmarshal([]byte(c.partctl(0, append(args, "-o", "json")...)), &made))
	return made.Successor
}

// partctl runs a command, which must end with a status, and returns what it
// prints.
func (c *cluster) partctl(status int, args ...string) string {
	c.t.Helper()
	cmd := exec.Command(partctl, args...)
	cmd.Env = append(os.Environ(), "PARTSTORE_CLUSTER_SECRET="+c.ClusterSecret)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != status {
		c.t.Fatalf("partctl %s = %v, want status %d\n%s", strings.Join(args, " "), err, status, out)
	}
	return string(out)
}
