package qingstor

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"partstore/metadata"
)

func deleteMany(body string) request {
	sum := md5.Sum([]byte(body))
	return request{
		method: "POST", target: "/mybucket?delete", body: body,
		header: []string{"Content-MD5: " + base64.StdEncoding.EncodeToString(sum[:])},
	}
}

func TestDeleteMultiple(t *testing.T) {
	for _, quiet := range []string{"false", "true", "null"} {
		t.Run("quiet "+quiet, func(t *testing.T) {
			s := newServer(t)
			for _, key := range []string{"a", "b%2Fc", "%E4%B8%AD", "stays"} {
				s.must(t, request{method: "PUT", target: "/mybucket/" + key, body: key}, 201)
			}
			long := strings.Repeat("x", 1024)
			a := s.must(t, deleteMany(`{"quiet":`+quiet+`,"other":[1],"objects":[{"key":"a"},{"key":"b/c","version_id":null},{"key":"中"},`+
				`{"key":"missing"},{"key":"a"},{"key":""},{"key":"`+long+`"}]}`), 200)
			var got struct {
				Deleted []struct{ Key string }
				Errors  []struct{ Key, Code, Message string }
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || strings.Contains(a.body, `"deleted":`) != (quiet != "true") {
				t.Fatalf("%v: %s", err, a.body)
			}
			var deleted []string
			for _, d := range got.Deleted {
				deleted = append(deleted, d.Key)
			}
			want := []string{"a", "b/c", "中", "missing", "a"}
			if quiet == "true" {
				want = nil
			}
			if !slices.Equal(deleted, want) {
				t.Errorf("deleted %q, want %q", deleted, want)
			}
			if len(got.Errors) != 2 || got.Errors[0].Code != "invalid_object_name" || got.Errors[0].Key != "" || got.Errors[1].Key != long || got.Errors[1].Code != "invalid_object_name" || got.Errors[1].Message == "" {
				t.Errorf("errors %.500v", got.Errors)
			}
			s.with(func() {
				if len(s.objects[testBucket]) != 1 {
					t.Errorf("left: %v", s.objects[testBucket])
				}
			})
		})
	}
}

func TestDeleteMultipleRefuses(t *testing.T) {
	s := newHello(t)
	many := func(n int) string {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`{"key":"k%d"}`, i)
		}
		return `{"objects":[` + strings.Join(keys, ",") + `]}`
	}
	s.must(t, deleteMany(many(1000)), 200)
	good := deleteMany(`{"objects":[{"key":"hello"}]}`)
	tests := []struct {
		name string
		req  request
		code string
	}{
		{"no digest", good.with(func(r *request) { r.header = nil }), "invalid_argument"},
		{"bad digest", good.with(func(r *request) { r.body += " " }), "bad_digest"},
		{"malformed digest", good.with(func(r *request) { r.header = []string{"Content-MD5: x"} }), "bad_digest"},
		{"no JSON", deleteMany(`hello`), "invalid_json"},
		{"nothing", deleteMany(``), "invalid_json"},
		{"no objects", deleteMany(`{}`), "invalid_request"},
		{"null", deleteMany(`{"objects":null}`), "invalid_request"},
		{"empty", deleteMany(`{"objects":[]}`), "invalid_request"},
		{"no key", deleteMany(`{"objects":[{"key":"hello"},{}]}`), "invalid_request"},
		{"a number", deleteMany(`{"objects":[{"key":1}]}`), "invalid_request"},
		{"1001 keys", deleteMany(many(1001)), "too_many_objects"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) { s.refuses(t, tc.req, 400, tc.code) })
	}
	s.must(t, request{method: "GET", target: "/mybucket/hello"}, 200)
}

// What is not known is an error of its key, not of the whole request.
func TestDeleteMultipleAdmits(t *testing.T) {
	s := newServer(t)
	s.with(func() { s.deleteErr = fmt.Errorf("propose: %w", metadata.ErrUnavailable) })
	a := s.must(t, deleteMany(`{"quiet":true,"objects":[{"key":"a"}]}`), 200)
	if !strings.Contains(a.body, `"errors":[{"key":"a","code":"service_unavailable"`) || strings.Contains(a.body, "propose") {
		t.Error(a.body)
	}
}

func FuzzDelete(f *testing.F) {
	f.Add([]byte(`{"quiet":true,"objects":[{"key":"a"},{"key":"\u00e9"}]}`))
	f.Add([]byte(`{"quiet":null,"objects":[{"key":null}]}`))
	f.Add([]byte(`{"objects":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		frugal(t, len(text), frugalBase+frugalDelete, func() { _, _, _ = parseDelete(text) })
		keys, _, err := parseDelete(text)
		if err != nil {
			if row := rowOf(err); row.status != 400 {
				t.Errorf("%q: %v is status %d", text, err, row.status)
			}
			return
		}
		if len(keys) == 0 || len(keys) > maxDeletes {
			t.Errorf("%q: %d keys", text, len(keys))
		}
	})
}
