package qingstor

import (
	"bufio"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	testKey    = "QYACCESSKEYIDEXAMPLE"
	testSecret = "SECRETACCESSKEYEXAMPLE0123456789abcdefgh"
	testOwner  = "usr-root"
	otherKey   = "OTHERACCESSKEY"
	testBucket = "mybucket"
)

// testNow is the clock of the test server, date D of the test vectors.
var testNow = time.Date(2015, 8, 16, 13, 25, 10, 0, time.UTC)

type keyring map[string]Credential

func (k keyring) Credential(_ context.Context, id string) (Credential, bool, error) {
	c, ok := k[id]
	return c, ok, nil
}

var testKeys = keyring{
	testKey:  {Secret: testSecret, Owner: testOwner},
	otherKey: {Secret: "other secret", Owner: "usr-other"},
}

// server is the dialect over real sockets, on memory.
type server struct {
	*memory
	handler *handler
	addr    string
	later   atomic.Int64 // how far the server's clock is after testNow
	sent    int          // requests not yet observed; for one goroutine

	observed chan string // "op status"
	logMu    sync.Mutex
	logged   strings.Builder
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{memory: newMemory(testNow), observed: make(chan string, 1000)}
	h := NewHandler(Config{
		Registry:    s.memory,
		Data:        memoryData{s.memory},
		Keys:        testKeys,
		BaseDomains: []string{"qs.test", "127.0.0.1"},
		FetchHosts:  []string{"example.com"},
		Now:         func() time.Time { return testNow.Add(time.Duration(s.later.Load())) },
		Observer: func(op string, status int, _ time.Duration) {
			s.observed <- fmt.Sprint(op, " ", status)
		},
		Logger: slog.New(slog.NewTextHandler(lockedWriter{s}, nil)),
	})
	s.handler = h.(*handler)
	s.handler.fetch.client.Transport = otherServers{}
	hs := httptest.NewUnstartedServer(h)
	hs.Listener = NewListener(hs.Listener, time.Minute)
	hs.Start()
	t.Cleanup(hs.Close)
	s.addr = hs.Listener.Addr().String()
	s.must(t, request{method: "PUT", target: "/" + testBucket}, 201)
	return s
}

// otherServers answer every fetch.
type otherServers struct{}

func (otherServers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, ContentLength: 7, Body: io.NopCloser(strings.NewReader("fetched")), Request: r}, nil
}

type lockedWriter struct{ s *server }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.logMu.Lock()
	defer w.s.logMu.Unlock()
	return w.s.logged.Write(p)
}

func (s *server) log() string {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return s.logged.String()
}

// lastObserved waits for the observation of each request sent so far and
// returns the last.
func (s *server) lastObserved(t *testing.T) (last string) {
	t.Helper()
	for range s.sent {
		last = <-s.observed
	}
	s.sent = 0
	return last
}

// request is one request as its bytes will be.
type request struct {
	method string
	target string // raw
	host   string // default pek3a.qs.test
	header []string
	body   string

	unsigned  bool
	accessKey string // default testKey
	date      string // default now
	chunked   bool
}

func (r request) with(change func(*request)) request {
	r.header = slices.Clone(r.header)
	change(&r)
	return r
}

type answer struct {
	status int
	header http.Header
	body   string
	closes bool // the server will close the connection
}

func (a answer) code() string {
	var e struct{ Code string }
	_ = json.Unmarshal([]byte(a.body), &e)
	return e.Code
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// text is the request on the wire. It signs as the Go SDK does, in code of its
// own so that the server's is not measured by itself.
func (r request) text() string {
	if r.host == "" {
		r.host = "pek3a.qs.test"
	}
	if r.date == "" {
		r.date = testNow.Format(http.TimeFormat)
	}
	lines := []string{r.method + " " + r.target + " HTTP/1.1", "Host: " + r.host, "Date: " + r.date}
	lines = append(lines, r.header...)
	switch {
	case r.chunked:
		lines = append(lines, "Transfer-Encoding: chunked")
	case r.body != "" || r.method == "PUT" || r.method == "POST":
		if !slices.ContainsFunc(r.header, func(l string) bool { return strings.HasPrefix(l, "Content-Length:") }) {
			lines = append(lines, "Content-Length: "+strconv.Itoa(len(r.body)))
		}
	}
	if !r.unsigned {
		if r.accessKey == "" {
			r.accessKey = testKey
		}
		lines = append(lines, "Authorization: QS "+r.accessKey+":"+r.signature(r.date))
	}
	body := r.body
	if r.chunked {
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(r.body), r.body)
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func (r request) signature(date string) string {
	get := func(name string) string {
		for _, l := range r.header {
			if k, v, _ := strings.Cut(l, ": "); strings.EqualFold(k, name) {
				return v
			}
		}
		return ""
	}
	if get("x-qs-date") != "" {
		date = ""
	}
	text := strings.Join([]string{r.method, get("Content-MD5"), get("Content-Type"), date, ""}, "\n")
	var own []string
	for _, l := range r.header {
		if k, v, _ := strings.Cut(l, ": "); strings.HasPrefix(strings.ToLower(k), "x-qs-") {
			own = append(own, strings.ToLower(k)+":"+v+"\n")
		}
	}
	slices.SortFunc(own, func(a, b string) int { // by name, though one may begin with another
		return cmp.Compare(strings.SplitN(a, ":", 2)[0], strings.SplitN(b, ":", 2)[0])
	})
	text += strings.Join(own, "")
	path, query, _ := strings.Cut(r.target, "?")
	if bucket, _, ok := strings.Cut(r.host, ".pek3a."); ok {
		path = "/" + bucket + path
	}
	var sub []string
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if v, _ = url.QueryUnescape(v); signedParams[k] && v != "" {
			sub = append(sub, k+"="+v)
		} else if signedParams[k] {
			sub = append(sub, k)
		}
	}
	slices.Sort(sub)
	if len(sub) > 0 {
		path += "?" + strings.Join(sub, "&")
	}
	return hmacBase64(testKeys[r.accessKey].Secret, text+path)
}

func hmacBase64(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// presigned moves the signature into the query.
func (r request) presigned(expires time.Time) request {
	r.accessKey = testKey
	until := strconv.FormatInt(expires.Unix(), 10)
	mac := r.signature(until)
	r.unsigned = true
	join := "?"
	if strings.Contains(r.target, "?") {
		join = "&"
	}
	r.target += join + "access_key_id=" + testKey + "&expires=" + until + "&signature=" + url.QueryEscape(mac)
	return r
}

// do sends one request over a connection of its own.
func (s *server) do(t *testing.T, r request) answer {
	t.Helper()
	r.header = append(r.header, "Connection: close")
	a, err := s.exchange(r.text(), r.method)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.target, err)
	}
	checkAnswer(t, r, a)
	return a
}

func (s *server) exchange(text, method string) (answer, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	s.sent++
	go io.WriteString(conn, text)
	return readAnswer(bufio.NewReader(conn), method)
}

func readAnswer(r *bufio.Reader, method string) (answer, error) {
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), resp.Close}, err
}

// checkAnswer holds what every answer owes.
func checkAnswer(t *testing.T, r request, a answer) {
	t.Helper()
	what := fmt.Sprintf("%s %s -> %d", r.method, r.target, a.status)
	id := a.header.Get("x-qs-request-id")
	if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("%s: request ID %q", what, id)
	}
	if got := a.header.Get("Server"); got != "QingStor" {
		t.Errorf("%s: Server %q", what, got)
	}
	if a.header.Get("Date") == "" {
		t.Errorf("%s: no Date", what)
	}
	if a.header.Get("Content-Length") == "" && a.status != 204 && a.status != 304 {
		t.Errorf("%s: no Content-Length", what)
	}
	switch {
	case a.status < 400:
	case r.method == "HEAD":
		if a.header.Get("Content-Type") != "" || a.header.Get("Content-Length") != "0" {
			t.Errorf("%s: Content-Type %q, Content-Length %q beside no body", what,
				a.header.Get("Content-Type"), a.header.Get("Content-Length"))
		}
	default:
		if got := a.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", what, got)
		}
		var e struct{ Code, Message, RequestID, URL string }
		var raw map[string]string
		if err := json.Unmarshal([]byte(a.body), &raw); err != nil {
			t.Fatalf("%s: body %q: %v", what, a.body, err)
		}
		e.Code, e.Message, e.RequestID, e.URL = raw["code"], raw["message"], raw["request_id"], raw["url"]
		if e.Code == "" || e.Message == "" || e.RequestID != id || e.URL == "" || len(raw) != 4 {
			t.Errorf("%s: body %q for request %s", what, a.body, id)
		}
	}
	if (a.status == 503) != (a.header.Get("Retry-After") != "") {
		t.Errorf("%s: Retry-After %q", what, a.header.Get("Retry-After"))
	}
}

// must sends a request and expects a status.
func (s *server) must(t *testing.T, r request, status int) answer {
	t.Helper()
	a := s.do(t, r)
	if a.status != status {
		t.Fatalf("%s %s = %v, want %d", r.method, r.target, a, status)
	}
	return a
}

// refuses sends a request and expects an error, and that it tells of no key.
func (s *server) refuses(t *testing.T, r request, status int, code string) {
	t.Helper()
	a := s.do(t, r)
	if a.status != status || r.method != "HEAD" && a.code() != code {
		t.Errorf("%s %s = %v, want %d %s", r.method, r.target, a, status, code)
	}
	if a.tells() != tellsNothing {
		t.Errorf("%s %s is refused and tells %q", r.method, r.target, a.tells())
	}
}

// initiate opens an upload of a key of the test bucket.
func (s *server) initiate(t *testing.T, rawKey string, header ...string) (id string) {
	t.Helper()
	a := s.must(t, request{method: "POST", target: "/" + testBucket + "/" + rawKey + "?uploads", header: header}, 200)
	var got struct {
		UploadID string `json:"upload_id"`
	}
	decode(t, a, &got)
	return got.UploadID
}

func decode(t *testing.T, a answer, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
}
