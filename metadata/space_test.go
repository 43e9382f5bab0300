package metadata

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// roomFS is a file system that says what room it has.
type roomFS struct {
	vfs.FS
	avail *atomic.Uint64
}

func (f roomFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.avail.Load(), TotalBytes: 1 << 40}, nil
}
func (f roomFS) Unwrap() vfs.FS { return f.FS }

// newRoomCluster returns a cluster and the room of each node, plenty at first.
// Room is low below 1000 bytes.
func newRoomCluster(t *testing.T, n int) (*cluster, []*atomic.Uint64) {
	var rooms []*atomic.Uint64
	of := map[layout.NodeID]*atomic.Uint64{}
	c := newCluster(t, n, func(cfg *Config) {
		if of[cfg.Node] == nil {
			room := &atomic.Uint64{}
			room.Store(1 << 30)
			of[cfg.Node] = room
			rooms = append(rooms, room)
		}
		cfg.disk = &disk{fs: roomFS{vfs.Default, of[cfg.Node]}, openLog: realDisk().openLog}
		cfg.LowSpace, cfg.SpaceInterval = 1000, 5*time.Millisecond
	})
	return c, rooms
}

func (c *cluster) create(n *testNode, key string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	return n.CreateUpload(ctx, Upload{UploadRef: UploadRef{Bucket: "b", Key: key, ID: layout.NewUploadID()}})
}

// While a majority has little room, nothing may be added on any node, and
// aborts and deletes go on.
func TestLittleRoomRefusesWhatGrows(t *testing.T) {
	c, rooms := newRoomCluster(t, 3)
	stock(t, c.nodes[0])
	var refs []UploadRef
	for range 3 {
		refs = append(refs, newUpload(t, c.nodes[0], "b", "k"))
	}
	rooms[0].Store(900)
	c.eventually("one node that is low", func() bool { return c.nodes[0].space.now() == roomLow })
	newUpload(t, c.nodes[0], "b", "one is low")
	rooms[1].Store(900)
	for i, n := range c.nodes {
		c.eventually("refusal", func() bool { return errors.Is(c.create(n, "two are low"), ErrFull) })
		if err := n.AbortUpload(t.Context(), refs[i]); err != nil {
			t.Errorf("node %d: AbortUpload = %v", i, err)
		}
		if _, err := n.Upload(t.Context(), refs[i]); !errors.Is(err, ErrUploadNotFound) {
			t.Errorf("node %d: aborted upload = %v", i, err)
		}
		if err := n.DeleteObject(t.Context(), "b", "none"); err != nil {
			t.Errorf("node %d: DeleteObject = %v", i, err)
		}
	}
	rooms[0].Store(1 << 30)
	c.eventually("growth", func() bool { return c.create(c.nodes[2], "one is low") == nil })
	c.sameState()
}

// createBucket makes a bucket, as soon as the leader has heard of room that
// came back.
func (c *cluster) createBucket(n *testNode, name string) {
	c.t.Helper()
	c.eventually("room for bucket "+name, func() bool {
		err := n.CreateBucket(c.t.Context(), Bucket{Name: name})
		if err != nil && !errors.Is(err, ErrFull) {
			c.t.Fatalf("CreateBucket %s = %v", name, err)
		}
		return err == nil
	})
}

// A node without room stores nothing, acknowledges nothing and does not lead.
// The others go on without it, and it comes back by itself.
func TestNodeWithoutRoomLeavesDutyAndComesBack(t *testing.T) {
	c, rooms := newRoomCluster(t, 3)
	stock(t, c.nodes[0])
	for i, n := range c.nodes {
		rooms[i].Store(100)
		c.eventually("a node off duty", func() bool { return n.space.now() == roomNone })
		c.leader(n)
		for j, other := range c.nodes {
			if other == n {
				continue
			}
			c.createBucket(other, fmt.Sprintf("%d-%d", i, j))
		}
		if a, b := n.raft.LastIndex(), c.leader(n).raft.LastIndex(); a >= b {
			t.Errorf("node %d is full and has entry %d of %d", i, a, b)
		}
		rooms[i].Store(1 << 30)
		c.eventually("the node to catch up", func() bool {
			_, err := n.Bucket(t.Context(), fmt.Sprintf("%d-%d", i, (i+1)%3))
			return err == nil
		})
	}
	for i := range c.nodes {
		rooms[i].Store(0)
	}
	c.eventually("nobody on duty", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return errors.Is(c.nodes[0].CreateBucket(ctx, Bucket{Name: "full"}), ErrUnavailable)
	})
	for i := range c.nodes {
		rooms[i].Store(1 << 30)
	}
	c.createBucket(c.nodes[0], "room again")
	c.sameState()
}

func TestJudgementOfRoomHasSomePlay(t *testing.T) {
	before := roomEnough
	for _, step := range []struct {
		avail uint64
		want  room
	}{
		{5000, roomEnough}, {1000, roomEnough}, {999, roomLow}, {1100, roomLow}, {1250, roomEnough},
		{250, roomLow}, {249, roomNone}, {374, roomNone}, {375, roomLow}, {1249, roomLow}, {1250, roomEnough}, {0, roomNone}, {2000, roomEnough},
	} {
		if before = judge(before, step.avail, 1000); before != step.want {
			t.Fatalf("judge at %d = %s, want %s", step.avail, before, step.want)
		}
	}
}

// mountSmall makes a file system of the given size, or skips the test.
func mountSmall(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// hog takes all the room there is, but for the given rest, and returns what
// gives it back.
func hog(t *testing.T, dir string, rest uint64) (giveBack func()) {
	t.Helper()
	usage, err := vfs.Default.GetDiskUsage(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "hog")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(usage.AvailBytes) - int64(rest)
	for size > 0 && unix.Fallocate(int(f.Fd()), 0, 0, size) != nil {
		size -= 64 << 10 // somebody was faster; but what is given up now is not ours
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// The disk of one node, and then of all, fills up for real in the middle of
// writes, again and again. Whatever was acknowledged is there afterwards, on
// every node, and nobody had to help.
func TestFullDisksLoseNothing(t *testing.T) {
	const size = 192 << 20
	rnd := testrand.New(t)
	dirs := map[layout.NodeID]string{}
	var order []string
	c := newCluster(t, 3, func(cfg *Config) {
		if dirs[cfg.Node] == "" {
			dirs[cfg.Node] = mountSmall(t, size)
			order = append(order, dirs[cfg.Node])
		}
		cfg.Dir = filepath.Join(dirs[cfg.Node], "registry")
		cfg.LowSpace, cfg.SpaceInterval = 32<<20, 20*time.Millisecond
		cfg.SnapshotEntries, cfg.TrailingEntries, cfg.SnapshotInterval = 200, 50, 50*time.Millisecond
		cfg.Timeout = time.Second
	})
	t.Cleanup(c.close) // before the file systems go
	inc := stock(t, c.leader())
	ref := UploadRef{Bucket: "b", Key: "k", ID: layout.NewUploadID()}
	decide(t, "CreateUpload", nil, func() error { return c.nodes[0].CreateUpload(t.Context(), Upload{UploadRef: ref}) })

	var mu sync.Mutex // guards acked
	acked := map[layout.PartNumber]layout.AttemptID{}
	var sequence atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for _, n := range c.nodes {
		for range 2 {
			work.Go(func() {
				for ctx.Err() == nil {
					s := sequence.Add(1)
					p := testPart(layout.PartNumber(s%9999), 5<<20, layout.NewAttemptID(inc, n.Now(), s))
					switch err := n.CommitPart(ctx, ref, p); {
					case err == nil && s < 9999:
						mu.Lock()
						acked[p.Number] = p.Layout.Attempt
						mu.Unlock()
					case err != nil && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil:
						t.Errorf("CommitPart: %v", err)
						return
					}
				}
			})
		}
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	grown := func(what string) {
		before := sequence.Load()
		c.eventually(what, func() bool { return sequence.Load() > before+20 || t.Failed() })
	}
	for round := range 6 {
		grown("writes with room")
		full := order[round%3 : round%3+1]
		if round >= 3 {
			full = order
		}
		var giveBack []func()
		for _, dir := range full {
			giveBack = append(giveBack, hog(t, dir, uint64(rnd.IntN(64<<10))))
		}
		if len(full) == 1 {
			grown("writes while one node is full")
		} else {
			c.eventually("no node on duty, or growth refused", func() bool {
				err := c.create(c.nodes[0], "full")
				return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
			})
			c.eventually("an abort on full disks", func() bool {
				return c.nodes[0].AbortUpload(t.Context(), UploadRef{Bucket: "b", Key: "other", ID: layout.NewUploadID()}) == nil
			})
		}
		for _, f := range giveBack {
			f()
		}
		c.eventually("room again", func() bool { return c.create(c.nodes[round%3], "room") == nil })
	}
	stop()
	work.Wait()
	if count() == 0 {
		t.Fatal("nothing was acknowledged")
	}
	for i, n := range c.nodes {
		if err := n.failure(); err != nil {
			t.Fatalf("node %d is out of service: %v", i, err)
		}
	}
	for i, n := range c.nodes {
		c.eventually("room for all", func() bool { return n.space.now() == roomEnough })
		s := n.Status()
		t.Logf("node %d: applied %d of %d, snapshot %d", i, s.AppliedIndex, s.CommitIndex, s.SnapshotIndex)
	}
	c.sameState()
	for i, n := range c.nodes {
		page, err := n.Parts(t.Context(), ref, -1, 10000)
		if err != nil {
			t.Fatalf("node %d: Parts: %v", i, err)
		}
		found := map[layout.PartNumber]layout.AttemptID{}
		for _, p := range page.Parts {
			found[p.Number] = p.Layout.Attempt
		}
		for number, attempt := range acked {
			if _, ok := found[number]; !ok {
				t.Errorf("node %d: part %d of attempt %s was acknowledged and is gone", i, number, attempt)
			}
		}
	}
	t.Logf("%d parts acknowledged of %d tried", count(), sequence.Load())
}

// faultyLog is a log whose appends may fail.
type faultyLog struct {
	logFile
	fails *atomic.Bool
}

func (l faultyLog) StoreLogs(logs []*raft.Log) error {
	if l.fails.Load() {
		return &os.PathError{Op: "write", Path: "raft.db", Err: syscall.EIO}
	}
	return l.logFile.StoreLogs(logs)
}

// A disk that fails ends the service of its node, with a reason, and of no
// other. Once it is well, the copy goes on.
func TestDiskFaultTakesTheNodeOutOfService(t *testing.T) {
	fails := map[layout.NodeID]*atomic.Bool{}
	c := newCluster(t, 3, func(cfg *Config) {
		if fails[cfg.Node] == nil {
			fails[cfg.Node] = &atomic.Bool{}
		}
		f := fails[cfg.Node]
		cfg.disk = &disk{fs: vfs.Default, openLog: func(path string, create bool) (logFile, error) {
			l, err := realDisk().openLog(path, create)
			return faultyLog{l, f}, err
		}}
	})
	stock(t, c.nodes[0])
	bad := c.leader()
	fails[bad.id].Store(true)
	for i, n := range c.nodes {
		if n != bad {
			if err := n.CreateBucket(t.Context(), Bucket{Name: fmt.Sprintf("after-%d", i)}); err != nil {
				t.Errorf("CreateBucket through node %d = %v", i, err)
			}
		}
	}
	if err := bad.Run(t.Context()); !errors.Is(err, ErrDiskFault) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Run of the node with the fault = %v, want ErrDiskFault", err)
	}
	if _, err := bad.Bucket(t.Context(), "b"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("look-up on it = %v, want ErrUnavailable", err)
	}
	c.stop(bad)
	if err := c.tryStart(bad); err != nil {
		t.Fatalf("Open before the first append = %v", err)
	}
	if err := bad.Run(t.Context()); !errors.Is(err, ErrDiskFault) {
		t.Errorf("Run with a disk that still fails = %v, want ErrDiskFault", err)
	}
	c.stop(bad)
	fails[bad.id].Store(false)
	c.startAgain(bad)
	if err := bad.CreateBucket(t.Context(), Bucket{Name: "well again"}); err != nil {
		t.Errorf("CreateBucket on the node that had the fault = %v", err)
	}
	c.sameState()
}

// childEnv names the test that runs in a child.
const childEnv = "METADATA_TEST_CHILD"

// inChild runs the test in a process of its own, and returns true there.
func inChild(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), childEnv+"="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("child: %v\n%s", err, out)
	}
	return false
}

// commitMany commits parts of an upload in full packs.
func commitMany(t *testing.T, n *testNode, ref UploadRef, inc layout.Incarnation, from, count int) error {
	for i := from; i < from+count; i += maxPackCommands {
		var commands [][]byte
		for j := i; j < min(from+count, i+maxPackCommands); j++ {
			p := testPart(layout.PartNumber(j%10000), 5<<20, layout.NewAttemptID(inc, 0, uint64(j)))
			enc, err := encodeCommand(commitOf(ref, p))
			if err != nil {
				return err
			}
			commands = append(commands, enc)
		}
		for _, out := range n.local.submit(t.Context(), commands...) {
			if err := errors.Join(out.err, out.result.err()); err != nil {
				return err
			}
		}
	}
	return nil
}

// A process that may open no more files goes on with the spare ones, through
// new files for the rows, and loses nothing.
func TestOutOfFiles(t *testing.T) {
	if !inChild(t) {
		return
	}
	c := newCluster(t, 1, nil)
	n := c.leader()
	inc := stock(t, n)
	ref := newUpload(t, n, "b", "k")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := limit
	limit.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	for {
		f, err := os.Open("/dev/null")
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, f)
	}
	const rounds, count = 3, 1000
	g, _ := n.state.acquire()
	for round := range rounds { // each makes new files
		if err := commitMany(t, n, ref, inc, round*count, count); err != nil {
			t.Fatalf("commit: %v", err)
		}
		flushed, err := g.db.AsyncFlush()
		if err != nil {
			t.Fatalf("flush: %v", err)
		}
		<-flushed
	}
	n.state.release(g)
	for _, f := range taken {
		_ = f.Close()
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if page, err := n.Parts(t.Context(), ref, -1, 10); err != nil || page.Total != rounds*count {
		t.Errorf("Parts = %d, %v; want %d", page.Total, err, rounds*count)
	}
	c.stop(n)
	c.start(n)
	if page, err := n.Parts(t.Context(), ref, -1, 10); err != nil || page.Total != rounds*count {
		t.Errorf("Parts after a restart = %d, %v; want %d", page.Total, err, rounds*count)
	}
}

// brokenFS fails every write to some files of the rows once it is broken.
type brokenFS struct {
	vfs.FS
	broken *atomic.Bool
	files  string // a pattern of their names
}

func (f brokenFS) Unwrap() vfs.FS { return f.FS }

func (f brokenFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if match, _ := filepath.Match(f.files, filepath.Base(name)); err == nil && match {
		file = brokenFile{file, f.broken}
	}
	return file, err
}

type brokenFile struct {
	vfs.File
	broken *atomic.Bool
}

func (f brokenFile) Write(b []byte) (int, error) {
	if f.broken.Load() {
		return 0, syscall.EIO
	}
	return f.File.Write(b)
}

// Rows that cannot be written end the service of their node, and neither the
// process nor its shutdown. What was acknowledged is in the log, and the copy
// goes on once the disk does.
func TestRowsThatCannotBeWrittenEndTheService(t *testing.T) {
	testRowsThatCannotBeWritten(t, "*.sst")
}

// Nor does a list of tables that cannot be written, at which Pebble would end
// the process. Some of its goroutines stay, so this one is of its own.
func TestAManifestThatCannotBeWrittenEndsTheService(t *testing.T) {
	if inChild(t) {
		testRowsThatCannotBeWritten(t, "MANIFEST-*")
	}
}

func testRowsThatCannotBeWritten(t *testing.T, files string) {
	broken := map[layout.NodeID]*atomic.Bool{}
	c := newCluster(t, 3, func(cfg *Config) {
		if broken[cfg.Node] == nil {
			broken[cfg.Node] = &atomic.Bool{}
		}
		cfg.disk = &disk{fs: brokenFS{vfs.Default, broken[cfg.Node], files}, openLog: realDisk().openLog}
	})
	inc := stock(t, c.nodes[0])
	ref := newUpload(t, c.nodes[0], "b", "k")
	bad := c.leader()
	broken[bad.id].Store(true)
	c.eventually("the end of its service", func() bool {
		if g, ok := bad.state.acquire(); ok {
			_, _ = g.db.AsyncFlush() // the failure is what is waited for
			bad.state.release(g)
		}
		_ = commitMany(t, bad, ref, inc, 0, 100)
		return bad.failure() != nil
	})
	if err := bad.Run(t.Context()); !errors.Is(err, ErrDiskFault) {
		t.Errorf("Run = %v, want ErrDiskFault", err)
	}
	next := c.leader(bad)
	if err := next.CreateBucket(t.Context(), Bucket{Name: "after"}); err != nil {
		t.Errorf("CreateBucket through another node = %v", err)
	}
	c.stop(bad)
	c.sameState()
	broken[bad.id].Store(false)
	c.startAgain(bad)
	c.sameState()
}

// startAgain opens the copy of a node whose disk had a fault.
func (c *cluster) startAgain(n *testNode) {
	c.t.Helper()
	if err := Renew(n.dir); err != nil {
		c.t.Fatal(err)
	}
	c.start(n)
}
