package linearizability

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"partstore/metadata"
)

// Every node's registry is on a file system of its own, small enough to be
// filled. They are in the mount namespace of this program, and so end with it.

// registrySize is that of a registry's file system, in bytes.
const registrySize = 128 << 20

// noDisks is why the registries can have no file systems of their own.
func noDisks() error {
	if noNetwork != nil {
		return noNetwork // nor a mount namespace
	}
	dir, err := newDir()
	if err != nil {
		return err
	}
	return errors.Join(mountRegistry(dir), unmountRegistry(dir), os.RemoveAll(dir))
}

// mountRegistry makes the file system of the registry in a node's directory.
func mountRegistry(dataDir string) error {
	path := filepath.Join(dataDir, "registry")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", registrySize)); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

func unmountRegistry(dataDir string) error {
	err := unix.Unmount(filepath.Join(dataDir, "registry"), unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil // nothing is mounted there
	}
	return err
}

// fillDisks takes all room from the registries of up to four nodes, again and
// again, for they have reserves. It has hit when one of them says that it has
// none.
func (s *strike) fillDisks() (hit bool, err error) {
	victims, release := s.victims(1 + s.rnd.IntN(nodes/2+1))
	defer release()
	hogs := make([]*os.File, len(victims))
	defer func() {
		for _, f := range hogs {
			if f != nil {
				err = errors.Join(err, f.Close(), os.Remove(f.Name()))
			}
		}
		s.say("room again on nodes %v; one had none: %v; %v", victims, hit, err)
	}()
	for i, victim := range victims {
		if hogs[i], err = os.Create(filepath.Join(s.c.DataDir(victim), "registry", "hog")); err != nil {
			return false, err
		}
	}
	s.say("fill the registries of nodes %v", victims)
	for end := time.Now().Add(s.lasts); s.ctx.Err() == nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for i, victim := range victims {
			if err := hog(hogs[i], int64(s.rnd.IntN(64<<10))); err != nil {
				return hit, err
			}
			if c, err := s.c.Admin(victim); err == nil {
				status, _ := c.Status(s.ctx) // without a leader, it is not whole
				hit = hit || status.Room == "none"
			}
		}
	}
	return hit, nil
}

// hog makes a file take what room there is but for some bytes.
func hog(f *os.File, rest int64) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	more := int64(fs.Bavail)*fs.Bsize - rest
	for more > 0 && unix.Fallocate(int(f.Fd()), 0, info.Size(), more) != nil {
		more -= 64 << 10 // the node was faster
	}
	return nil
}

// noTracer is why no system call can be made to fail.
func noTracer() error {
	out, err := exec.Command("strace", "-q", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO", "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("strace: %w: %s", err, out)
	}
	return nil
}

// registryFiles are those whose writes and syncs fail.
var registryFiles = []string{"raft.db", "vote", "witness"}

// failDisks has every sync, and some writes too, of the registry's log, vote and
// witness fail on one or two nodes, which may be out for a minute after that: with
// more, hardly anything is answered. It has hit when one of them says that its disk
// had a fault.
func (s *strike) failDisks() (hit bool, err error) {
	victims, release := s.victims(1 + s.rnd.IntN(2))
	defer release()
	calls := []string{"fdatasync,fsync", "fdatasync,fsync,pwrite64"}[s.rnd.IntN(2)]
	before := make([]int, len(victims))
	tracers := make([]*exec.Cmd, len(victims))
	defer func() {
		for i, tracer := range tracers {
			if tracer == nil {
				continue
			}
			err = errors.Join(err, tracer.Process.Signal(unix.SIGINT)) // it lets go of the node
			_ = tracer.Wait()                                          // ends by that signal
			after, errLog := s.told(victims[i], metadata.ErrDiskFault.Error())
			hit, err = hit || after > before[i], errors.Join(err, errLog)
		}
		s.say("the disks of nodes %v are well again; one had a fault: %v", victims, hit)
	}()
	for i, victim := range victims {
		if before[i], err = s.told(victim, metadata.ErrDiskFault.Error()); err != nil {
			return false, err
		}
		args := []string{"-f", "-q", "-o", "/dev/null", "-p", strconv.Itoa(s.c.PID(victim)), "-e", "inject=" + calls + ":error=EIO"}
		for _, name := range registryFiles {
			args = append(args, "-P", filepath.Join(s.c.DataDir(victim), "registry", name))
		}
		tracer := exec.Command("strace", args...)
		if err := tracer.Start(); err != nil {
			return false, err
		}
		tracers[i] = tracer
	}
	s.say("%s of the registries of nodes %v fail for %s", calls, victims, s.lasts)
	s.wait()
	return false, nil
}

// takeFiles leaves a node hardly a file that it may open, and has connections
// take those. It has hit when there is none left.
func (s *strike) takeFiles() (hit bool, err error) {
	victims, release := s.victims(1)
	defer release()
	if len(victims) == 0 {
		return false, nil
	}
	i := victims[0]
	open, err := openFiles(s.c.PID(i))
	if err != nil {
		return false, err
	}
	var before unix.Rlimit
	if err := unix.Prlimit(s.c.PID(i), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return false, fmt.Errorf("limit of node %d: %w", i, err)
	}
	few := before
	few.Cur = uint64(open + s.rnd.IntN(8))
	var taken []net.Conn
	defer func() {
		for _, conn := range taken {
			_ = conn.Close()
		}
		err = errors.Join(err, unix.Prlimit(s.c.PID(i), unix.RLIMIT_NOFILE, &before, nil))
		s.say("node %d may open files again; it had none left: %v", i, hit)
	}()
	if err := unix.Prlimit(s.c.PID(i), unix.RLIMIT_NOFILE, &few, nil); err != nil {
		return false, fmt.Errorf("limit of node %d: %w", i, err)
	}
	s.say("node %d may open %d files for %s", i, few.Cur, s.lasts)
	for end := time.Now().Add(s.lasts); s.ctx.Err() == nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if conn, err := net.DialTimeout("tcp", strings.TrimPrefix(s.c.Endpoint(i), "http://"), time.Second); err == nil {
			taken = append(taken, conn)
		}
		if open, err = openFiles(s.c.PID(i)); err != nil {
			return hit, err
		}
		hit = hit || uint64(open) >= few.Cur
	}
	return hit, nil
}

// openFiles is how many files a process has open.
func openFiles(pid int) (int, error) {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(files), err
}

// fallBehind keeps a node away until the others have shortened their logs. It
// has hit when the node had to be brought up by a snapshot.
func (s *strike) fallBehind() (bool, error) {
	victims, release := s.victims(1)
	defer release()
	if len(victims) == 0 {
		return false, nil
	}
	i := victims[0]
	before, err := s.told(i, snapshotReceived)
	if err != nil {
		return false, err
	}
	if err := s.c.Kill(i); err != nil {
		return false, err
	}
	s.say("killed node %d for %s", i, s.lasts)
	s.wait()
	if err := s.c.Start(i); err != nil {
		return false, err
	}
	for deadline := time.Now().Add(verbTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if after, err := s.told(i, snapshotReceived); err != nil || after > before {
			s.say("node %d was brought up by a snapshot", i)
			return err == nil, err
		}
	}
	return false, nil
}

const snapshotReceived = "snapshot received"

// told is how often the log of node i says something.
func (s *strike) told(i int, what string) (int, error) {
	b, err := os.ReadFile(s.c.Log(i))
	return strings.Count(string(b), what), err
}
