package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

// TestMain fails if goroutines outlive the tests, other than net/http's half
// second of patience with a connection that it has answered and shut.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// partload runs a command line against a server and returns its report.
func partload(t *testing.T, url string, args ...string) (status int, r report, stderr string) {
	t.Helper()
	env := func(name string) string {
		return map[string]string{"PARTSTORE_ACCESS_KEY_ID": "ID", "PARTSTORE_SECRET_ACCESS_KEY": "hidden-secret"}[name]
	}
	var out, errOut bytes.Buffer
	args = append([]string{"--endpoint", url, "--seed", "1", "-o", "json"}, args...)
	status = run(t.Context(), args, &out, &errOut, env)
	if strings.Contains(out.String()+errOut.String(), "hidden-secret") {
		t.Error("the secret was printed")
	}
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("report: %v\n%s", err, out.String())
		}
	}
	return status, r, errOut.String()
}

func TestEveryWorkloadPassesOnAGoodServer(t *testing.T) {
	for name := range workloads {
		t.Run(name, func(t *testing.T) {
			f := &fakeServer{}
			status, r, stderr := partload(t, startFake(t, f), "--workload", name, "--ops", "150", "--clients", "4",
				"--part-size", "0:1,1:1,70000:2", "--parts", "5")
			if status != 0 || r.Errors != 0 || r.Failed != 0 {
				t.Fatalf("status %d, %d errors, stderr %q", status, r.Errors, stderr)
			}
			var count int64
			for _, o := range r.Operations {
				count += o.Count
			}
			if count < 150 {
				t.Errorf("%d operations, want at least 150", count)
			}
			if len(f.uploads) != 0 || len(f.objects) != 0 {
				t.Errorf("left behind: %d uploads, %d objects", len(f.uploads), len(f.objects))
			}
		})
	}
}

// Every broken promise must be found, named, and make the exit status 1.
func TestBrokenPromisesAreFound(t *testing.T) {
	isList := func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("upload_id") }
	known := func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Query().Get("upload_id"), "00000000000000000000000000")
	}
	tests := []struct {
		name string
		kind string
		set  func(f *fakeServer)
	}{
		{"flipped bit", kindWrongBytes, func(f *fakeServer) {
			f.alter = func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
		}},
		{"short body", kindWrongBytes, func(f *fakeServer) { f.alter = func(b []byte) []byte { return b[:len(b)-1] } }},
		{"long body", kindWrongBytes, func(f *fakeServer) { f.alter = func(b []byte) []byte { return append(b, 0) } }},
		{"wrong ETag", kindWrongBytes, func(f *fakeServer) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !r.URL.Query().Has("part_number") || !known(r) {
					return false
				}
				io.Copy(io.Discard, r.Body)
				w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf84270"`)
				w.WriteHeader(http.StatusCreated)
				return true
			}
		}},
		{"404 for a known upload", kindFalse404, func(f *fakeServer) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if isList(r) && known(r) && f.faults.Add(-1) >= 0 {
					fail(w, http.StatusNotFound, "upload_not_exists")
					return true
				}
				return false
			}
		}},
		{"404 for a known object", kindFalse404, func(f *fakeServer) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet && r.URL.RawQuery == "" && f.faults.Add(-1) >= 0 {
					fail(w, http.StatusNotFound, "object_not_exists")
					return true
				}
				return false
			}
		}},
		{"answer for an unknown upload", kindFalseHit, func(f *fakeServer) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if isList(r) && !known(r) {
					io.WriteString(w, `{"count":0,"object_parts":[]}`)
					return true
				}
				return false
			}
		}},
		{"part missing from the list", kindLostPart, func(f *fakeServer) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if isList(r) && known(r) {
					io.WriteString(w, `{"count":0,"object_parts":[]}`)
					return true
				}
				return false
			}
		}},
		{"part missing at complete", kindLostPart, func(f *fakeServer) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost && known(r) {
					fail(w, http.StatusBadRequest, "invalid_argument")
					return true
				}
				return false
			}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakeServer{}
			tc.set(f)
			f.faults.Store(1)
			status, r, stderr := partload(t, startFake(t, f), "--ops", "60", "--clients", "2", "--part-size", "3000")
			if status != 1 || r.Findings[tc.kind] == 0 {
				t.Fatalf("status %d, findings %v, stderr %q; want status 1 and %s", status, r.Findings, stderr, tc.kind)
			}
			if d := r.FindingDetails[0]; d.Kind != tc.kind || d.Endpoint == "" || d.Operation == "" {
				t.Errorf("finding %+v lacks its circumstances", d)
			}
		})
	}
}

func TestPassingErrorsAreRetriedAndCounted(t *testing.T) {
	set := func(f *fakeServer) {
		f.faults.Store(3)
		f.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("part_number") && f.faults.Add(-1) >= 0 {
				fail(w, http.StatusServiceUnavailable, "service_unavailable")
				return true
			}
			return false
		}
	}
	args := []string{"--workload", "put", "--ops", "20", "--clients", "1", "--part-size", "100"}
	f := &fakeServer{}
	set(f)
	if status, r, stderr := partload(t, startFake(t, f), args...); status != 0 || r.Errors != 3 || r.Operations["put_part"].Errors["503 service_unavailable"] != 3 {
		t.Errorf("status %d, %d errors, stderr %q; want 0 and 3", status, r.Errors, stderr)
	}
	strict := &fakeServer{}
	set(strict)
	if status, _, _ := partload(t, startFake(t, strict), append(args, "--strict")...); status != 1 {
		t.Errorf("--strict: status %d, want 1", status)
	}
}

func TestRefusalEndsTheRun(t *testing.T) {
	f := &fakeServer{fault: func(w http.ResponseWriter, _ *http.Request) bool {
		fail(w, http.StatusUnauthorized, "signature_not_matched")
		return true
	}}
	status, _, stderr := partload(t, startFake(t, f))
	if status != 1 || !strings.Contains(stderr, "signature_not_matched") {
		t.Errorf("status %d, stderr %q; want 1 and the server's code", status, stderr)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"--workload", "nonsense"}, {"--part-size", "5MB"}, {"--part-size", "6GiB"}, {"--part-size", "1:0"}, {"--clients", "0"},
		{"-o", "xml"}, {"--endpoint", "nowhere"}, {"stray"}, {"--unknown"}, {"--parts", "-1"}, {"--range-size", "0"},
	} {
		if status, _, stderr := partload(t, "http://127.0.0.1:1", args...); status != 2 || stderr == "" {
			t.Errorf("%q: status %d, stderr %q; want 2 and a reason", args, status, stderr)
		}
	}
}

func TestContentIsTheSameFromEveryOffset(t *testing.T) {
	const size = 3*pageSize + 100
	c := content{seed: 42, size: size}
	whole, err := io.ReadAll(c.reader())
	if err != nil || len(whole) != size {
		t.Fatalf("read %d bytes, %v", len(whole), err)
	}
	for from := range whole {
		for _, n := range []int{0, 1, 100, pageSize, pageSize + 1, size} {
			n = min(n, size-from)
			if got := slices.Concat(slices.Collect(c.pages(int64(from), int64(n)))...); !bytes.Equal(got, whole[from:from+n]) {
				t.Fatalf("%d bytes from offset %d differ from the whole", n, from)
			}
		}
	}
	if err := iotest.TestReader(c.reader(), whole); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for seed := range uint64(100) {
		for page := range (content{seed: seed, size: 100 * pageSize}).pages(0, 100*pageSize) {
			seen[string(page[:64])] = true
		}
	}
	if len(seen) < 9_500 {
		t.Errorf("%d of 10,000 pages differ", len(seen))
	}
}

func TestVerifyFindsTheFirstWrongByte(t *testing.T) {
	o := object{{seed: 1, size: 100}, {seed: 2, size: 0}, {seed: 3, size: 200_000}}
	good := slices.Concat(slices.Collect(o.pages(0, o.size()))...)
	for _, at := range []int{0, 99, 100, 70_000, 200_099} {
		bad := bytes.Clone(good)
		bad[at] ^= 0x80
		err := o.verify(bytes.NewReader(bad), 0, o.size())
		if err == nil || !strings.Contains(err.Error(), strconv.Itoa(at)) {
			t.Errorf("flipped byte %d: %v", at, err)
		}
	}
	if err := o.verify(bytes.NewReader(good[50:150_000]), 50, 149_950); err != nil {
		t.Errorf("good range: %v", err)
	}
}

func TestProcessFigures(t *testing.T) {
	f := &fakeServer{}
	_, r, stderr := partload(t, startFake(t, f), "--workload", "put", "--ops", "5", "--part-size", "10", "--server-pid", strconv.Itoa(os.Getpid()))
	if len(r.Servers) != 1 || r.Servers[0].PeakRSSBytes < 1<<20 {
		t.Errorf("servers %+v, stderr %q", r.Servers, stderr)
	}
	if status, _, _ := partload(t, startFake(t, &fakeServer{}), "--server-pid", "999999999"); status != 1 {
		t.Errorf("unknown process: status %d, want 1", status)
	}
}
