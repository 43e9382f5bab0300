package metadata

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

var (
	scale    = flag.Int("scale", 50_000, "parts in the registry of TestScale")
	scaleDir = flag.String("scale-dir", "", "registry that TestScaleProbe opens; set by TestScale")
)

const partsPerUpload = 10_000

// scaleNode is whom the registry of TestScale belongs to.
var (
	scaleNode    = testNodeID(200)
	scaleCluster = layout.ClusterID{1}
)

// scaleFigures is what a process of its own finds out about a large registry.
type scaleFigures struct {
	Parts          int     `json:"parts"`
	ReadySeconds   float64 `json:"ready_seconds"` // from Open to the first linearizable answer
	ReadyMiB       int     `json:"ready_mib"`     // resident then
	WorkedMiB      int     `json:"worked_mib"`    // and after all that follows
	FirstListMs    float64 `json:"first_list_ms"` // 10,000 parts, nothing cached
	ListMs         float64 `json:"list_ms"`       // median of later ones
	PagedListMs    float64 `json:"paged_list_ms"` // the same in pages of 1,000
	LookUpMs       float64 `json:"look_up_ms"`    // one upload of many, median
	SnapshotMs     float64 `json:"snapshot_ms"`
	CompleteMs     float64 `json:"complete_ms"`       // of 10,000 parts
	StallMs        float64 `json:"stall_ms"`          // the slowest commit of a part meanwhile
	UndisturbedMs  float64 `json:"undisturbed_ms"`    // the slowest before
	CatchUpMiBps   float64 `json:"catch_up_mib_s"`    // a new member, while commits go on
	CatchUpSeconds float64 `json:"catch_up_seconds"`  // until it answers by itself
	DiskMiB        int     `json:"disk_mib"`          // of the rows
	CaughtUpMiB    int     `json:"with_follower_mib"` // resident, both nodes in one process
}

// A registry of -scale parts works: every answer is right, in one process with
// bounded memory. With -scale=10000000 -v the figures are those of
// docs/benchmarks.md.
func TestScale(t *testing.T) {
	dir := t.TempDir()
	began := time.Now()
	fillScale(t, dir, *scale)
	t.Logf("filled with %d parts in %s", *scale, time.Since(began).Round(time.Millisecond))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	probe := exec.CommandContext(t.Context(), self, "-test.run=^TestScaleProbe$", "-test.v",
		"-scale="+strconv.Itoa(*scale), "-scale-dir="+dir, fmt.Sprintf("-seed=%d", testrand.Seed(t)))
	out, err := probe.CombinedOutput()
	if err != nil {
		t.Fatalf("probe: %v\n%s", err, out)
	}
	_, figures, _ := strings.Cut(string(out), "figures ")
	figures, _, _ = strings.Cut(figures, "\n")
	t.Logf("figures %s", figures)
}

// fillScale makes the registry of a single voter with many parts, as the state
// machine makes it, behind a snapshot.
func fillScale(t *testing.T, dir string, parts int) {
	t.Helper()
	fs := realDisk().fs
	s, err := openState(fs, filepath.Join(dir, "state"), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	m, err := openMachine(s.current.db)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, machine: m, fs: fs}
	servers := raft.Configuration{Servers: []raft.Server{{ID: server{scaleNode, 1}.id(), Address: server{scaleNode, 1}.address()}}}
	b.begin()
	if err := errors.Join(m.setServers(raft.EncodeConfiguration(servers)), m.commit(1, 1)); err != nil {
		t.Fatal(err)
	}
	b.index = 1
	start, groups := testTopology(1)
	b.must(start)
	b.must(groups)
	b.must(&createBucket{Request: testRequest(3), Bucket: Bucket{Name: "b", Owner: "me"}})
	for done := 0; done < parts; {
		ref := b.open(uint64(done/partsPerUpload+1), scaleKey(done/partsPerUpload))
		end := min(parts, done+partsPerUpload)
		for done < end {
			var commands []command
			for len(commands) < maxPackCommands && done < end {
				commands = append(commands, commitOf(ref, scalePart(done, b.attempt(uint64(done)))))
				done++
			}
			for _, r := range b.apply(commands...) {
				if r.err() != nil {
					t.Fatal(r.err())
				}
			}
		}
	}
	store, err := openSnapshots(fs, filepath.Join(dir, "snapshots"), testLogger())
	if err != nil {
		t.Fatal(err)
	}
	sink, err := store.create(newManifest(b.index, 1, servers, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sink.checkpoint(t.Context(), s.current), sink.Close(), s.close()); err != nil {
		t.Fatal(err)
	}
}

// scalePart is a part as they really are: no two compress well.
func scalePart(i int, attempt layout.AttemptID) Part {
	p := testPart(layout.PartNumber(i%partsPerUpload), 5<<20, attempt)
	p.Modified = time.UnixMicro(1_700_000_000_000_000 + int64(i)*7_919_137%1_000_000_000_000).UTC()
	p.Layout.Group = layout.GroupID(i % 2)
	r := rand.New(rand.NewPCG(uint64(i), 0))
	r.Shuffle(len(p.Layout.Slots), func(a, b int) {
		p.Layout.Slots[a], p.Layout.Slots[b] = p.Layout.Slots[b], p.Layout.Slots[a]
	})
	return p
}

func scaleKey(upload int) string { return fmt.Sprintf("key-%08d", upload) }

func scaleRef(upload int) UploadRef {
	return UploadRef{Bucket: "b", Key: scaleKey(upload), ID: testUpload(uint64(upload + 1))}
}

// scaleCluster is a cluster of nodes that opens the one that was filled.
func openScale(t *testing.T) (*cluster, *testNode) {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), net: newNetwork(), id: scaleCluster, running: map[layout.NodeID]bool{}}
	t.Cleanup(c.close)
	n := &testNode{id: scaleNode, dir: *scaleDir}
	c.nodes = append(c.nodes, n)
	c.start(n)
	return c, n
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(n int, f func()) float64 {
	var took []time.Duration
	for range n {
		began := time.Now()
		f()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return milliseconds(took[n/2])
}

// TestScaleProbe is the second process of TestScale.
func TestScaleProbe(t *testing.T) {
	if *scaleDir == "" {
		t.Skip("TestScale runs this in a process of its own")
	}
	r := testrand.New(t)
	f := scaleFigures{Parts: *scale}
	uploads := (*scale + partsPerUpload - 1) / partsPerUpload
	began := time.Now()
	c, n := openScale(t)
	if _, err := n.Upload(t.Context(), scaleRef(0)); err != nil {
		t.Fatal(err)
	}
	f.ReadySeconds, f.ReadyMiB = time.Since(began).Seconds(), residentMiB(t)
	f.DiskMiB = int(n.state.current.db.Metrics().DiskSpaceUsage() >> 20)

	list := func() {
		ref := scaleRef(r.IntN(uploads))
		page, err := n.Parts(t.Context(), ref, -1, partsPerUpload)
		if want := min(*scale, partsPerUpload); err != nil || len(page.Parts) != want || page.Total != want {
			t.Fatalf("Parts of %v = %d of %d, %v", ref, len(page.Parts), page.Total, err)
		}
	}
	f.FirstListMs = median(1, list)
	f.ListMs = median(31, list)
	f.PagedListMs = median(11, func() { listPaged(t, n, scaleRef(r.IntN(uploads))) })
	f.LookUpMs = median(301, func() {
		if _, err := n.Upload(t.Context(), scaleRef(r.IntN(uploads))); err != nil {
			t.Fatal(err)
		}
	})
	f.SnapshotMs = median(1, func() {
		if err := n.await(t.Context(), n.raft.Snapshot()); err != nil {
			t.Fatal(err)
		}
	})
	start, _ := testTopology(7)
	inc, err := n.StartNode(t.Context(), start.StartNode)
	if err != nil {
		t.Fatal(err)
	}
	worst, stop := commitForever(t, n, inc)
	undisturbed := time.Duration(0)
	for range 100 { // commits at least
		undisturbed = max(undisturbed, worst())
	}
	f.UndisturbedMs = milliseconds(undisturbed)
	complete := CompleteUpload{UploadRef: scaleRef(0)}
	for i := range min(*scale, partsPerUpload) {
		complete.Parts = append(complete.Parts, CompletePart{Number: layout.PartNumber(i)})
	}
	began = time.Now()
	if o, err := n.CompleteUpload(t.Context(), complete); err != nil || o.Parts != len(complete.Parts) {
		t.Fatalf("CompleteUpload = %d parts, %v", o.Parts, err)
	}
	f.CompleteMs = milliseconds(time.Since(began))
	f.StallMs = milliseconds(worst())
	f.WorkedMiB = residentMiB(t)

	follower := c.add()
	began = time.Now()
	if err := n.AddMember(t.Context(), follower.id, 1); err != nil {
		t.Fatal(err)
	}
	poll(t, "the rows on the new member", func() bool { return follower.Status().AppliedIndex > 1 })
	f.CatchUpMiBps = float64(f.DiskMiB) / time.Since(began).Seconds()
	if _, err := follower.Upload(t.Context(), scaleRef(uploads-1)); err != nil && uploads > 1 {
		t.Fatal(err)
	}
	f.CatchUpSeconds = time.Since(began).Seconds()
	stop()
	f.CaughtUpMiB = residentMiB(t)
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("figures %s\n", b)
}

// commitForever commits parts of a new upload one after the other. The first
// function returned says what the slowest took since it was asked last.
func commitForever(t *testing.T, n *testNode, inc layout.Incarnation) (worst func() time.Duration, stop func()) {
	t.Helper()
	ref := newUpload(t, n, "b", "busy")
	slowest := make(chan time.Duration)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		max := time.Duration(0)
		for seq := uint64(1); ; seq++ {
			select {
			case <-end:
				return
			case slowest <- max:
				max = 0
			default:
			}
			began := time.Now()
			p := testPart(layout.PartNumber(rand.IntN(partsPerUpload)), 1, layout.NewAttemptID(inc, n.Now(), seq))
			if err := n.CommitPart(t.Context(), ref, p); err != nil {
				t.Errorf("CommitPart: %v", err)
				return
			}
			if took := time.Since(began); took > max {
				max = took
			}
		}
	}()
	return func() time.Duration { return <-slowest }, func() { close(end); <-ended }
}

func listPaged(t *testing.T, n *testNode, ref UploadRef) {
	t.Helper()
	for after, seen := -1, 0; ; {
		page, err := n.Parts(t.Context(), ref, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(page.Parts)
		if len(page.Parts) < 1000 || seen == page.Total {
			if seen != page.Total {
				t.Fatalf("pages have %d parts of %d", seen, page.Total)
			}
			return
		}
		after = int(page.Parts[len(page.Parts)-1].Number)
	}
}

// residentMiB is this process's memory, without pages of files.
func residentMiB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kib >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
