package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

// fakeCluster is a Service with one upload and one object.
type fakeCluster struct {
	fakeAccess
	down    bool // there is no leader
	broken  bool // the object has a corrupt chunk
	aborted []metadata.UploadRef
	members admin.MemberList
	changes []metadata.MembersChange
	stuck   bool // changes of membership are recorded and never followed
	drained bool // the only node has two stores that hold nothing
	upload  admin.UploadDetail
	policy  admin.RepairPolicy

	decisions []admin.StoreDecision
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{members: fakeMembers(), upload: admin.UploadDetail{
		Upload: admin.Upload{Bucket: "photos", Key: "a b", ID: layout.NewUploadID(), Created: time.Unix(1700000000, 0).UTC()},
		Size:   5 << 20,
		Parts: []admin.Part{{
			Number: 2, Size: 5 << 20, ETag: "5d41402abc4b2a76b9719d911017c592", Scheme: layout.Scheme{Data: 4, Parity: 2}, Group: 7,
		}},
	}}
}

func fakeMembers() admin.MemberList {
	l := admin.MemberList{Version: 7, Settled: true, Removed: []admin.NodeRef{{ID: layout.NewNodeID(), Name: "gone1"}}}
	for _, name := range []string{"node1", "node2", "node3", "twin", "twin"} {
		l.Members = append(l.Members, admin.Member{NodeRef: admin.NodeRef{ID: layout.NewNodeID(), Name: name}, Role: admin.RoleVoter, Wish: "none", Alive: true})
	}
	return l
}

func (f *fakeCluster) Members(context.Context) (admin.MemberList, error) {
	return f.members, f.registry()
}

// ChangeMembers lets no version but the current one through, and removes with
// force only.
func (f *fakeCluster) ChangeMembers(_ context.Context, c metadata.MembersChange) error {
	switch {
	case c.Version != f.members.Version:
		return metadata.ErrMembersChanged
	case c.Verb == metadata.MembersDemote && !c.Force:
		return fmt.Errorf("%w: it would leave 1 of 3 voters", metadata.ErrMembersUnsafe)
	}
	f.changes = append(f.changes, c)
	f.members.Version++
	f.members.Settled = !f.stuck
	return f.registry()
}

func (f *fakeCluster) registry() error {
	if f.down {
		return metadata.ErrUnavailable
	}
	return nil
}

func (f *fakeCluster) Status(context.Context) (admin.Status, error) {
	s := admin.Status{
		Scheme: layout.Scheme{Data: 4, Parity: 2}, Node: f.members.Members[0].NodeRef, Term: 3,
		Voters: []admin.NodeRef{{Name: "node1"}, {Name: "node2"}},
		Digest: &admin.Digest{Index: 9, Sum: "0123456789abcdef0123", Equal: 2, Asked: 3},
		Nodes:  admin.NodeCounts{Total: 6, Up: 6},
		Stores: admin.StoreCounts{Total: 6, Up: 6, FreeBytes: 3 << 30, CapacityBytes: 6 << 30},
		Groups: admin.GroupCounts{Total: 60, Whole: 60},
	}
	if !f.down {
		s.Leader = &admin.NodeRef{Name: "node2"}
	}
	if f.broken {
		s.Nodes = admin.NodeCounts{Total: 6, Up: 5, Down: 1}
		s.Groups = admin.GroupCounts{Total: 60, Degraded: 60, AtRisk: 60}
	}
	return s, nil
}

func (f *fakeCluster) Nodes(context.Context) ([]admin.Node, error) {
	applied := uint64(41)
	if f.drained {
		return []admin.Node{{ID: f.members.Members[0].ID, Name: "node1", Alive: true, Role: admin.RoleVoter, Stores: []admin.Store{
			{ID: layout.StoreID{0xfe}, State: admin.StoreUp, Duty: "draining"}, {ID: layout.StoreID{0xfe, 1}, State: admin.StoreUp, Duty: "draining"},
		}}}, nil
	}
	return []admin.Node{
		{ID: f.members.Members[0].ID, Name: "node1", Zone: "east", Alive: true, Role: admin.RoleVoter, AppliedIndex: &applied, Version: "v0.1.0",
			Stores: []admin.Store{{ID: layout.StoreID{0xfd}, State: admin.StoreDown, FreeBytes: -1, Duty: "dead"}, {ID: layout.StoreID{0xfe}, State: admin.StoreUp, FreeBytes: 1 << 30, CapacityBytes: 2 << 30, Duty: "out", Slots: 57, Reason: "absent",
				Dir: "/mnt/b", Fault: "EIO on it", Scrub: &admin.Scrub{Began: time.Unix(1700000000, 0), Read: 1300, Total: 4100, Hurried: true, Damaged: 17}}},
			Refused:   []admin.RefusedDir{{Dir: "/mnt/c", Fault: "of another node"}},
			Heal:      &admin.Heal{Chunks: 77, Rebuilt: 13, AllRebuilt: 31, RebuildSeconds: 62, Narrow: 515, AllWidened: 616},
			Lifecycle: &admin.Lifecycle{Began: time.Unix(1700000000, 0), Bucket: "photos", Failed: 23, Expired: 19, Aborted: 29}},
		{ID: f.members.Members[1].ID, Name: "node2", Role: admin.RoleUnknown},
	}, nil
}

func (f *fakeCluster) Uploads(context.Context, admin.UploadQuery) (admin.UploadList, error) {
	return admin.UploadList{Uploads: []admin.Upload{f.upload.Upload}, More: true}, f.registry()
}

func (f *fakeCluster) Upload(_ context.Context, ref metadata.UploadRef) (admin.UploadDetail, error) {
	if ref != (metadata.UploadRef{Bucket: "photos", Key: "a b", ID: f.upload.ID}) {
		return admin.UploadDetail{}, metadata.ErrUploadNotFound
	}
	return f.upload, f.registry()
}

func (f *fakeCluster) AbortUpload(_ context.Context, ref metadata.UploadRef) error {
	f.aborted = append(f.aborted, ref)
	return f.registry()
}

func (f *fakeCluster) InspectObject(_ context.Context, bucket, key string) (admin.ObjectReport, error) {
	r := admin.ObjectReport{Bucket: bucket, Key: key, Size: 5, Parts: []admin.PartReport{{
		Part: admin.Part{Number: 1, Size: 5, Scheme: layout.Scheme{Data: 1, Parity: 1}, Group: 9},
		Chunks: []admin.ChunkReport{
			{Index: 0, Slot: 3, Node: admin.NodeRef{Name: "node4"}, State: admin.ChunkOK},
			{Index: 1, Slot: 5, Node: admin.NodeRef{Name: "node6"}, State: admin.ChunkOK},
		},
	}}}
	if f.broken {
		r.Parts[0].Chunks[1].State, r.Parts[0].Chunks[1].Detail = admin.ChunkCorrupt, "block 0 fails its checksum"
	}
	return r, f.registry()
}

func (f *fakeCluster) DecideStore(_ context.Context, d admin.StoreDecision) (admin.StorePlan, error) {
	f.decisions = append(f.decisions, d)
	if d.DryRun {
		return admin.StorePlan{Slots: 4, Bytes: 3 << 30, Seconds: 90, Problem: "too few nodes"}, nil
	}
	if d.Duty == "draining" && !d.NoRoom {
		return admin.StorePlan{}, admin.ErrMargin
	}
	return admin.StorePlan{Slots: 4, Done: true}, nil
}

func (f *fakeCluster) JudgeStop(_ context.Context, nodes []layout.NodeID) (admin.StopVerdict, error) {
	if len(nodes) > 1 {
		return admin.StopVerdict{Margin: -1, Voters: 2, Majority: 3, Problems: []string{"the registry would lose its majority"}}, nil
	}
	return admin.StopVerdict{Margin: 1, Voters: 4, Majority: 3}, nil
}

// RunScrub knows the stores of node1, of which the second can be asked.
func (f *fakeCluster) RunScrub(_ context.Context, store layout.StoreID) error {
	if store != (layout.StoreID{0xfe}) {
		return fmt.Errorf("%w: store %s", admin.ErrUnavailable, store)
	}
	return f.registry()
}

func (f *fakeCluster) Garbage(context.Context) (admin.GarbageStatus, error) {
	return admin.GarbageStatus{
		GraceSeconds: 600, Parts: 7, Waiting: admin.Amount{Chunks: 42, Bytes: 3 << 30}, Due: admin.Amount{Chunks: 6, Bytes: 1 << 20},
		Stores: []admin.GarbageShare{
			{Node: admin.NodeRef{Name: "node1"}, Freed: &admin.Amount{Chunks: 5, Bytes: 2 << 20}},
			{Node: admin.NodeRef{Name: "node2"}},
		},
	}, f.registry()
}

func (f *fakeCluster) SweepGarbage(context.Context) (admin.GarbageSwept, error) {
	s := admin.GarbageSwept{Freed: admin.Amount{Chunks: 6, Bytes: 1 << 20}, Parts: 1}
	if f.broken {
		s.Waiting, s.Refused, s.Unfinished = 3, 1, true
	}
	return s, f.registry()
}

func (f *fakeCluster) Events(_ context.Context, limit int) ([]admin.Event, error) {
	events := []admin.Event{
		{Sequence: 1, Kind: metadata.EventMember, Reason: "too old"},
		{
			Sequence: 2, Time: time.Unix(1700000000, 0), AgeSeconds: 90, Kind: metadata.EventStoreFenced,
			Node: &admin.NodeRef{Name: "node4"}, Store: &layout.StoreID{0xfe}, Reason: "sync failed",
		},
		{Sequence: 3, Kind: metadata.EventRepairChanged, Reason: "pause"},
	}
	return events[len(events)-min(limit, len(events)):], f.registry()
}

func (f *fakeCluster) Repair(context.Context) (admin.RepairPolicy, error) {
	return f.policy, f.registry()
}

func (f *fakeCluster) ChangeRepair(_ context.Context, verb metadata.RepairVerb, limit uint64) error {
	switch verb {
	case metadata.RepairThrottle:
		f.policy.BytesPerSecond = limit
	case metadata.RepairThrottleTotal:
		f.policy.TotalBytesPerSecond, f.policy.Nodes = limit, 5
	case metadata.RepairAtOnce:
		f.policy.ChunksAtOnce, f.policy.Nodes = limit, 5
	default:
		f.policy.Paused = verb == metadata.RepairPause
	}
	return f.registry()
}

func (f *fakeCluster) RegistryCapacity(context.Context) (admin.RegistryCapacity, error) {
	return admin.RegistryCapacity{
		Node: admin.NodeRef{Name: "node1"}, Rows: metadata.RowCounts{Parts: 2_500_000}, MaxParts: 10_000_000, PercentFull: 25, RowsBytes: 1 << 30,
	}, f.registry()
}

// goldenBackup is a backup that package metadata made.
const goldenBackup = "../../metadata/testdata/backup.golden"

func (f *fakeCluster) RegistryBackup(_ context.Context, w io.Writer) error {
	b, err := os.ReadFile(goldenBackup)
	if err != nil {
		return err
	}
	if f.broken {
		b[len(b)/2] ^= 1
	}
	if f.down {
		w.Write(b[:len(b)/2])
		return f.registry()
	}
	_, err = w.Write(b)
	return err
}

func (f *fakeCluster) Ready(context.Context) error { return f.registry() }

// partctl runs one command line against the cluster.
func partctl(t *testing.T, f *fakeCluster, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	server := httptest.NewServer(admin.NewHandler(f, http.NotFoundHandler(), "sesame", nil))
	defer server.Close()
	env := map[string]string{addressEnv: server.URL, tokenEnv: "sesame"}
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs, func(name string) string { return env[name] })
	return status, out.String(), errs.String()
}

func TestExitStatusAndWhatIsShown(t *testing.T) {
	sound, broken, down := newFakeCluster(), newFakeCluster(), newFakeCluster()
	broken.broken, down.down = true, true
	id := sound.upload.ID.String()
	tests := []struct {
		name    string
		cluster *fakeCluster
		args    string
		want    int
		shows   []string
	}{
		{"status of a sound cluster", sound, "status", 0, []string{"ok", "node2, term 3", "node1 node2", "3.0 GiB of 6.0 GiB", "60 whole", "none", "0123456789abcdef at index 9, the same on 2 of 3 members"}},
		{"status of a degraded one", broken, "status", 3, []string{"degraded", "node_down: 1 node down", "those in 60 of 60 groups"}},
		{"status without a leader", down, "status", 3, []string{"unavailable", "no_leader", "none known"}},
		{"nodes", sound, "node list", 0, []string{"node1", "east", "voter", "41", "v0.1.0", "unknown", "1.0 GiB", "/mnt/b", "EIO on it", "/mnt/c", "of another node"}},
		{"stores", sound, "store list", 0, []string{layout.StoreID{0xfe}.String(), "out", "57", "absent"}},
		{"drain without margin", sound, "store drain " + layout.StoreID{0xfe}.String(), 4, []string{"margin or room"}},
		{"drain all the same", sound, "store drain --override no-margin " + layout.StoreID{0xfe}.String(), 0, []string{"slots 4"}},
		{"plan of a drain", sound, "store drain --dry-run " + layout.StoreID{0xfe}.String(), 4, []string{"3.0 GiB", "1m30s", "too few nodes", "nothing was done"}},
		{"store in", sound, "store in " + layout.StoreID{0xfe}.String(), 0, []string{"slots 4"}},
		{"unknown store", sound, "store out fe", 1, []string{"not found"}},
		{"ok to stop", sound, "node ok-to-stop node1", 0, []string{"margin 1", "voters left 4 of 3 needed"}},
		{"not ok to stop", sound, "node ok-to-stop node1 node2", 4, []string{"lose its majority", "margin or room"}},
		{"drain a node without margin", sound, "node drain node1", 4, []string{"margin or room"}},
		{"plan of a node's drain", sound, "node drain --dry-run node1", 4, []string{"too few nodes", "nothing was done"}},
		{"drain a node that holds nothing", sound, "node drain --wait 1m node2", 0, nil},
		{"drain a stranger", sound, "node drain node99", 1, []string{"not found"}},
		{"decommission a node that is needed", sound, "node decommission --yes node1", 4, []string{"57 slots"}},
		{"decommission without --yes", sound, "node decommission node2", 0, []string{"Nothing was done"}},
		{"stop nothing", sound, "node ok-to-stop", 2, []string{"NODE..."}},
		{"stop a stranger", sound, "node ok-to-stop node99", 1, []string{"not found"}},
		{"unknown override", sound, "store replace --override all " + layout.StoreID{0xfe}.String(), 2, []string{"override"}},
		{"members", sound, "member list", 0, []string{"node3", "voter", "Removed:", "gone1", "Version 7, settled"}},
		{"members without a leader", down, "member list", 4, []string{"registry unavailable"}},
		{"promote a stranger", sound, "member promote node9", 1, []string{`"node9" is no member`}},
		{"promote one of two of a name", sound, "member promote twin", 2, []string{"use the ID"}},
		{"demote too many", sound, "member demote node2", 1, []string{"it would leave 1 of 3 voters"}},
		{"decide on an old version", sound, "member promote node2 --version 3", 1, []string{"changed meanwhile"}},
		{"force has no place in promote", sound, "member promote node2 --force", 2, []string{"usage"}},
		{"force has no place in unwish", sound, "member unwish node2 --force", 2, []string{"usage"}},
		{"unwish a stranger", sound, "member unwish node9", 1, []string{`"node9" is no member`}},
		{"promote one that was removed", sound, "member promote gone1", 1, []string{`"gone1" is no member`}},
		{"replace without a node", sound, "member replace", 2, []string{"OLD NEW"}},
		{"uploads", sound, "upload list", 0, []string{id, `"a b"`, "There are more: --bucket photos"}},
		{"uploads without a leader", down, "upload list", 4, []string{"registry unavailable"}},
		{"unknown upload", sound, "upload show photos other " + id, 1, []string{"upload not found"}},
		{"object", sound, "object inspect photos k", 0, []string{"whole", "node4", "scheme 1+1", "group 9"}},
		{"damaged object", broken, "object inspect photos k", 3, []string{"degraded", "corrupt", "block 0 fails its checksum"}},
		{"object without a leader", down, "object inspect photos k", 4, []string{"registry unavailable"}},
		{"capacity", sound, "registry capacity", 0, []string{"25.0%: 2500000 parts of 10000000", "1.0 GiB", "node1"}},
		{"capacity without a leader", down, "registry capacity", 4, []string{"registry unavailable"}},
		{"repair", sound, "repair status", 0, []string{"NOT HEALED", "NARROW", "node1", "77", "13", "31", "515", "616", "?"}},
		{"pause", sound, "repair pause", 0, []string{"paused on all nodes"}},
		{"throttle", sound, "repair throttle 20MiB/s", 0, []string{"20.0 MiB a second"}},
		{"repair, paused", sound, "repair status", 0, []string{"Healing is paused", "node1"}},
		{"resume", sound, "repair resume", 0, []string{"goes on"}},
		{"repair, throttled", sound, "repair status", 0, []string{"at most 20.0 MiB a second", "node1"}},
		{"repair, in JSON", sound, "repair status -o json", 0, []string{`"bytes_per_second": 20971520`, `"paused": false`}},
		{"throttle all", sound, "repair throttle --total 100MiB/s", 0, []string{"All nodes together", "100.0 MiB a second"}},
		{"repair, all throttled", sound, "repair status", 0, []string{"at most 20.0 MiB a second", "together move at most 100.0 MiB a second", "20.0 MiB for each of 5"}},
		{"throttle all no more", sound, "repair throttle 0 --total", 0, []string{"bounded no more"}},
		{"throttle no more", sound, "repair throttle 0", 0, []string{"as fast as it is configured to"}},
		{"throttle to a number of no unit", sound, "repair throttle 10", 2, []string{"usage", "64KiB/s"}},
		{"make some at once", sound, "repair throttle --at-once 12", 0, []string{"at most 12 chunks at once"}},
		{"repair, bounded", sound, "repair status", 0, []string{"make at most 12 chunks at once, which is 2 for each of 5"}},
		{"make as many as there are", sound, "repair throttle --at-once 0", 0, []string{"bounded no more"}},
		{"two bounds at a time", sound, "repair throttle 20MiB/s --at-once 12", 2, []string{"usage"}},
		{"throttle too much", sound, "repair throttle 99999999GiB", 2, []string{"usage"}},
		{"throttle to words", sound, "repair throttle slow", 2, []string{"usage"}},
		{"pause without a leader", down, "repair pause", 4, []string{"registry unavailable"}},
		{"events", sound, "events", 0, []string{"too old", "store-fenced", "node4", "1m30s", "2023-11-14T22:13:20Z", "repair-changed", `"sync failed"`}},
		{"last event", sound, "events --limit 1 -o json", 0, []string{`"kind": "repair-changed"`, `"store": null`}},
		{"too many events", sound, "events --limit 1001", 2, []string{"usage"}},
		{"durability", sound, "durability", 0, []string{"4+2", "1+2", "60 groups", "12m34s", "measured", "LOSS IN A YEAR"}},
		{"what if", sound, "durability --scheme 8+3 --groups 7 --heal-time 48h --zones 3 --zone-failures 0.01 -o json", 0, []string{`"8+3"`, `"groups": 7`, `"heal_seconds": 172800`, `"zones": 3`}},
		{"what if a drive cannot heal", sound, "durability --heal-time -1s", 2, []string{"usage"}},
		{"what if there were no scheme", sound, "durability --scheme 4", 2, []string{"usage"}},
		{"simulation", down, "sim --nodes 12 --zones 3 --stores 2 --groups 100 --rack 2 --seed 7 --stored 1TiB --bandwidth 100MiB/s", 0, []string{"Seed 7", "24 stores", "100 groups 4+2", "+1 %", "GROUPS LOST", "zone", "rack", "1.0 TiB", "100.0 MiB"}},
		{"simulation in JSON", down, "sim --nodes 12 --zones 3 --stores 2 --groups 100 --scheme 3+1 -o json", 0, []string{`"seed"`, `"3+1"`, `"at_risk"`, `"share_slots"`}},
		{"simulation of words", down, "sim --stored much", 2, []string{"much"}},
		{"simulation of nothing", down, "sim --nodes 0", 2, []string{"usage"}},
		{"scrub", sound, "scrub status", 0, []string{"2023-11-14T22:13:20Z", "1300 of 4100 (run)", "never", "17", "?"}},
		{"run a scrub", sound, "scrub run", 0, []string{"node1", layout.StoreID{0xfe}.String(), "begun"}},
		{"run a scrub of a dead store", sound, "scrub run " + layout.StoreID{0xfe}.String() + " " + layout.StoreID{0xfd}.String(), 4, []string{"begun", "1 of 2 stores"}},
		{"run a scrub without a leader", down, "scrub run", 4, []string{"registry unavailable"}},
		{"run a scrub of no store", sound, "scrub run fe", 1, []string{`store "fe"`}},
		{"lifecycle", sound, "lifecycle status", 0, []string{"LEFT OUT", "2023-11-14T22:13:20Z", "photos", "never", "23", "19", "29", "?"}},
		{"garbage", sound, "gc status", 0, []string{"3.0 GiB in 42 chunks in 7 parts", "1.0 MiB in 6 chunks", "10m0s", "node1", "2.0 MiB in 5 chunks", "?"}},
		{"free garbage", sound, "gc run", 0, []string{"Freed 1.0 MiB in 6 chunks of 1 parts"}},
		{"free some garbage", broken, "gc run", 0, []string{"3 parts keep a chunk", "1 entries", "the leader goes on"}},
		{"would free garbage", sound, "gc run --dry-run", 0, []string{"Would free 1.0 MiB in 6 chunks. Nothing was done"}},
		{"free garbage without a leader", down, "gc run", 4, []string{"registry unavailable"}},
		{"sound backup", sound, "registry verify " + goldenBackup, 0, []string{"log entry", "parts", "11"}},
		{"no backup", sound, "registry verify partctl_test.go", 1, []string{"not one"}},
		{"absent backup", sound, "registry verify no-such-file", 1, []string{"no-such-file"}},
		{"unknown command", sound, "bucket list", 2, []string{"usage"}},
		{"unknown flag", sound, "status --fast", 2, []string{"usage"}},
		{"missing argument", sound, "object inspect photos", 2, []string{"BUCKET KEY"}},
		{"malformed upload ID", sound, "upload show photos k 12", 2, []string{"malformed"}},
		{"unknown output", sound, "status -o xml", 2, []string{"xml"}},
		{"limit out of range", sound, "upload list --limit 0", 2, []string{"limit"}},
		{"address without scheme", sound, "status --admin localhost:7073", 2, []string{"http://HOST:PORT"}},
		{"nobody there", sound, "status --admin http://127.0.0.1:1", 4, []string{"unavailable"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, stdout, stderr := partctl(t, tc.cluster, strings.Fields(tc.args)...)
			if got != tc.want {
				t.Errorf("partctl %s = %d, want %d\n%s%s", tc.args, got, tc.want, stdout, stderr)
			}
			for _, s := range tc.shows {
				if !strings.Contains(stdout+stderr, s) {
					t.Errorf("partctl %s does not show %q:\n%s%s", tc.args, s, stdout, stderr)
				}
			}
		})
	}
}

// A node of two stores is decided about at once: programs get one document.
func TestANodeOfTwoStoresIsOneDocument(t *testing.T) {
	for _, tc := range []struct {
		args string
		want int
		into any
	}{
		{"node drain --dry-run node1", 4, &[]storePlan{{}, {}}},
		{"node decommission --yes node1", 0, &admin.MemberList{}},
	} {
		f := newFakeCluster()
		f.drained = true
		status, stdout, stderr := partctl(t, f, append(strings.Fields(tc.args), "-o", "json")...)
		if err := json.Unmarshal([]byte(stdout), tc.into); status != tc.want || err != nil {
			t.Errorf("partctl %s = %d, want %d; not one document: %v\n%s%s", tc.args, status, tc.want, err, stdout, stderr)
		}
		if plans, ok := tc.into.(*[]storePlan); ok && (len(*plans) != 2 || (*plans)[1].Store != layout.StoreID{0xfe, 1}) {
			t.Errorf("partctl %s shows %+v", tc.args, *plans)
		}
		if dead := len(f.decisions) == 2 && f.decisions[0].Duty == "dead"; tc.want == 0 && !dead {
			t.Errorf("partctl %s decided %+v, want that both stores are dead", tc.args, f.decisions)
		}
	}
}

func TestJSONIsTheAnswerOfTheAPI(t *testing.T) {
	f := newFakeCluster()
	_, stdout, _ := partctl(t, f, "upload", "show", "photos", "a b", f.upload.ID.String(), "-o", "json")
	var d admin.UploadDetail
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("output is no JSON: %v\n%s", err, stdout)
	}
	if d.Upload != f.upload.Upload || d.Size != f.upload.Size || len(d.Parts) != 1 || d.Parts[0] != f.upload.Parts[0] {
		t.Errorf("upload show -o json = %+v, want %+v", d, f.upload)
	}
}

func TestErrorsAreJSONToo(t *testing.T) {
	f := newFakeCluster()
	tests := []struct{ args, code string }{
		{"upload show photos other " + f.upload.ID.String() + " -o json", "upload_not_found"},
		{"status -o json --admin http://127.0.0.1:1", "unavailable"},
		{"object inspect -o json photos", "usage"},
	}
	for _, tc := range tests {
		_, stdout, stderr := partctl(t, f, strings.Fields(tc.args)...)
		var e struct{ Code, Message string }
		if err := json.Unmarshal([]byte(stderr), &e); err != nil || e.Code != tc.code || e.Message == "" || stdout != "" {
			t.Errorf("partctl %s prints %q and error %q, want only an error with code %s", tc.args, stdout, stderr, tc.code)
		}
	}
}

func TestAbortNeedsYes(t *testing.T) {
	f := newFakeCluster()
	args := []string{"upload", "abort", "photos", "a b", f.upload.ID.String()}
	status, stdout, _ := partctl(t, f, args...)
	if status != 0 || len(f.aborted) != 0 || !strings.Contains(stdout, "Nothing was done") {
		t.Errorf("abort without --yes = %d, aborted %v, shows %q", status, f.aborted, stdout)
	}
	status, stdout, _ = partctl(t, f, append(args, "--yes")...)
	if status != 0 || len(f.aborted) != 1 || !strings.Contains(stdout, "Aborted") {
		t.Errorf("abort with --yes = %d, aborted %v, shows %q", status, f.aborted, stdout)
	}
}

// The stores of a node are given up together, and what is dead does not drain.
func TestANodesStoresDrainTogether(t *testing.T) {
	f := newFakeCluster()
	partctl(t, f, "node", "drain", "node1")
	if len(f.decisions) != 1 || f.decisions[0].Store != (layout.StoreID{0xfe}) || !slices.Equal(f.decisions[0].Besides, []layout.StoreID{{0xfd}, {0xfe}}) {
		t.Errorf("node drain decided %+v", f.decisions)
	}
}

func TestMemberCommandsDecide(t *testing.T) {
	tests := []struct {
		args     string
		verb     metadata.MembersVerb
		node, by int // index of the member; by -1: none
		force    bool
	}{
		{"promote node2", metadata.MembersPromote, 1, -1, false},
		{"demote node3 --force", metadata.MembersDemote, 2, -1, true},
		{"remove node2 --yes", metadata.MembersRemove, 1, -1, false},
		{"replace node2 node3 --yes --version 7", metadata.MembersReplace, 1, 2, false},
		{"replace node2 --yes", metadata.MembersReplace, 1, -1, false},
		{"leave --yes --force", metadata.MembersRemove, 0, -1, true},
		{"unwish node2", metadata.MembersUnwish, 1, -1, false},
	}
	for _, tc := range tests {
		t.Run(tc.args, func(t *testing.T) {
			f := newFakeCluster()
			want := metadata.MembersChange{Verb: tc.verb, Node: f.members.Members[tc.node].ID, Version: 7, Force: tc.force}
			if tc.by >= 0 {
				want.By = f.members.Members[tc.by].ID
			}
			args := append([]string{"member"}, strings.Fields(tc.args)...)
			status, stdout, stderr := partctl(t, f, args...)
			if status != 0 || len(f.changes) != 1 || f.changes[0] != want {
				t.Errorf("partctl member %s = %d, decided %+v, want %+v\n%s%s", tc.args, status, f.changes, want, stdout, stderr)
			}
			if !strings.Contains(stdout, "Version 8, settled") {
				t.Errorf("partctl member %s does not show the members afterwards:\n%s", tc.args, stdout)
			}
		})
	}
	f := newFakeCluster()
	if status, _, stderr := partctl(t, f, "member", "unwish", "gone1"); status != 0 || len(f.changes) != 1 || f.changes[0].Node != f.members.Removed[0].ID {
		t.Errorf("unwish of a removed node = %d, decided %+v\n%s", status, f.changes, stderr)
	}
	f = newFakeCluster()
	if status, _, stderr := partctl(t, f, "node", "decommission", "node2", "--yes"); status != 0 || len(f.changes) != 1 ||
		f.changes[0].Verb != metadata.MembersRemove || f.changes[0].Node != f.members.Members[1].ID {
		t.Errorf("decommission = %d, decided %+v\n%s", status, f.changes, stderr)
	}
	f = newFakeCluster()
	if status, stdout, _ := partctl(t, f, "member", "remove", "node2"); status != 0 || len(f.changes) != 0 || !strings.Contains(stdout, "Nothing was done") {
		t.Errorf("remove without --yes = %d, decided %v, shows %q", status, f.changes, stdout)
	}
	f.stuck = true
	if status, stdout, _ := partctl(t, f, "member", "promote", "node2", "--wait", "10ms"); status != 3 || !strings.Contains(stdout, "under way") {
		t.Errorf("promote that is not followed = %d, want 3; shows %q", status, stdout)
	}
}

func TestTokenComesFromItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for _, tc := range []struct {
		token string
		want  int
	}{{"sesame\n", 0}, {"wrong\n", 4}} {
		if err := os.WriteFile(path, []byte(tc.token), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _, stderr := partctl(t, newFakeCluster(), "status", "--token-file", path); got != tc.want {
			t.Errorf("status with token %q = %d (%s), want %d", tc.token, got, stderr, tc.want)
		}
	}
}

// A file has the name it was asked for only if it is a whole and sound backup.
func TestBackupIsAFileOnlyIfItIsWhole(t *testing.T) {
	sound, broken, down := newFakeCluster(), newFakeCluster(), newFakeCluster()
	broken.broken, down.down = true, true
	tests := []struct {
		name    string
		cluster *fakeCluster
		want    int
		code    string
	}{
		{"sound", sound, 0, ""},
		{"damaged on the way", broken, 1, "damaged"},
		{"cut off", down, 4, "unavailable"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "backup")
			status, stdout, stderr := partctl(t, tc.cluster, "registry", "backup", path, "-o", "json")
			if status != tc.want || !strings.Contains(stderr, tc.code) {
				t.Fatalf("backup = %d, want %d with %q\n%s%s", status, tc.want, tc.code, stdout, stderr)
			}
			names, err := os.ReadDir(filepath.Dir(path))
			if err != nil || tc.want != 0 && len(names) != 0 || tc.want == 0 && len(names) != 1 {
				t.Fatalf("left in the directory: %v, %v", names, err)
			}
			if tc.want != 0 {
				return
			}
			var report backupReport
			if err := json.Unmarshal([]byte(stdout), &report); err != nil || report.Rows.Parts != 11 || report.Problems == nil {
				t.Errorf("report = %+v, %v", report, err)
			}
			if got, _, stderr := partctl(t, tc.cluster, "registry", "verify", path); got != 0 {
				t.Errorf("verify = %d: %s", got, stderr)
			}
			if got, _, _ := partctl(t, tc.cluster, "registry", "backup", path); got != 2 {
				t.Errorf("backup over an existing file = %d, want 2", got)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{-1: "?", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 3 << 50: "3.0 PiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}
