package qingstor

import (
	"strings"
	"testing"
)

func TestCORS(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/object", body: "payload"}, 201)
	preflight := func(origin, method, headers string) request {
		r := request{method: "OPTIONS", target: "/mybucket/object", unsigned: true, header: []string{"Origin: " + origin, "Access-Control-Request-Method: " + method}}
		if headers != "" {
			r.header = append(r.header, "Access-Control-Request-Headers: "+headers)
		}
		return r
	}
	allow := func(r request) (origin, methods, headers, expose, age, vary string) {
		t.Helper()
		h := s.must(t, r, 200).header
		get := func(name string) string { return h.Get("Access-Control-" + name) }
		return get("Allow-Origin"), get("Allow-Methods"), get("Allow-Headers"), get("Expose-Headers"), get("Max-Age"), h.Get("Vary")
	}
	if origin, _, _, _, _, _ := allow(preflight("http://w.a.com", "GET", "")); origin != "" {
		t.Errorf("without rules, %q is allowed", origin)
	}
	s.set(t, "cors", `{"cors_rules":[
		{"allowed_origin":"http://*.a.com","allowed_methods":["GET","PUT"],"allowed_headers":["X-QS-*","content-type"],"expose_headers":["X-QS-Date","ETag"],"max_age_seconds":0},
		{"allowed_origin":"*","allowed_methods":["*"]}],"resp_vary":"Enabled"}`)
	tests := []struct {
		name, origin, method, headers string
		want                          string // origin, methods, headers, expose, age
	}{
		{"the first rule", "http://w.a.com", "PUT", "x-qs-date, Content-Type", "http://w.a.com|GET, PUT|x-qs-date, content-type|X-QS-Date, ETag|0"},
		{"another method falls to the second", "http://w.a.com", "DELETE", "", "*|GET, PUT, POST, DELETE, HEAD|||5"},
		{"another origin falls to the second", "http://b.com", "GET", "", "*|GET, PUT, POST, DELETE, HEAD|||5"},
		{"a header nobody allows", "http://w.a.com", "PUT", "x-other", "||||"},
		{"no origin", "", "PUT", "", "||||"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			origin, methods, headers, expose, age, vary := allow(preflight(tc.origin, tc.method, tc.headers))
			if got := strings.Join([]string{origin, methods, headers, expose, age}, "|"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.origin != "" && vary != "Origin" {
				t.Errorf("Vary %q", vary)
			}
		})
	}
	t.Run("answers are decorated", func(t *testing.T) {
		for _, tc := range []struct {
			r      request
			status int
			origin string
		}{
			{request{method: "GET", target: "/mybucket/object", header: []string{"Origin: http://w.a.com"}}, 200, "http://w.a.com"},
			{request{method: "GET", target: "/mybucket/missing", header: []string{"Origin: http://w.a.com"}}, 404, "http://w.a.com"},
			{request{method: "GET", target: "/mybucket/object", unsigned: true, header: []string{"Origin: http://w.a.com"}}, 403, "http://w.a.com"},
			{request{method: "GET", target: "/mybucket/object"}, 200, ""},
		} {
			h := s.must(t, tc.r, tc.status).header
			if got := h.Get("Access-Control-Allow-Origin"); got != tc.origin {
				t.Errorf("%d: origin %q, want %q", tc.status, got, tc.origin)
			}
			if got := h.Get("Access-Control-Expose-Headers"); (got == "X-QS-Date, ETag") != (tc.origin != "") {
				t.Errorf("%d: exposes %q", tc.status, got)
			}
			if h.Get("Access-Control-Max-Age") != "" {
				t.Errorf("%d: a preflight's header on an answer", tc.status)
			}
		}
	})
	t.Run("a browser asks about any request", func(t *testing.T) {
		for _, target := range []string{"/mybucket/object?uploads", "/mybucket/object?upload_id=x&part_number=1", "/mybucket?delete", "/mybucket"} {
			r := preflight("http://w.a.com", "GET", "")
			r.target = target
			if origin, _, _, _, _, _ := allow(r); origin != "http://w.a.com" {
				t.Errorf("%s: origin %q", target, origin)
			}
		}
	})
	t.Run("no bucket has no rules", func(t *testing.T) {
		for _, target := range []string{"/missing-bucket/x", "/missing-bucket", "/no.bucket/x"} {
			r := preflight("http://w.a.com", "GET", "")
			r.target = target
			if origin, _, _, _, _, _ := allow(r); origin != "" {
				t.Errorf("%s: origin %q", target, origin)
			}
		}
	})
}
