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
	"partstore/internal/vfs"
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
	if !withMounts(t) {
		return
	}
	drive := mountDrive(t, imageMegabyte)
	dir := drive.dir
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
		drive.unmount(t)
		drive.mount(t)
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

// withMounts reports whether this process may mount; if not, another one has
// run the test by now.
func withMounts(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: mounting needs root")
	}
	alone := os.Getenv(aloneWithMounts) != ""
	if !alone {
		runAlone(t)
	}
	return alone
}

// drive is an ext4 file system in an image of its own.
type drive struct {
	image, dir string
	mounted    bool
}

// mountDrive makes a drive of so many MiB, mounted until the end of the test.
func mountDrive(t *testing.T, megabytes int64) *drive {
	t.Helper()
	d := &drive{image: filepath.Join(t.TempDir(), "drive"), dir: t.TempDir()}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, megabytes<<20)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(run("mkfs.ext4", "-q", "-F", "-m", "0", d.image), run("mount", "-o", "loop", d.image, d.dir)); err != nil {
		t.Skipf("SKIPPED: no file system to try: %v", err)
	}
	d.mounted = true
	t.Cleanup(func() {
		if d.mounted {
			_ = run("umount", d.dir)
		}
	})
	return d
}

func (d *drive) mount(t *testing.T) {
	t.Helper()
	if err := run("mount", "-o", "loop", d.image, d.dir); err != nil {
		t.Fatal(err)
	}
	d.mounted = true
}

// unmount waits for the last process to let go.
func (d *drive) unmount(t *testing.T) {
	t.Helper()
	err := run("umount", d.dir)
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); err = run("umount", d.dir) {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.mounted = false
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// TestAFullDriveIsOpenedAndEmptied fills a drive behind the back of its store,
// to the last byte, as anything else on it could.
func TestAFullDriveIsOpenedAndEmptied(t *testing.T) {
	if !withMounts(t) {
		return
	}
	drive := mountDrive(t, 32)
	cfg := chunkstore.DiskConfig{Dir: filepath.Join(drive.dir, "store"), SegmentBytes: 4 << 20}
	const chunks, size = 12, 700_000
	write := func(s chunkstore.Store, n int) error {
		return chunkstoretest.Write(t.Context(), s, chunkstoretest.ID(n), nil, chunkstoretest.Content(chunkstoretest.ID(n), size))
	}
	check := func(s chunkstore.Store, n int) {
		t.Helper()
		got, err := chunkstoretest.Read(t.Context(), s, chunkstoretest.ID(n), 0, -1)
		if err != nil || !bytes.Equal(got, chunkstoretest.Content(chunkstoretest.ID(n), size)) {
			t.Errorf("chunk %d is %d bytes, %v", n, len(got), err)
		}
	}
	d := openDisk(t, cfg)
	for n := range chunks {
		if err := write(d, n); err != nil {
			t.Fatal(err)
		}
	}
	filler, err := os.Create(filepath.Join(drive.dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	fill := func() {
		for block := make([]byte, 1<<20); len(block) > 0; {
			if _, err := filler.Write(block); err != nil {
				block = block[:len(block)/2]
			}
		}
		if err := filler.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a store that was closed while it had room, and one that had none
		fill()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		fill()
		d = openDisk(t, cfg)
		if err := d.Fenced(); err != nil {
			t.Fatalf("a store is fenced because its drive is full: %v", err)
		}
		if err := write(d, chunks); !errors.Is(err, chunkstore.ErrFull) {
			t.Fatalf("write on a full drive = %v, want ErrFull", err)
		}
		for n := range chunks {
			check(d, n)
		}
	}
	for n := range chunks - 1 {
		if err := d.Delete(t.Context(), chunkstoretest.ID(n)); err != nil {
			t.Fatalf("delete on a full drive = %v", err)
		}
	}
	check(d, chunks-1)
	wrote := errors.New("not tried")
	for deadline := time.Now().Add(time.Minute); wrote != nil && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		wrote = write(d, chunks)
	}
	if wrote != nil {
		t.Fatalf("no room for a chunk after %d were deleted: %v", chunks-1, wrote)
	}
	check(d, chunks)
	if _, err := chunkstoretest.Read(t.Context(), d, chunkstoretest.ID(0), 0, -1); !errors.Is(err, chunkstore.ErrNotFound) {
		t.Errorf("a chunk deleted on a full drive = %v", err)
	}
}

// TestAReadOnlyDriveIsOpened reads from a drive that takes no writes, as the
// system leaves one that had errors.
func TestAReadOnlyDriveIsOpened(t *testing.T) {
	if !withMounts(t) {
		return
	}
	drive := mountDrive(t, 32)
	cfg := chunkstore.DiskConfig{Dir: filepath.Join(drive.dir, "store")}
	content := chunkstoretest.Content(chunkstoretest.ID(1), 700_000)
	d := openDisk(t, cfg)
	if err := errors.Join(chunkstoretest.Write(t.Context(), d, chunkstoretest.ID(1), nil, content), d.Close(),
		run("mount", "-o", "remount,ro", drive.dir)); err != nil {
		t.Fatal(err)
	}
	d = openDisk(t, cfg)
	if err := d.Fenced(); !errors.Is(err, unix.EROFS) {
		t.Errorf("Fenced() on a read-only drive = %v", err)
	}
	if got, err := chunkstoretest.Read(t.Context(), d, chunkstoretest.ID(1), 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if err := chunkstoretest.Write(t.Context(), d, chunkstoretest.ID(2), nil, content); !errors.Is(err, chunkstore.ErrFenced) {
		t.Errorf("write = %v", err)
	}
	cfg.Cluster = testCluster
	if _, err := chunkstore.OpenDisk(cfg); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := errors.Join(d.Close(), run("mount", "-o", "remount,rw", drive.dir)); err != nil {
		t.Fatal(err)
	}
	d = openDisk(t, cfg)
	if err := chunkstoretest.Write(t.Context(), d, chunkstoretest.ID(2), nil, content); err != nil {
		t.Errorf("write once the drive takes writes again = %v", err)
	}
}
