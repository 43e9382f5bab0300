package qingstor

import (
	"bufio"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"partstore/metadata"
)

// dial opens a connection that fails the test rather than hang it.
func (s *server) dial(t *testing.T) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), bufio.NewReader(conn)
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func TestExpectContinue(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	const body = "the body"
	header := []string{"Expect: 100-continue", "Content-Length: " + strconv.Itoa(len(body))}
	tests := []struct {
		name   string
		req    request
		status int
		code   string
	}{
		{"part", request{method: "PUT", target: partTarget("key", id, 1)}, 201, ""},
		{"object", request{method: "PUT", target: "/mybucket/key"}, 201, ""},
		{"unknown upload", request{method: "PUT", target: partTarget("other", id, 1)}, 404, "upload_not_exists"},
		{"unknown bucket", request{method: "PUT", target: "/missing-bucket/key"}, 404, "bucket_not_exists"},
		{"bad part number", request{method: "PUT", target: partTarget("key", id, "x")}, 400, "invalid_argument"},
		{"bad digest", request{method: "PUT", target: partTarget("key", id, 1), header: []string{"Content-MD5: x"}}, 400, "bad_digest"},
		{"no permission", request{method: "PUT", target: partTarget("key", id, 1), accessKey: otherKey}, 403, "permission_denied"},
		{"anonymous", request{method: "PUT", target: partTarget("key", id, 1), unsigned: true}, 403, "permission_denied"},
		{"unknown key", request{method: "PUT", target: partTarget("key", id, 1), accessKey: "NOBODY"}, 401, "invalid_access_key_id"},
		{"bad copy", request{method: "PUT", target: "/mybucket/key", header: []string{"x-qs-copy-source: /mybucket/x"}}, 400, "invalid_request"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			conn, r := s.dial(t)
			tc.req.header = append(tc.req.header, header...)
			write(t, conn, tc.req.text()) // headers alone
			if tc.status == 201 {
				if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
					t.Fatalf("before the body: %q, %v", line, err)
				}
				if line, err := r.ReadString('\n'); err != nil || line != "\r\n" {
					t.Fatalf("after 100 Continue: %q, %v", line, err)
				}
				write(t, conn, body)
			}
			a, err := readAnswer(r, "PUT")
			if err != nil || a.status != tc.status || a.code() != tc.code {
				t.Errorf("%v, %v, want %d %s", a, err, tc.status, tc.code)
			}
		})
	}
}

func TestContentMD5(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	sum := md5.Sum([]byte("body"))
	base64Sum := base64.StdEncoding.EncodeToString(sum[:])
	hexSum := md5Hex("body")
	tests := []struct {
		name, value string
		status      int
	}{
		{"base64", base64Sum, 201},
		{"hex", hexSum, 201},
		{"hex in upper case", strings.ToUpper(hexSum), 201},
		{"base64 of another body", "0bbGL9ETcR8cTwlJoPz/wQ==", 400},
		{"hex of another body", emptyMD5, 400},
		{"base64 without padding", strings.TrimRight(base64Sum, "="), 400},
		{"base64 of hex", base64.StdEncoding.EncodeToString([]byte(hexSum)), 400},
		{"short hex", hexSum[:30], 400},
		{"nonsense", "nonsense", 400},
	}
	for _, target := range []string{"/mybucket/object", partTarget("key", id, 1)} {
		s.must(t, request{method: "PUT", target: target, body: "older"}, 201)
		for _, tc := range tests {
			t.Run(target[:14]+" "+tc.name, func(t *testing.T) {
				a := s.do(t, request{method: "PUT", target: target, body: "body", header: []string{"Content-MD5: " + tc.value}})
				if a.status != tc.status || tc.status == 400 && a.code() != "bad_digest" {
					t.Errorf("%v, want %d", a, tc.status)
				}
			})
		}
	}
}

// stored is what the test bucket holds of one key and of part 1 of an upload.
func (s *server) stored(id string) (object string, parts int) {
	s.with(func() {
		object = string(s.objects[testBucket]["key"].bytes)
		for _, u := range s.uploads {
			if u.ID.String() == id {
				parts = len(u.parts)
			}
		}
	})
	return object, parts
}

func TestTruncatedBody(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	s.must(t, request{method: "PUT", target: "/mybucket/key", body: "older"}, 201)
	for _, target := range []string{"/mybucket/key", partTarget("key", id, 1)} {
		for _, tc := range []struct{ name, header, body string }{
			{"length", "Content-Length: 10", "nine byte"},
			{"length, nothing at all", "Content-Length: 10", ""},
			{"length, long", "Content-Length: 10000000", strings.Repeat("x", 9000000)},
			{"chunked", "Transfer-Encoding: chunked", "4\r\nfour\r\n"},
			{"chunked, in a chunk", "Transfer-Encoding: chunked", "4\r\nfo"},
			{"chunked, malformed", "Transfer-Encoding: chunked", "4\r\nfour\r\nzz\r\n"},
		} {
			t.Run(target[:13]+" "+tc.name, func(t *testing.T) {
				conn, r := s.dial(t)
				text := request{method: "PUT", target: target, header: []string{tc.header}}.text()
				if strings.HasPrefix(tc.header, "Transfer") {
					text = strings.Replace(text, "Content-Length: 0\r\n", "", 1)
				}
				write(t, conn, text+tc.body)
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				a, err := readAnswer(r, "PUT")
				if err != nil || a.status != 400 || a.code() != "incomplete_body" {
					t.Errorf("%v, %v, want 400 incomplete_body", a, err)
				}
				if object, parts := s.stored(id); object != "older" || parts != 0 {
					t.Errorf("stored %q and %d parts", object, parts)
				}
			})
		}
	}
}

func TestTooLongBody(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	for _, target := range []string{"/mybucket/key", partTarget("key", id, 1)} {
		for _, length := range []int64{metadata.MaxPartSize + 1, 1 << 62} {
			conn, r := s.dial(t)
			write(t, conn, request{method: "PUT", target: target, header: []string{
				fmt.Sprint("Content-Length: ", length), "Expect: 100-continue",
			}}.text())
			a, err := readAnswer(r, "PUT")
			if err != nil || a.status != 400 || a.code() != "entity_too_large" {
				t.Errorf("%d bytes: %v, %v, want 400 entity_too_large", length, a, err)
			}
		}
	}
}

// endless yields zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }
func (endless) Close() error               { return nil }

func TestChunkedBodyStopsAtTheLimit(t *testing.T) {
	b := &requestBody{r: &http.Request{Body: endless{}}, announced: -1, read: metadata.MaxPartSize - 10}
	if n, err := b.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("up to the limit: %d, %v", n, err)
	}
	if _, err := b.Read(make([]byte, 1)); rowOf(err).code != "entity_too_large" {
		t.Errorf("beyond the limit: %v", err)
	}
}

func TestChunkedUpload(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	for _, target := range []string{"/mybucket/key", partTarget("key", id, 1)} {
		for _, body := range []string{"", "small", strings.Repeat("x", 300000)} {
			a := s.must(t, request{method: "PUT", target: target, body: body, chunked: true}, 201)
			if a.header.Get("ETag") != quoted(md5Hex(body)) {
				t.Errorf("%d bytes: ETag %s", len(body), a.header.Get("ETag"))
			}
		}
	}
}

// TestRefusalReachesABlockingClient: a client that sends its whole body before
// it reads must still get its answer, however long the body.
func TestRefusalReachesABlockingClient(t *testing.T) {
	s := newServer(t)
	body := strings.Repeat("x", 20<<20)
	for _, chunked := range []bool{false, true} {
		conn, r := s.dial(t)
		write(t, conn, request{method: "PUT", target: "/missing-bucket/key", body: body, chunked: chunked}.text())
		a, err := readAnswer(r, "PUT")
		if err != nil || a.status != 404 || a.code() != "bucket_not_exists" || !a.closes {
			t.Errorf("chunked %v: %v, %v, want 404 and Connection: close", chunked, a, err)
		}
	}
}

// TestConnectionLivesThroughRefusals: after an answer whose body was read or
// short, the next request goes over the same connection.
func TestConnectionLivesThroughRefusals(t *testing.T) {
	s := newServer(t)
	conn, r := s.dial(t)
	for _, tc := range []struct {
		req    request
		status int
	}{
		{request{method: "PUT", target: "/missing-bucket/key", body: strings.Repeat("x", 100000)}, 404},
		{request{method: "PUT", target: "/mybucket/key", body: "x", header: []string{"Content-MD5: " + emptyMD5}}, 400},
		{request{method: "PUT", target: "/mybucket/key", body: strings.Repeat("x", 500000), header: []string{"Content-MD5: " + emptyMD5}}, 400},
		{request{method: "GET", target: "/mybucket/key"}, 404},
		{request{method: "HEAD", target: "/mybucket/key"}, 404},
		{request{method: "PUT", target: "/mybucket/key", body: "x"}, 201},
		{request{method: "GET", target: "/mybucket/key"}, 200},
	} {
		write(t, conn, tc.req.text())
		a, err := readAnswer(r, tc.req.method)
		if err != nil || a.status != tc.status || a.closes {
			t.Fatalf("%s %s: %v %v, %v, want %d", tc.req.method, tc.req.target, a, a.header, err, tc.status)
		}
	}
}
