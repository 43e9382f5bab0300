//go:build linux

package chunkstore_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"partstore/chunkstore"
	"partstore/chunkstore/chunkstoretest"
	"partstore/internal/testrand"
)

// workerDir makes this test binary a process that writes, moves and deletes
// chunks in a store until it is killed, and says what it did.
const workerDir = "CHUNKSTORE_TEST_WORKER_DIR"

// Chunks of a worker are deleted once so many more have been written, but for
// one in so many.
const (
	workerKeeps = 12
	workerSpare = 5
)

func workerSize(n int) int { return []int{100, 66_000, 600_000, 65_536, 1_400_000}[n%5] }

// TestWorker is the process, and no test.
func TestWorker(t *testing.T) {
	dir := os.Getenv(workerDir)
	if dir == "" {
		t.Skip("runs as a process of other tests")
	}
	first, _ := strconv.Atoi(os.Getenv(workerDir + "_FIRST"))
	d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: dir, Cluster: testCluster, SegmentBytes: 4 << 20})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(3)
	}
	fmt.Println("open")
	for n := first; n < first+2000; n++ {
		id := chunkstoretest.ID(n)
		fmt.Println("writing", n)
		if err := chunkstoretest.Write(t.Context(), d, id, nil, chunkstoretest.Content(id, workerSize(n))); err != nil {
			fmt.Println("failed", err)
			os.Exit(3)
		}
		fmt.Println("wrote", n)
		if victim := n - workerKeeps; victim >= first && victim%workerSpare != 0 {
			fmt.Println("deleting", victim)
			if err := d.Delete(t.Context(), chunkstoretest.ID(victim)); err != nil {
				fmt.Println("failed", err)
				os.Exit(3)
			}
			fmt.Println("deleted", victim)
		}
	}
}

// told is what a worker said last of each chunk.
type told map[int]string

// work runs a worker under a command, until it has said so many lines or has
// ended; then stop is called. It returns all that the worker said.
func (w told) work(t *testing.T, dir string, first, lines int, stop func(*exec.Cmd), command ...string) {
	t.Helper()
	command = append(command, os.Args[0], "-test.run=^TestWorker$")
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), workerDir+"="+dir, workerDir+"_FIRST="+strconv.Itoa(first))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // a tracer and what it traces end together
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for said := 0; scanner.Scan(); {
		verb, number, ok := strings.Cut(scanner.Text(), " ")
		if n, err := strconv.Atoi(number); ok && err == nil {
			w[n] = verb
		}
		if said++; said == lines {
			stop(cmd)
		}
	}
	_ = cmd.Wait() // it was killed, or met the end of its drive
}

// check opens the store and holds it against what workers said.
func (w told) check(t *testing.T, dir string) {
	t.Helper()
	d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: dir, Cluster: testCluster, SegmentBytes: 4 << 20})
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	defer d.Close()
	if err := d.Fenced(); err != nil {
		t.Errorf("the store is fenced: %v", err)
	}
	for n, verb := range w {
		id := chunkstoretest.ID(n)
		got, err := chunkstoretest.Read(t.Context(), d, id, 0, -1)
		exact := err == nil && bytes.Equal(got, chunkstoretest.Content(id, workerSize(n)))
		gone := errors.Is(err, chunkstore.ErrNotFound)
		if verb == "wrote" && !exact || verb == "deleted" && !gone || !exact && !gone {
			t.Errorf("chunk %d, of which was said %q, is %d bytes, %v", n, verb, len(got), err)
		}
		switch {
		case exact:
			w[n] = "wrote"
		case gone:
			w[n] = "deleted"
		}
	}
}

// TestKilledAtAnySystemCall kills a process that works on a store as it enters
// its n-th system call of those that change files, by strace.
func TestKilledAtAnySystemCall(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIPPED: there is no strace here")
	}
	if out, err := exec.Command(strace, "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: strace may not trace: %s", out)
	}
	rng := testrand.New(t)
	dir := t.TempDir()
	said := told{}
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		call := []string{"pwrite64", "pwritev", "fdatasync", "fallocate", "openat", "unlinkat", "ftruncate"}[rng.IntN(7)]
		at := 1 + rng.IntN(20)
		said.work(t, dir, 10_000*round, 200, kill, strace, "-f", "-qq", "-o", "/dev/null",
			"-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, at))
		said.check(t, dir)
		if t.Failed() {
			t.Fatalf("round %d: killed at %s number %d", round, call, at)
		}
	}
	checkWorked(t, said)
}

func kill(cmd *exec.Cmd) { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }

// checkWorked makes sure that the rounds were not over before they began.
func checkWorked(t *testing.T, said told) {
	t.Helper()
	wrote, deleted := 0, 0
	for _, verb := range said {
		switch verb {
		case "wrote":
			wrote++
		case "deleted":
			deleted++
		}
	}
	t.Logf("%d chunks kept, %d gone", wrote, deleted)
	if wrote < 20 || deleted < 20 {
		t.Errorf("workers left %d chunks and deleted %d; that proves little", wrote, deleted)
	}
}

// ext4Shutdown makes an ext4 file system refuse everything from now on, and
// forget what its journal does not have on the drive.
const (
	ext4Shutdown  = 0x8004587d
	noLogFlush    = 2
	imageMegabyte = 96
)

// aloneWithMounts says that this process sees mounts that no other does.
const aloneWithMounts = "CHUNKSTORE_TEST_ALONE_WITH_MOUNTS"

// runAlone runs the test again in a process with a mount namespace of its own.
// A namespace that any process makes copies the mounts it sees, and a copy keeps
// a file system alive that was unmounted here: the next mount of its image would
// be the very file system that was cut off.
func runAlone(t *testing.T) {
	t.Helper()
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return strings.HasPrefix(arg, "-test.testlogfile") })
	cmd := exec.Command(os.Args[0], append(args, "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")...)
	cmd.Env = append(os.Environ(), aloneWithMounts+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM):
		t.Skip("SKIPPED: no mount namespace may be made here")
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
}

// TestPowerCutOfARealDrive cuts a file system off from its drive while a
// process works on a store in it, mounts it again and looks.
func TestPowerCutOfARealDrive(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: mounting needs root")
	}
	if os.Getenv(aloneWithMounts) == "" {
		runAlone(t)
		return
	}
	image, dir := filepath.Join(t.TempDir(), "drive"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, imageMegabyte<<20); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return nil
	}
	mount := func() error { return run("mount", "-o", "loop", image, dir) }
	if err := errors.Join(run("mkfs.ext4", "-q", "-F", image), mount()); err != nil {
		t.Skipf("SKIPPED: no file system to cut off: %v", err)
	}
	mounted := true
	defer func() {
		if mounted {
			_ = run("umount", dir)
		}
	}()
	rng := testrand.New(t)
	store := filepath.Join(dir, "store")
	said := told{}
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		refused := false
		said.work(t, store, 10_000*round, 10+rng.IntN(150), func(cmd *exec.Cmd) {
			refused = shutDown(dir) != nil
			if refused {
				kill(cmd)
			}
		})
		if refused {
			t.Skip("SKIPPED: the kernel does not cut ext4 off")
		}
		if err := unmount(run, dir); err != nil {
			t.Fatal(err)
		}
		mounted = false
		if err := mount(); err != nil {
			t.Fatal(err)
		}
		mounted = true
		// The marker is an honest one: the drive did refuse a sync. It is an
		// operator's to remove.
		_ = os.Remove(filepath.Join(store, "fenced"))
		said.check(t, store)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	checkWorked(t, said)
}

func shutDown(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, noLogFlush)
}

// unmount waits for the last process to let go.
func unmount(run func(string, ...string) error, dir string) (err error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = run("umount", dir); err == nil {
			return nil
		}
	}
	return err
}
