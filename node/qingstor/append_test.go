package qingstor

import (
	"fmt"
	"testing"
)

func appendAt(position any, body string, header ...string) request {
	return request{method: "POST", target: fmt.Sprint("/mybucket/log?append&position=", position), body: body, header: header}
}

func TestAppend(t *testing.T) {
	s := newServer(t)
	for _, step := range []struct {
		at          int
		body, after string
	}{{0, "", "0"}, {0, "one ", "4"}, {4, "two", "7"}, {7, "", "7"}} {
		a := s.must(t, appendAt(step.at, step.body, "Content-Type: text/plain"), 200)
		if got := a.header.Get("X-Qs-Next-Append-Position"); got != step.after || a.header.Get("ETag") == "" || a.body != "" {
			t.Errorf("append at %d: next %s, %v", step.at, got, a)
		}
	}
	head := s.must(t, request{method: "HEAD", target: "/mybucket/log"}, 200).header
	if head.Get("X-Qs-Object-Type") != "appendable" || head.Get("X-Qs-Next-Append-Position") != "7" || head.Get("Content-Type") != "text/plain" {
		t.Errorf("HEAD: %v", head)
	}
	if got := s.body(t, "/mybucket/log"); got != "one two" {
		t.Errorf("object is %q", got)
	}
	s.must(t, request{method: "PUT", target: "/mybucket/log", body: "plain"}, 201)
	if got := s.must(t, request{method: "HEAD", target: "/mybucket/log"}, 200).header; got.Get("X-Qs-Object-Type") != "" {
		t.Errorf("HEAD of a plain object: %v", got)
	}
}

func TestAppendRefuses(t *testing.T) {
	s := newHello(t)
	s.must(t, appendAt(0, "12345"), 200)
	tests := []struct {
		name string
		req  request
		code string
	}{
		{"before the end", appendAt(4, "x"), "invalid_argument"},
		{"behind the end", appendAt(6, "x"), "invalid_argument"},
		{"no position", appendAt("", "x"), "invalid_argument"},
		{"not a number", appendAt("-5", "x"), "invalid_argument"},
		{"without append", request{method: "POST", target: "/mybucket/log?position=5", body: "x"}, "invalid_argument"},
		{"a plain object", request{method: "POST", target: "/mybucket/hello?append&position=12", body: "x"}, "invalid_object_state"},
		{"bad digest", appendAt(5, "x", "Content-MD5: 00000000000000000000000000000000"), "bad_digest"},
		{"bad class", appendAt(5, "x", "x-qs-storage-class: COLD"), "invalid_request"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) { s.refuses(t, tc.req, 400, tc.code) })
	}
	s.with(func() {
		o := s.objects[testBucket]["log"]
		o.Parts = 3 // as many as there may be
		s.objects[testBucket]["log"] = o
	})
	s.refuses(t, appendAt(5, "x"), 400, "max_parts_exceeded")
	if got := s.body(t, "/mybucket/log"); got != "12345" {
		t.Errorf("object is %q", got)
	}
}
