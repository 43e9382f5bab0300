package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/node/admin"
)

// Property: if the disk of a node's registry fails, the leader's above all, the
// others go on and say what is the matter. Once the disk takes writes again,
// the node is a member as before, with the copy it had and in the same process.
func TestADiskFaultOfTheRegistryPasses(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t)
	objects := fill(t, c)
	victim := leader(c)
	dir := filepath.Join(c.Dir(victim), "registry")
	obstacle := filepath.Join(dir, "probe.new") // where it looks whether the disk takes writes
	c.Must(os.MkdirAll(filepath.Join(obstacle, "not empty"), 0o700))
	failWrites(t, filepath.Join(dir, "raft.db"))
	faulty := func() error {
		status := statusAt(t, c, victim%6+1)
		if len(status.Faulty) != 1 || status.Faulty[0].Name != fmt.Sprintf("node%d", victim) ||
			!slices.ContainsFunc(status.Reasons, func(r admin.Reason) bool { return r.Code == admin.ReasonDisk }) {
			return fmt.Errorf("faulty %v, reasons %v; node %d should be", status.Faulty, status.Reasons, victim)
		}
		return nil
	}
	c.Await("a fault in the status", func() error {
		body, err := upload(t.Context(), c, others(6, victim), "meanwhile", 7, 1000)
		c.Must(err, "upload while the leader's disk fails")
		objects["meanwhile"] = body
		return faulty()
	})
	c.Must(os.RemoveAll(obstacle))
	c.WaitReady()
	c.Eventually("a clean status", func() bool { return len(statusAt(t, c, victim%6+1).Faulty) == 0 })
	checkAll(t, c, rnd, victim, objects)
	if aside, err := filepath.Glob(filepath.Join(c.Dir(victim), "registry-quarantined-*")); err != nil || len(aside) > 0 {
		t.Errorf("given up: %v, %v", aside, err)
	}
	body, err := upload(t.Context(), c, []int{victim}, "after", 9, 4<<20, 17)
	c.Must(err)
	objects["after"] = body
	checkAll(t, c, rnd, victim%6+1, objects)
}

func statusAt(t *testing.T, c *testcluster.Cluster, node int) admin.Status {
	t.Helper()
	client, err := admin.NewClient("http://"+c.Addrs(node).Admin, "")
	c.Must(err)
	s, err := client.Status(t.Context())
	c.Must(err, "status")
	return s
}

// failWrites makes every write to a file fail through the descriptors this
// process has of it: each becomes one that is only for reading.
func failWrites(t *testing.T, path string) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	failed := 0
	for _, fd := range open {
		n, err := strconv.Atoi(fd.Name())
		if target, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err != nil || target != path || n == int(readOnly.Fd()) {
			continue
		}
		if err := unix.Dup3(int(readOnly.Fd()), n, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		failed++
	}
	if failed == 0 {
		t.Fatalf("nobody has %s open", path)
	}
}
