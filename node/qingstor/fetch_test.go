package qingstor

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"partstore/metadata"
)

// fetching is a server that fetches from a loopback server as if 127.0.0.1 were
// public and all other loopback addresses private.
func fetching(t *testing.T, source http.HandlerFunc) (s *server, f *fetcher, host string) {
	t.Helper()
	upstream := httptest.NewServer(source)
	t.Cleanup(upstream.Close)
	host = upstream.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(host)
	s = newServer(t)
	f = newFetcher([]string{host, "127.0.0.2:" + port, "LocalHost:" + port})
	f.public = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }
	s.handler.fetch = f
	return s, f, host
}

func fetch(source string, header ...string) request {
	return request{method: "PUT", target: "/mybucket/fetched", header: append([]string{"X-QS-Fetch-Source: " + source}, header...)}
}

func TestFetchObject(t *testing.T) {
	s, _, host := fetching(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked with %v", r.Header)
		}
		switch r.URL.Path {
		case "/a b":
			w.Header().Set("Content-Type", "text/x-test")
			_, _ = w.Write([]byte("hello " + r.URL.RawQuery))
		case "/moved":
			http.Redirect(w, r, "/a%20b?x=1", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
		case "/unknown-length":
			_ = http.NewResponseController(w).Flush()
		case "/cut":
			w.Header().Set("Content-Length", "9")
			_, _ = w.Write([]byte("abc"))
		case "/huge":
			w.Header().Set("Content-Length", "5368709121")
		case "/error":
			w.WriteHeader(500)
		default:
			http.NotFound(w, r)
		}
	})
	for _, source := range []string{"http://" + host + "/a%20b?x=1", host + "/a%20b?x=1", "http%3A%2F%2F" + host + "/a%2520b%3Fx=1", "http://" + host + "/moved"} {
		if a := s.must(t, fetch(source), 201); a.header.Get("ETag") == "" {
			t.Errorf("%s: no ETag", source)
		}
		if a := s.must(t, request{method: "GET", target: "/mybucket/fetched"}, 200); a.body != "hello x=1" || a.header.Get("Content-Type") != "text/x-test" {
			t.Errorf("%s: got %v, type %s", source, a, a.header.Get("Content-Type"))
		}
		s.must(t, request{method: "DELETE", target: "/mybucket/fetched"}, 204)
	}
	s.refuses(t, fetch(host+"/absent"), 404, "object_not_exists")
	for _, path := range []string{"/error", "/unknown-length", "/cut", "/loop"} {
		s.refuses(t, fetch(host+path), 503, "upstream_failed")
	}
	s.refuses(t, fetch(host+"/huge"), 400, "entity_too_large")
	for _, source := range []string{"", "ftp://" + host + "/", "http://user:secret@" + host + "/", "http://"} {
		s.refuses(t, fetch(source), 400, "invalid_argument")
	}
	withBody := fetch(host + "/a%20b")
	withBody.body = "x"
	s.refuses(t, withBody, 400, "invalid_request")
	s.must(t, request{method: "HEAD", target: "/mybucket/fetched"}, 404)
}

// The condition of a fetch is on what it replaces.
func TestFetchCondition(t *testing.T) {
	asked := 0
	s, _, host := fetching(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Last-Modified", testNow.Add(time.Hour).Format(http.TimeFormat)) // nobody's business
		_, _ = w.Write([]byte("fetched"))
	})
	since := func(d time.Duration) request {
		return fetch(host+"/", "X-QS-Fetch-If-Unmodified-Since: "+testNow.Add(d).Format(http.TimeFormat))
	}
	s.refuses(t, since(0), 412, "precondition_failed") // there is nothing to replace
	s.must(t, request{method: "PUT", target: "/mybucket/fetched", body: "first"}, 201)
	s.refuses(t, since(-time.Second), 412, "precondition_failed")
	if a := s.must(t, request{method: "GET", target: "/mybucket/fetched"}, 200); a.body != "first" || asked > 0 {
		t.Errorf("%q after a refusal, %d asked", a.body, asked)
	}
	s.must(t, since(0), 201)
	if a := s.must(t, request{method: "GET", target: "/mybucket/fetched"}, 200); a.body != "fetched" {
		t.Errorf("got %q", a.body)
	}
	s.must(t, fetch(host+"/", "X-QS-Fetch-If-Unmodified-Since: yesterday"), 201)
	s.with(func() { s.broken = metadata.ErrUnavailable })
	s.refuses(t, since(0), 503, "service_unavailable")
}

// Whatever a client names, nothing is asked but a named server at a public address.
func TestFetchAsksNobodyElse(t *testing.T) {
	var asked []string
	var redirect string
	s, f, host := fetching(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Host+r.URL.Path)
		http.Redirect(w, r, redirect, http.StatusFound)
	})
	_, port, _ := net.SplitHostPort(host)
	private := "http://127.0.0.2:" + port + "/"
	for _, source := range []string{
		"http://other.test/", "http://127.0.0.1/", "https://127.0.0.1:443/", "http://127.0.0.1.:80/", private,
		"http://" + host + "@other.test/", "http://other.test/?" + host, "http://[::ffff:127.0.0.2]:" + port + "/",
	} {
		if a := s.do(t, fetch(source)); a.status != 403 && a.status != 400 {
			t.Errorf("%s: %v", source, a)
		}
	}
	if len(asked) > 0 {
		t.Fatalf("asked %v", asked)
	}
	for _, redirect = range []string{private, "http://other.test/", "file:///etc/passwd", "//127.0.0.1:1/"} {
		if a := s.do(t, fetch(host+"/start")); a.status != 403 && a.status != 503 {
			t.Errorf("redirected to %s: %v", redirect, a)
		}
	}
	if len(asked) != 4 {
		t.Errorf("asked %v", asked)
	}
	// A name is judged by what it leads to at the moment of the connection.
	f.public = isPublic
	s.refuses(t, fetch("http://localhost:"+port+"/"), 403, "permission_denied")
	if len(asked) != 4 {
		t.Errorf("asked %v", asked)
	}
}

func TestFetchIsOffByDefault(t *testing.T) {
	s := newServer(t)
	s.handler.fetch = newFetcher(nil)
	s.refuses(t, fetch("http://example.com/"), 501, "not_implemented")
}

func TestFetchesAtATime(t *testing.T) {
	s, f, host := fetching(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) })
	end, err := f.begin("http://" + host + "/same")
	if err != nil {
		t.Fatal(err)
	}
	s.refuses(t, fetch(host+"/same"), 409, "fetch_in_process")
	for _, other := range strings.Split("1234567", "") {
		if _, err := f.begin(other); err != nil {
			t.Fatal(err)
		}
	}
	s.refuses(t, fetch(host+"/another"), 429, "fetch_throttled")
	end()
	s.must(t, fetch(host+"/same"), 201)
	s.must(t, fetch(host+"/same"), 201) // it is over
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "0.0.0.0": false, "0.1.2.3": false,
		"100.64.0.1": false, "198.18.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "192.0.0.170": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false,
		"ff02::1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false, "100::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("isPublic(%s) = %t", text, got)
		}
	}
}
