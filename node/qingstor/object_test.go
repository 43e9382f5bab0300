package qingstor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"partstore/metadata"
	"partstore/node/erasure"
)

const (
	helloBody = "hello, world"
	helloETag = `"e4d7f1b4ed2e42d15898f4b27b019da4"`
)

func newHello(t *testing.T, header ...string) *server {
	t.Helper()
	s := newServer(t)
	a := s.must(t, request{method: "PUT", target: "/mybucket/hello", body: helloBody, header: header}, 201)
	if a.header.Get("ETag") != helloETag || a.body != "" {
		t.Fatalf("PUT answers ETag %s and %q", a.header.Get("ETag"), a.body)
	}
	return s
}

func TestObjectRoundTrip(t *testing.T) {
	s := newHello(t, "Content-Type: text/plain; charset=utf-8", "Cache-Control: no-cache",
		"Content-Disposition: attachment; filename=\"h\"", "Content-Encoding: identity", "Expires: tomorrow",
		"x-qs-storage-class: STANDARD_IA", "X-QS-Meta-Color: blue", "X-Qs-Meta-a.b_c: 1")
	want := map[string]string{
		"Content-Type":        "text/plain; charset=utf-8",
		"Cache-Control":       "no-cache",
		"Content-Disposition": "attachment; filename=\"h\"",
		"Content-Encoding":    "identity",
		"Expires":             "tomorrow",
		"X-Qs-Storage-Class":  "STANDARD_IA",
		"X-Qs-Meta-Color":     "blue",
		"X-Qs-Meta-A.b_c":     "1",
		"ETag":                helloETag,
		"Last-Modified":       dateD,
		"Content-Length":      "12",
	}
	for method, body := range map[string]string{"GET": helloBody, "HEAD": ""} {
		a := s.must(t, request{method: method, target: "/mybucket/hello"}, 200)
		if a.body != body {
			t.Errorf("%s: body %q", method, a.body)
		}
		for name, value := range want {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", method, name, got, value)
			}
		}
	}
	// A replacement keeps nothing of what it replaces.
	s.must(t, request{method: "PUT", target: "/mybucket/hello"}, 201)
	a := s.must(t, request{method: "GET", target: "/mybucket/hello"}, 200)
	if a.body != "" || a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("X-Qs-Storage-Class") != "STANDARD" ||
		a.header.Get("X-Qs-Meta-Color") != "" || a.header.Get("ETag") != `"d41d8cd98f00b204e9800998ecf8427e"` {
		t.Errorf("after replacing: %v %q", a.header, a.body)
	}
	s.must(t, request{method: "DELETE", target: "/mybucket/hello"}, 204)
	s.must(t, request{method: "DELETE", target: "/mybucket/hello"}, 204)
	s.refuses(t, request{method: "GET", target: "/mybucket/hello"}, 404, "object_not_exists")
	s.refuses(t, request{method: "HEAD", target: "/mybucket/hello"}, 404, "")
}

func TestRanges(t *testing.T) {
	s := newHello(t)
	s.must(t, request{method: "PUT", target: "/mybucket/empty"}, 201)
	tests := []struct{ key, value, body, contentRange string }{
		{"hello", "bytes=0-4", "hello", "bytes 0-4/12"},
		{"hello", "bytes=7-", "world", "bytes 7-11/12"},
		{"hello", "bytes=-5", "world", "bytes 7-11/12"},
		{"hello", "bytes=0-", helloBody, "bytes 0-11/12"},
		{"hello", "bytes=-100", helloBody, "bytes 0-11/12"},
		{"hello", "bytes=11-100", "d", "bytes 11-11/12"},
		{"hello", "bytes=12-", "", ""},
		{"hello", "bytes=-0", "", ""},
		{"hello", "bytes=0-1,3-4", "", ""},
		{"hello", "nonsense", "", ""},
		{"empty", "bytes=0-0", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.key+" "+tc.value, func(t *testing.T) {
			r := request{method: "GET", target: "/mybucket/" + tc.key, header: []string{"Range: " + tc.value}}
			if tc.contentRange == "" {
				s.refuses(t, r, 416, "invalid_range")
				return
			}
			a := s.must(t, r, 206)
			if a.body != tc.body || a.header.Get("Content-Range") != tc.contentRange || a.header.Get("Content-Length") != fmt.Sprint(len(tc.body)) {
				t.Errorf("got %q, %v", a.body, a.header)
			}
		})
	}
	head := s.must(t, request{method: "HEAD", target: "/mybucket/hello", header: []string{"Range: bytes=0-1"}}, 200)
	if head.header.Get("Content-Length") != "12" {
		t.Errorf("HEAD honours Range: %v", head.header)
	}
}

func TestConditions(t *testing.T) {
	s := newHello(t)
	earlier, later := "Sun, 16 Aug 2015 13:25:09 GMT", "Sun, 16 Aug 2015 13:25:11 GMT"
	tests := []struct {
		header []string
		want   int
	}{
		{[]string{"If-Match: " + helloETag}, 200},
		{[]string{"If-Match: e4d7f1b4ed2e42d15898f4b27b019da4"}, 200},
		{[]string{`If-Match: "x", ` + helloETag}, 200},
		{[]string{"If-Match: *"}, 200},
		{[]string{`If-Match: "x"`}, 412},
		{[]string{"If-Match: W/" + helloETag}, 412},
		{[]string{"If-Unmodified-Since: " + dateD}, 200},
		{[]string{"If-Unmodified-Since: " + later}, 200},
		{[]string{"If-Unmodified-Since: " + earlier}, 412},
		{[]string{"If-Unmodified-Since: nonsense"}, 200},
		{[]string{"If-Match: " + helloETag, "If-Unmodified-Since: " + earlier}, 200},
		{[]string{"If-None-Match: " + helloETag}, 304},
		{[]string{"If-None-Match: W/" + helloETag}, 304},
		{[]string{"If-None-Match: *"}, 304},
		{[]string{`If-None-Match: "x"`}, 200},
		{[]string{"If-Modified-Since: " + dateD}, 304},
		{[]string{"If-Modified-Since: " + later}, 304},
		{[]string{"If-Modified-Since: " + earlier}, 200},
		{[]string{"If-Modified-Since: nonsense"}, 200},
		{[]string{`If-None-Match: "x"`, "If-Modified-Since: " + later}, 200},
		{[]string{`If-Match: "x"`, "If-None-Match: " + helloETag}, 412},
	}
	for _, tc := range tests {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(method+" "+strings.Join(tc.header, ", "), func(t *testing.T) {
				a := s.must(t, request{method: method, target: "/mybucket/hello", header: tc.header}, tc.want)
				if tc.want == 304 && (a.body != "" || a.header.Get("ETag") != helloETag || a.header.Get("Last-Modified") == "") {
					t.Errorf("304 with %v %q", a.header, a.body)
				}
				if tc.want == 412 && method == "GET" && a.code() != "precondition_failed" {
					t.Errorf("got %v", a)
				}
			})
		}
	}
}

func TestIfRange(t *testing.T) {
	s := newHello(t)
	for condition, want := range map[string]int{
		helloETag: 206, `"x"`: 200, dateD: 206, "Sun, 16 Aug 2015 13:25:11 GMT": 200, "W/" + helloETag: 200,
	} {
		s.must(t, request{method: "GET", target: "/mybucket/hello", header: []string{"Range: bytes=0-1", "If-Range: " + condition}}, want)
	}
}

func TestResponseOverrides(t *testing.T) {
	s := newHello(t, "Content-Type: text/plain", "Cache-Control: no-cache")
	target := "/mybucket/hello?response-content-type=video%2Fmp4%3B+charset%3Dutf8&response-cache-control=private" +
		"&response-content-disposition=inline&response-content-encoding=x&response-content-language=de&response-expires=now"
	want := map[string]string{
		"Content-Type": "video/mp4; charset=utf8", "Cache-Control": "private", "Content-Disposition": "inline",
		"Content-Encoding": "x", "Content-Language": "de", "Expires": "now",
	}
	signedRequest := request{method: "GET", target: target}
	for _, r := range []request{signedRequest, signedRequest.presigned(testNow.Add(time.Minute))} {
		a := s.must(t, r, 200)
		for name, value := range want {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
	}
	a := s.must(t, request{method: "GET", target: "/mybucket/hello?response-content-type="}, 200)
	if got := a.header.Get("Content-Type"); got != "text/plain" {
		t.Errorf("an empty override makes it %q", got)
	}
	s.refuses(t, request{method: "GET", target: "/mybucket/hello?response-content-type=a%0D%0Ab:c"}, 400, "invalid_argument")
}

func TestKeptHeaderLimits(t *testing.T) {
	s := newServer(t)
	many := func(n, size int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("x-qs-meta-%04d: %s", i, strings.Repeat("v", size-4)))
		}
		return out
	}
	tests := []struct {
		name   string
		header []string
		status int
		code   string
	}{
		{"2048 bytes of metadata", many(4, 512), 201, ""},
		{"2049 bytes of metadata", append(many(3, 512), "x-qs-meta-0009: "+strings.Repeat("v", 509)), 400, "metadata_too_large"},
		{"name of 512 bytes", []string{"x-qs-meta-" + strings.Repeat("n", 512) + ": v"}, 201, ""},
		{"name of 513 bytes", []string{"x-qs-meta-" + strings.Repeat("n", 513) + ": v"}, 400, "metadata_too_large"},
		{"no name", []string{"x-qs-meta-: v"}, 400, "invalid_argument"},
		{"name with other characters", []string{"x-qs-meta-a!b: v"}, 400, "invalid_argument"},
		{"value not ASCII", []string{"x-qs-meta-a: \xe4"}, 400, "invalid_argument"},
		{"value with tab", []string{"x-qs-meta-a: b\tc"}, 400, "invalid_argument"},
		{"content type of 255 bytes", []string{"Content-Type: " + strings.Repeat("t", 255)}, 201, ""},
		{"content type of 256 bytes", []string{"Content-Type: " + strings.Repeat("t", 256)}, 400, "invalid_argument"},
		{"disposition of 4097 bytes", []string{"Content-Disposition: " + strings.Repeat("d", 4097)}, 400, "invalid_argument"},
		{"storage class", []string{"x-qs-storage-class: COLD"}, 400, "invalid_request"},
		{"key of encryption without algorithm", []string{"X-QS-Encryption-Customer-Key: object"}, 201, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			put := s.do(t, request{method: "PUT", target: "/mybucket/o", header: tc.header})
			initiate := s.do(t, request{method: "POST", target: "/mybucket/o?uploads", header: tc.header})
			if put.status != tc.status || put.code() != tc.code {
				t.Errorf("PUT: %v, want %d %s", put, tc.status, tc.code)
			}
			if (initiate.status == 200) != (tc.status == 201) || initiate.code() != tc.code {
				t.Errorf("initiate: %v, want %s", initiate, tc.code)
			}
		})
	}
}

func TestGetFailsBeforeTheStatus(t *testing.T) {
	s := newHello(t)
	s.with(func() { s.rangeErr = fmt.Errorf("stripe 0: %w", erasure.ErrTooFewShards) })
	a := s.must(t, request{method: "GET", target: "/mybucket/hello"}, 503)
	if a.code() != "service_unavailable" || a.header.Get("ETag") != "" {
		t.Errorf("got %v %v", a, a.header)
	}
	s.must(t, request{method: "HEAD", target: "/mybucket/hello"}, 200) // touches no data
}

func TestGetFailsAfterTheStatus(t *testing.T) {
	s := newHello(t)
	s.with(func() { s.cut = true })
	a, err := s.exchange(request{method: "GET", target: "/mybucket/hello", header: []string{"Connection: close"}}.text(), "GET")
	if err == nil {
		t.Errorf("a body cut half way arrives as %d %q without an error", a.status, a.body)
	}
	if got := s.lastObserved(t); got != "get_object 500" {
		t.Errorf("observed as %q", got)
	}
	if !strings.Contains(s.log(), "too few shards half way") {
		t.Errorf("log: %s", s.log())
	}
}

func TestUnknownErrorsAreLoggedAndHidden(t *testing.T) {
	s := newHello(t)
	s.with(func() { s.broken = errors.New("secret of the inside") })
	a := s.must(t, request{method: "GET", target: "/mybucket/hello"}, 500)
	if a.code() != "internal_error" || strings.Contains(a.body, "secret") {
		t.Errorf("answer: %v", a)
	}
	if log := s.log(); !strings.Contains(log, "secret of the inside") || !strings.Contains(log, a.header.Get("x-qs-request-id")) {
		t.Errorf("log: %s", log)
	}
}

type panickingData struct{ Data }

func (panickingData) OpenObject(context.Context, string, string) (Object, error) { panic("boom") }

func TestErrorTable(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   string
	}{
		{metadata.ErrUploadNotFound, 404, "upload_not_exists"},
		{fmt.Errorf("put part: %w", metadata.ErrUploadNotFound), 404, "upload_not_exists"},
		{fmt.Errorf("put part: %w", metadata.ErrUnavailable), 503, "service_unavailable"},
		{errors.Join(erasure.ErrWriteQuorum, errors.New("dial")), 503, "service_unavailable"},
		{metadata.ErrInvalid, 500, "internal_error"},
		{errors.New("anything"), 500, "internal_error"},
		{http.ErrBodyReadAfterClose, 500, "internal_error"},
	}
	for _, tc := range tests {
		if row := rowOf(tc.err); row.status != tc.status || row.code != tc.code {
			t.Errorf("rowOf(%v) = %d %s, want %d %s", tc.err, row.status, row.code, tc.status, tc.code)
		}
	}
	for _, row := range errorTable {
		if got := rowOf(fmt.Errorf("wrapped: %w", row.err)); got != row {
			t.Errorf("%v is shadowed by the row of %v", row.err, got.err)
		}
		if row.code == "" || row.message == "" || row.status < 400 {
			t.Errorf("row of %v is incomplete", row.err)
		}
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	s := newServer(t)
	h := NewHandler(Config{Registry: s.memory, Data: panickingData{}, Keys: testKeys, Now: func() time.Time { return testNow }})
	w := serveText(t, h, request{method: "GET", target: "/mybucket/x"}.text())
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"internal_error"`) || strings.Contains(w.Body.String(), "boom") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// serveText serves one request without a socket.
func serveText(t *testing.T, h http.Handler, text string) *httptest.ResponseRecorder {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(t.Context()))
	return w
}
