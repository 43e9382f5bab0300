package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

// fakeService answers with what it holds, or with err. asked is what the last
// call was about.
type fakeService struct {
	status admin.Status
	nodes  []admin.Node
	list   admin.UploadList
	detail admin.UploadDetail
	report admin.ObjectReport
	member admin.MemberList

	capacity admin.RegistryCapacity
	backup   string
	garbage  admin.GarbageStatus
	swept    admin.GarbageSwept
	events   []admin.Event
	policy   admin.RepairPolicy

	err   error
	asked any
}

func (f *fakeService) Status(context.Context) (admin.Status, error) { return f.status, f.err }
func (f *fakeService) Nodes(context.Context) ([]admin.Node, error)  { return f.nodes, f.err }
func (f *fakeService) Ready(context.Context) error                  { return f.err }

func (f *fakeService) DecideStore(_ context.Context, d admin.StoreDecision) (admin.StorePlan, error) {
	f.asked = d
	return admin.StorePlan{Slots: 3, Done: true}, f.err
}

func (f *fakeService) JudgeStop(_ context.Context, nodes []layout.NodeID) (admin.StopVerdict, error) {
	f.asked = nodes
	return admin.StopVerdict{Margin: 1, Voters: 4, Majority: 3, Problems: []string{"one"}}, f.err
}

func (f *fakeService) Garbage(context.Context) (admin.GarbageStatus, error) {
	return f.garbage, f.err
}

func (f *fakeService) RunScrub(_ context.Context, store layout.StoreID) error {
	f.asked = store
	return nil
}

func (f *fakeService) SweepGarbage(context.Context) (admin.GarbageSwept, error) {
	return f.swept, f.err
}

func (f *fakeService) Events(_ context.Context, limit int) ([]admin.Event, error) {
	f.asked = limit
	return f.events, f.err
}

func (f *fakeService) Repair(context.Context) (admin.RepairPolicy, error) { return f.policy, f.err }

func (f *fakeService) ChangeRepair(_ context.Context, verb metadata.RepairVerb, limit uint64) error {
	f.asked = [2]uint64{uint64(verb), limit}
	return f.err
}

func (f *fakeService) RegistryCapacity(context.Context) (admin.RegistryCapacity, error) {
	return f.capacity, f.err
}

func (f *fakeService) RegistryBackup(_ context.Context, w io.Writer) error {
	if _, err := io.WriteString(w, f.backup); f.backup != "" && err != nil {
		return err
	}
	return f.err
}

func (f *fakeService) Members(context.Context) (admin.MemberList, error) {
	return f.member, f.err
}

func (f *fakeService) ChangeMembers(_ context.Context, c metadata.MembersChange) error {
	f.asked = c
	return f.err
}

func (f *fakeService) Uploads(_ context.Context, q admin.UploadQuery) (admin.UploadList, error) {
	f.asked = q
	return f.list, f.err
}

func (f *fakeService) Upload(_ context.Context, ref metadata.UploadRef) (admin.UploadDetail, error) {
	f.asked = ref
	return f.detail, f.err
}

func (f *fakeService) AbortUpload(_ context.Context, ref metadata.UploadRef) error {
	f.asked = ref
	return f.err
}

func (f *fakeService) InspectObject(_ context.Context, bucket, key string) (admin.ObjectReport, error) {
	f.asked = [2]string{bucket, key}
	return f.report, f.err
}

var metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "partstore_up 1\n")
})

func serve(t *testing.T, f *fakeService, token string) (base string) {
	t.Helper()
	server := httptest.NewServer(admin.NewHandler(f, metrics, token, nil))
	t.Cleanup(server.Close)
	return server.URL
}

func dial(t *testing.T, base, token string) *admin.Client {
	t.Helper()
	client, err := admin.NewClient(base, token)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestClientGetsWhatTheServiceSays(t *testing.T) {
	applied := uint64(41)
	self := admin.NodeRef{ID: layout.NewNodeID(), Name: "node1"}
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	part := admin.Part{
		Number: 3, Size: 5, ETag: "5d41402abc4b2a76b9719d911017c592", Modified: created,
		Scheme: layout.Scheme{Data: 1, Parity: 2}, Group: 7, Attempt: layout.NewAttemptID(1, 2, 3),
	}
	upload := admin.Upload{Bucket: "photos", Key: "a b/ü", ID: layout.NewUploadID(), Created: created}
	f := &fakeService{
		status: admin.Status{
			Cluster: layout.NewClusterID(), Scheme: layout.Scheme{Data: 4, Parity: 2}, Node: self, Version: "v1",
			Leader: &self, Term: 9, Voters: []admin.NodeRef{self},
			Nodes: admin.NodeCounts{Total: 1, Up: 1}, Groups: admin.GroupCounts{Total: 2, Whole: 2},
		},
		nodes: []admin.Node{{
			ID: self.ID, Name: "node1", Zone: "z", Alive: true, Role: admin.RoleLeader, AppliedIndex: &applied,
			Stores: []admin.Store{{ID: layout.NewStoreID(), State: admin.StoreUp, FreeBytes: -1}},
			Freed:  &admin.Amount{Chunks: 3, Bytes: 4},
			Heal:   &admin.Heal{Chunks: 9, Recorded: 1, Rebuilt: 2, Left: 3, AllRecorded: 4, AllRebuilt: 5},
			Scrub:  &admin.Scrub{Began: created, Verified: created, Damaged: 6},

			Lifecycle: &admin.Lifecycle{Began: created, Bucket: "photos", Passed: created, Failed: 1, Expired: 2, Aborted: 3},
		}},
		garbage: admin.GarbageStatus{
			GraceSeconds: 600, Entries: 1, Parts: 2, Waiting: admin.Amount{Chunks: 12, Bytes: 5}, Due: admin.Amount{Chunks: 6}, OldestSeconds: 1.5,
			Stores: []admin.GarbageShare{{Store: layout.NewStoreID(), Node: self, Waiting: admin.Amount{Chunks: 2, Bytes: 1}, Freed: &admin.Amount{Bytes: 7}}},
		},
		swept: admin.GarbageSwept{Freed: admin.Amount{Chunks: 6, Bytes: 3}, Parts: 1, Waiting: 2, Refused: 3, Unfinished: true},
		events: []admin.Event{
			{Sequence: 8, Time: created, AgeSeconds: 1.5, RegistryMillis: 1 << 40, Kind: metadata.EventStoreFenced, Node: &self, Store: &layout.StoreID{4}, Reason: "ü"},
			{Sequence: 9, Kind: metadata.EventHealClear},
		},
		policy: admin.RepairPolicy{Paused: true, BytesPerSecond: 1 << 40, TotalBytesPerSecond: 1 << 39, Nodes: 6},
		member: admin.MemberList{Version: 7, Settled: true, Members: []admin.Member{
			{NodeRef: self, Role: admin.RoleVoter, Wish: "vote", Alive: true, AppliedIndex: &applied},
		}},
		list:   admin.UploadList{Uploads: []admin.Upload{upload}, More: true},
		detail: admin.UploadDetail{Upload: upload, Size: 5, Parts: []admin.Part{part}},
		report: admin.ObjectReport{Bucket: "photos", Key: upload.Key, Size: 5, Modified: created, Parts: []admin.PartReport{{
			Part: part,
			Chunks: []admin.ChunkReport{
				{Index: 0, Slot: 4, Store: layout.NewStoreID(), Node: self, State: admin.ChunkOK},
				{Index: 1, Slot: 0, Store: layout.NewStoreID(), Node: self, State: admin.ChunkCorrupt, Detail: "block 3"},
				{Index: 2, Slot: 1, Store: layout.NewStoreID(), Node: self, State: admin.ChunkNotWritten},
			},
		}}},
	}
	client := dial(t, serve(t, f, "sesame"), "sesame")
	ctx := t.Context()
	ref := metadata.UploadRef{Bucket: "photos", Key: upload.Key, ID: upload.ID}
	query := admin.UploadQuery{Bucket: "photos", Prefix: "a ", Limit: 17, AfterKey: "a&b", AfterID: upload.ID.String()}

	wantStatus := f.status
	wantStatus.Health, wantStatus.Reasons = admin.HealthOK, []admin.Reason{}
	wantReport := f.report
	wantReport.State = admin.PartDegraded
	wantReport.Parts = []admin.PartReport{f.report.Parts[0]}
	wantReport.Parts[0].State = admin.PartDegraded

	got, err := client.Status(ctx)
	same(t, "Status", got, err, wantStatus)
	nodes, err := client.Nodes(ctx)
	same(t, "Nodes", nodes, err, admin.NodeList{Nodes: f.nodes})
	members, err := client.Members(ctx)
	same(t, "Members", members, err, f.member)
	for _, change := range []metadata.MembersChange{
		{Verb: metadata.MembersPromote, Node: self.ID, Version: 1},
		{Verb: metadata.MembersDemote, Node: self.ID, Version: 2, Force: true},
		{Verb: metadata.MembersRemove, Node: self.ID},
		{Verb: metadata.MembersReplace, Node: self.ID, By: layout.NewNodeID(), Version: 1 << 63},
		{Verb: metadata.MembersUnwish, Node: self.ID, Version: 3},
	} {
		same(t, "ChangeMembers", nil, client.ChangeMembers(ctx, change), any(nil))
		same(t, "ChangeMembers asked for", f.asked, nil, any(change))
	}
	list, err := client.Uploads(ctx, query)
	same(t, "Uploads", list, err, f.list)
	same(t, "Uploads asked for", f.asked, nil, any(query))
	detail, err := client.Upload(ctx, ref)
	same(t, "Upload", detail, err, f.detail)
	same(t, "Upload asked for", f.asked, nil, any(ref))
	report, err := client.InspectObject(ctx, "photos", upload.Key)
	same(t, "InspectObject", report, err, wantReport)
	same(t, "InspectObject asked for", f.asked, nil, any([2]string{"photos", upload.Key}))
	garbage, err := client.Garbage(ctx)
	same(t, "Garbage", garbage, err, f.garbage)
	swept, err := client.SweepGarbage(ctx)
	same(t, "SweepGarbage", swept, err, f.swept)
	events, err := client.Events(ctx, 17)
	same(t, "Events", events, err, admin.EventList{Events: f.events})
	same(t, "Events asked for", f.asked, nil, any(17))
	policy, err := client.Repair(ctx)
	same(t, "Repair", policy, err, f.policy)
	for verb, want := range map[metadata.RepairVerb]uint64{metadata.RepairPause: 0, metadata.RepairResume: 0, metadata.RepairThrottle: 1 << 30, metadata.RepairThrottleTotal: 1 << 30, metadata.RepairAtOnce: 1 << 30} {
		same(t, "ChangeRepair", nil, client.ChangeRepair(ctx, verb, 1<<30), any(nil))
		same(t, "ChangeRepair asked for", f.asked, nil, any([2]uint64{uint64(verb), want}))
	}
	if _, err := client.Events(ctx, admin.MaxEventLimit+1); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("a limit above the limit: %v", err)
	}
	stop := []layout.NodeID{{7}, {8}}
	err = client.RunScrub(ctx, layout.StoreID{0xfe})
	same(t, "RunScrub asked for", f.asked, err, any(layout.StoreID{0xfe}))
	verdict, err := client.JudgeStop(ctx, stop)
	same(t, "JudgeStop", verdict, err, admin.StopVerdict{Margin: 1, Voters: 4, Majority: 3, Problems: []string{"one"}})
	same(t, "JudgeStop asked for", f.asked, nil, any(stop))
	decision := admin.StoreDecision{Store: layout.StoreID{9}, Duty: "draining", Reason: "a b", DryRun: true, Version: 5, Besides: []layout.StoreID{{9}, {10}}}
	plan, err := client.DecideStore(ctx, decision)
	same(t, "DecideStore", plan, err, admin.StorePlan{Slots: 3, Done: true})
	same(t, "DecideStore asked for", f.asked, nil, any(decision))
	f.asked = nil
	same(t, "AbortUpload", nil, client.AbortUpload(ctx, ref), any(nil))
	same(t, "AbortUpload asked for", f.asked, nil, any(ref))
	same(t, "Ready", nil, client.Ready(ctx), any(nil))
}

func same[T any](t *testing.T, what string, got T, err error, want T) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %+v\nwant %+v", what, got, want)
	}
}

func TestErrorsKeepTheirMeaningOverTheWire(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		want   error
		status int
		code   string
	}{
		{"absent upload", metadata.ErrUploadNotFound, admin.ErrNotFound, 404, "upload_not_found"},
		{"absent object, wrapped", fmt.Errorf("inspect: %w", metadata.ErrObjectNotFound), admin.ErrNotFound, 404, "object_not_found"},
		{"absent bucket", metadata.ErrBucketNotFound, admin.ErrNotFound, 404, "bucket_not_found"},
		{"no leader is never 404", fmt.Errorf("read: %w", metadata.ErrUnavailable), admin.ErrUnavailable, 503, "unavailable"},
		{"out of time is never 404", context.DeadlineExceeded, admin.ErrUnavailable, 503, "unavailable"},
		{"an older membership", fmt.Errorf("change: %w", metadata.ErrMembersChanged), admin.ErrConflict, 409, "members_changed"},
		{"too few voters", fmt.Errorf("change: %w", metadata.ErrMembersUnsafe), admin.ErrRefused, 409, "members_unsafe"},
		{"anything else", errors.New("disk on fire"), admin.ErrInternal, 500, "internal_error"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			base := serve(t, &fakeService{err: tc.err}, "")
			if _, err := dial(t, base, "").InspectObject(t.Context(), "photos", "k"); !errors.Is(err, tc.want) {
				t.Errorf("InspectObject error = %v, want one that wraps %v", err, tc.want)
			}
			status, body := get(t, base+"/v1/object?bucket=photos&key=k", "")
			if status != tc.status || body["code"] != tc.code || body["message"] == "" {
				t.Errorf("answer = %d %v, want %d with code %s", status, body, tc.status, tc.code)
			}
		})
	}
}

func get(t *testing.T, url, token string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	raw, err := io.ReadAll(resp.Body)
	if err == nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		err = json.Unmarshal(raw, &body)
	}
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestOnlyProbesAnswerWithoutTheToken(t *testing.T) {
	base := serve(t, &fakeService{}, "sesame")
	tests := []struct {
		path, authorization string
		want                int
	}{
		{"/livez", "", 200},
		{"/readyz", "", 200},
		{"/v1/status", "", 401},
		{"/v1/status", "Bearer sesam", 401},
		{"/v1/status", "Bearer sesame2", 401},
		{"/v1/status", "Basic sesame", 401},
		{"/v1/status", "Bearer sesame", 200},
		{"/metrics", "", 401},
		{"/metrics", "Bearer sesame", 200},
		{"/debug/pprof/goroutine", "", 401},
		{"/debug/pprof/goroutine", "Bearer sesame", 200},
		{"/debug/pprof/profile?seconds=1", "", 401},
		{"/nowhere", "", 401},
		{"/nowhere", "Bearer sesame", 400},
	}
	for _, tc := range tests {
		if got, _ := get(t, base+tc.path, tc.authorization); got != tc.want {
			t.Errorf("GET %s with %q = %d, want %d", tc.path, tc.authorization, got, tc.want)
		}
	}
}

func TestNonsenseIsRefusedBeforeTheServiceIsAsked(t *testing.T) {
	id := layout.NewUploadID().String()
	for _, path := range []string{
		"/v1/upload",
		"/v1/upload?bucket=photos&key=k",
		"/v1/upload?bucket=photos&key=k&id=" + id[1:],
		"/v1/upload?bucket=photos&id=" + id,
		"/v1/object?bucket=photos",
		"/v1/object?key=k",
		"/v1/uploads?limit=0",
		"/v1/uploads?limit=1001",
		"/v1/uploads?limit=ten",
		"/v1/uploads?after_key=k",
		"/v1/uploads?bucket=photos&after_key=k&after_id=zz",
	} {
		f := &fakeService{}
		status, body := get(t, serve(t, f, "")+path, "")
		if status != 400 || body["code"] != "invalid_request" {
			t.Errorf("GET %s = %d %v, want 400 invalid_request", path, status, body)
		}
		if f.asked != nil {
			t.Errorf("GET %s reached the service with %v", path, f.asked)
		}
	}
}

func TestNonsenseChangesOfMembershipAreRefused(t *testing.T) {
	node := layout.NewNodeID().String()
	for _, query := range []string{
		"", "verb=promote", "verb=promote&node=" + node, "verb=remove&version=1&force=true",
		"verb=burn&version=1&force=false&node=" + node, "verb=replace&version=1&force=false&by=x&node=" + node,
		"verb=demote&version=-1&force=false&node=" + node, "verb=demote&version=1&force=perhaps&node=" + node,
	} {
		f := &fakeService{}
		resp, err := http.Post(serve(t, f, "")+"/v1/members?"+query, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 || f.asked != nil {
			t.Errorf("POST /v1/members?%s = %d and asked for %v, want 400 and nothing", query, resp.StatusCode, f.asked)
		}
	}
}

func TestReadySaysWhyNot(t *testing.T) {
	base := serve(t, &fakeService{err: errors.New("no groups yet")}, "")
	err := dial(t, base, "").Ready(t.Context())
	if !errors.Is(err, admin.ErrNotReady) || !strings.Contains(err.Error(), "no groups yet") {
		t.Errorf("Ready = %v, want ErrNotReady with the reason", err)
	}
	if status, _ := get(t, base+"/livez", ""); status != 200 {
		t.Errorf("GET /livez = %d while not ready, want 200", status)
	}
}

// A backup that ends too early never looks like a whole one to who asked.
func TestBackupArrivesWholeOrAsAnError(t *testing.T) {
	whole := strings.Repeat("rows ", 1<<20)
	tests := []struct {
		name    string
		service fakeService
		want    error
	}{
		{"whole", fakeService{backup: whole}, nil},
		{"refused", fakeService{err: metadata.ErrUnavailable}, admin.ErrUnavailable},
		{"cut off", fakeService{backup: whole, err: metadata.ErrUnavailable}, admin.ErrUnavailable},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var got strings.Builder
			err := dial(t, serve(t, &tc.service, ""), "").RegistryBackup(t.Context(), &got)
			if !errors.Is(err, tc.want) || tc.want == nil && (err != nil || got.String() != whole) {
				t.Errorf("RegistryBackup = %d bytes, %v; want %v", got.Len(), err, tc.want)
			}
		})
	}
}

func TestUnreachableNodeIsUnavailable(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	client := dial(t, server.URL, "")
	if _, err := client.Status(t.Context()); !errors.Is(err, admin.ErrUnavailable) {
		t.Errorf("Status of a closed port = %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, admin.ErrUnavailable) {
		t.Errorf("Status after cancel = %v, want context.Canceled alone", err)
	}
}

func TestForeignErrorPageIsJudgedByItsStatus(t *testing.T) {
	tests := []struct {
		status int
		want   error
	}{{503, admin.ErrUnavailable}, {403, admin.ErrInvalid}, {500, admin.ErrInternal}, {302, admin.ErrInternal}}
	for _, tc := range tests {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			io.WriteString(w, "<html>no</html>")
		}))
		if _, err := dial(t, server.URL, "").Status(t.Context()); !errors.Is(err, tc.want) {
			t.Errorf("status %d gives %v, want %v", tc.status, err, tc.want)
		}
		server.Close()
	}
}

func TestNewClientRefusesAnAddressWithoutScheme(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:7073", "ftp://host", "http://"} {
		if _, err := admin.NewClient(base, ""); !errors.Is(err, admin.ErrInvalid) {
			t.Errorf("NewClient(%q) error = %v, want ErrInvalid", base, err)
		}
	}
}
