package qingstor

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// raw writes bytes as they are and returns the statuses of all answers until
// the server closes the connection.
func (s *server) raw(t *testing.T, text string) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, text)
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		statuses = append(statuses, resp.StatusCode)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// A message whose end is doubtful is refused, and what follows it on the
// connection is not taken for a request.
func TestNothingIsSmuggled(t *testing.T) {
	s := newServer(t)
	smuggled := request{method: "DELETE", target: "/mybucket/victim", header: []string{"Connection: close"}}.text()
	const host = "PUT /mybucket/a HTTP/1.1\r\nHost: pek3a.qs.test\r\n"
	for name, text := range map[string]string{
		"both lengths":        host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":         host + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"negative length":     host + "Content-Length: -1\r\n\r\n",
		"length with a sign":  host + "Content-Length: +0\r\n\r\n",
		"hex length":          host + "Content-Length: 0x0\r\n\r\n",
		"unknown coding":      host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"blank in a name":     host + "Content-Length : 0\r\n\r\n",
		"no host":             "GET / HTTP/1.1\r\n\r\n",
		"two hosts":           host + "Host: other\r\nContent-Length: 0\r\n\r\n",
		"control in a header": host + "X-A: b\x00c\r\nContent-Length: 0\r\n\r\n",
		"bare CR in a header": host + "X-A: b\rContent-Length: 0\r\n\r\n",
		"bad chunk":           host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"header of 2 MiB":     host + "X-A: " + strings.Repeat("b", 2<<20) + "\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s.must(t, request{method: "PUT", target: "/mybucket/victim", body: "here"}, 201)
			for _, status := range s.raw(t, text+smuggled) {
				if status < 400 {
					t.Errorf("answered %d", status)
				}
			}
			s.must(t, request{method: "HEAD", target: "/mybucket/victim"}, 200)
		})
	}
}

// Where a request ends must not depend on who reads it: one that is good in all
// else is refused, and the connection with it.
func TestDoubtfulEndsAreRefused(t *testing.T) {
	s := newServer(t)
	smuggled := request{method: "DELETE", target: "/mybucket/victim", header: []string{"Connection: close"}}.text()
	put := func(header ...string) string {
		return request{method: "PUT", target: "/mybucket/a", header: header}.text()
	}
	const coded = "Transfer-Encoding: chunked"
	old := func(text string) string { return strings.Replace(text, "HTTP/1.1", "HTTP/1.0", 1) }
	chunk := func(now string) string {
		text := request{method: "PUT", target: "/mybucket/a", chunked: true, body: "abc"}.text()
		return strings.Replace(text, "3\r\nabc\r\n", now, 1)
	}
	long := request{method: "PUT", target: "/mybucket/" + strings.Repeat("a", 1000), chunked: true}
	for name, text := range map[string]string{
		"length, coding":       put("Content-Length: 5", coded) + "0\r\n\r\n",
		"coding, length":       put(coded, "Content-Length: 5") + "0\r\n\r\n",
		"lengths that agree":   put("Content-Length: 0", "content-length: 0"),
		"negative length":      put("Content-Length: -1"),
		"list of lengths":      put("Content-Length: 0, 0"),
		"empty length":         put("Content-Length: "),
		"length in two lines":  put("Content-Length:\r\n 0"),
		"two codings":          put("Content-Length: 0\r\n"+coded, coded),
		"folded header":        put("Content-Length: 0", "X-A: b\r\n\tc"),
		"bare LF in the head":  put("Content-Length: 0", "X-A: b\nX-B: c"),
		"bare LFs only":        strings.ReplaceAll(put("Content-Length: 0"), "\r\n", "\n"),
		"bare LF ends head":    strings.TrimSuffix(put("Content-Length: 0"), "\r\n") + "\n",
		"length beyond int64":  put("Content-Length: 99999999999999999999"),
		"coding before 1.1":    old(request{method: "PUT", target: "/mybucket/a", chunked: true}.text()),
		"long target before":   old(long.text()),
		"padded length":        put("Content-Length: " + strings.Repeat(" ", 300) + "0"),
		"bare LF after a size": chunk("3\nabc\r\n"),
		"bare LF after chunk":  chunk("3\r\nabc\n"),
		"size with a sign":     chunk("+3\r\nabc\r\n"),
		"chunk too long":       chunk("2\r\nabc\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			s.must(t, request{method: "PUT", target: "/mybucket/victim", body: "here"}, 201)
			if got := s.raw(t, text+smuggled); !slices.Equal(got, []int{400}) {
				t.Errorf("answered %v, want 400 and no more", got)
			}
			s.must(t, request{method: "HEAD", target: "/mybucket/victim"}, 200)
		})
	}
}

// Well-framed requests on one connection are all served, however they are cut
// into segments.
func TestPipelinedRequestsAreServed(t *testing.T) {
	s := newServer(t)
	put := request{method: "PUT", target: "/mybucket/a", body: strings.Repeat("x", 10_000)}
	chunked := put.with(func(r *request) { r.chunked = true }).text()
	chunked = strings.Replace(chunked, "2710\r\n", "2710;ext=1\r\n", 1)
	text := put.text() + chunked + request{method: "GET", target: "/mybucket/a"}.text() +
		request{method: "DELETE", target: "/mybucket/a", header: []string{"Connection: close"}}.text()
	if got := s.raw(t, text); !slices.Equal(got, []int{201, 201, 200, 204}) {
		t.Errorf("answered %v", got)
	}
	s.refuses(t, request{method: "GET", target: "/mybucket/a"}, 404, "object_not_exists")
}

// Clients that leave in the middle of anything leave nothing behind.
func TestEarlyClosesLeaveNothing(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/object", body: strings.Repeat("x", 100_000)}, 201)
	put := request{method: "PUT", target: "/mybucket/object", body: strings.Repeat("y", 10_000)}.text()
	get := request{method: "GET", target: "/mybucket/object"}.text()
	before := runtime.NumGoroutine()
	for i := range 1000 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		text := []string{put, get}[i%2]
		_, _ = io.WriteString(conn, text[:1+(i*37)%len(text)])
		conn.Close()
	}
	deadline := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before+5 {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.must(t, request{method: "GET", target: "/mybucket/object"}, 200)
}
