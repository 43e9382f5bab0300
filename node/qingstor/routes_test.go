package qingstor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partstore/metadata"
)

// samples has one good request for each route and the status it gets. UPLOAD
// stands for an open upload of /mybucket/object, which also exists.
var samples = map[string]struct {
	request
	want int
}{
	"list_locations": {request{method: "GET", target: "/?location"}, 200},
	"list_buckets":   {request{method: "GET", target: "/"}, 200},

	"get_bucket_acl":             {request{method: "GET", target: "/mybucket?acl"}, 200},
	"put_bucket_acl":             {request{method: "PUT", target: "/mybucket?acl", body: `{"acl":[{"grantee":{"type":"user","id":"usr-other"},"permission":"READ"}]}`}, 200},
	"get_bucket_cors":            {request{method: "GET", target: "/mybucket?cors"}, 200},
	"put_bucket_cors":            {request{method: "PUT", target: "/mybucket?cors", body: `{"cors_rules":[{"allowed_origin":"*","allowed_methods":["GET"]}]}`}, 200},
	"delete_bucket_cors":         {request{method: "DELETE", target: "/mybucket?cors"}, 204},
	"get_bucket_policy":          {request{method: "GET", target: "/mybucket?policy"}, 200},
	"put_bucket_policy":          {request{method: "PUT", target: "/mybucket?policy", body: `{"statement":[{"id":"1","user":"*","action":"get_object","effect":"allow","resource":"mybucket/*"}]}`}, 200},
	"delete_bucket_policy":       {request{method: "DELETE", target: "/mybucket?policy"}, 204},
	"get_bucket_lifecycle":       {request{method: "GET", target: "/mybucket?lifecycle"}, 200},
	"put_bucket_lifecycle":       {request{method: "PUT", target: "/mybucket?lifecycle", body: `{"rule":[{"id":"1","status":"enabled","expiration":{"days":1}}]}`}, 200},
	"delete_bucket_lifecycle":    {request{method: "DELETE", target: "/mybucket?lifecycle"}, 204},
	"get_bucket_notification":    {request{method: "GET", target: "/mybucket?notification"}, 200},
	"put_bucket_notification":    {request{method: "PUT", target: "/mybucket?notification", body: `{"notifications":[{"id":"1","event_types":["create_object"],"cloudfunc":"notifier"}]}`}, 200},
	"delete_bucket_notification": {request{method: "DELETE", target: "/mybucket?notification"}, 204},
	"get_bucket_mirror":          {request{method: "GET", target: "/mybucket?mirror"}, 200},
	"put_bucket_mirror":          {request{method: "PUT", target: "/mybucket?mirror", body: `{"source_site":"http://example.com"}`}, 200},
	"delete_bucket_mirror":       {request{method: "DELETE", target: "/mybucket?mirror"}, 204},
	"get_bucket_logging":         {request{method: "GET", target: "/mybucket?logging"}, 200},
	"put_bucket_logging":         {request{method: "PUT", target: "/mybucket?logging", body: `{"target_bucket":"logs-bucket","target_prefix":""}`}, 200},
	"delete_bucket_logging":      {request{method: "DELETE", target: "/mybucket?logging"}, 204},
	"get_bucket_replication":     {request{method: "GET", target: "/mybucket?replication"}, 200},
	"put_bucket_replication":     {request{method: "PUT", target: "/mybucket?replication", body: `{"rules":[{"id":"1","status":"enabled","destination":{"bucket":"copy-bucket"}}]}`}, 200},
	"delete_bucket_replication":  {request{method: "DELETE", target: "/mybucket?replication"}, 204},
	"get_bucket_cname":           {request{method: "GET", target: "/mybucket?cname"}, 200},
	"put_bucket_cname":           {request{method: "PUT", target: "/mybucket?cname", body: `{"domain":"img.example.com"}`}, 200},
	"delete_bucket_cname":        {request{method: "DELETE", target: "/mybucket?cname", body: `{"domain":"img.example.com"}`}, 204},
	"get_bucket_versioning":      {request{method: "GET", target: "/mybucket?versioning"}, 200},
	"put_bucket_versioning":      {request{method: "PUT", target: "/mybucket?versioning", body: `{"status":"SUSPENDED"}`}, 200},
	"get_bucket_stats":           {request{method: "GET", target: "/mybucket?stats"}, 200},
	"list_multipart_uploads":     {request{method: "GET", target: "/mybucket?uploads"}, 200},
	"list_object_versions":       {request{method: "GET", target: "/mybucket?versions"}, 501},
	"delete_multiple_objects":    {deleteMany(`{"objects":[{"key":"object"}]}`), 200},
	"post_object":                {formRequest("key", "object").with(func(r *request) { r.unsigned = false }), 201},
	"put_bucket":                 {request{method: "PUT", target: "/another-bucket"}, 201},
	"list_objects":               {request{method: "GET", target: "/mybucket"}, 200},
	"head_bucket":                {request{method: "HEAD", target: "/mybucket"}, 200},
	"delete_bucket":              {request{method: "DELETE", target: "/empty-bucket"}, 204},

	"initiate_multipart_upload": {request{method: "POST", target: "/mybucket/object?uploads"}, 200},
	"append_object":             {request{method: "POST", target: "/mybucket/log?append&position=0", body: "line"}, 200},
	"complete_multipart_upload": {request{method: "POST", target: "/mybucket/object?upload_id=UPLOAD", body: `{"object_parts":[{"part_number":0}]}`}, 201},
	"copy_part":                 {request{method: "PUT", target: "/mybucket/object?upload_id=UPLOAD&part_number=1", header: []string{"X-QS-Copy-Source: /mybucket/object"}}, 201},
	"upload_part":               {request{method: "PUT", target: "/mybucket/object?upload_id=UPLOAD&part_number=1", body: "part"}, 201},
	"list_parts":                {request{method: "GET", target: "/mybucket/object?upload_id=UPLOAD"}, 200},
	"abort_multipart_upload":    {request{method: "DELETE", target: "/mybucket/object?upload_id=UPLOAD"}, 204},
	"process_image":             {request{method: "GET", target: "/mybucket/picture?image&action=info"}, 200},
	"get_object_version":        {request{method: "GET", target: "/mybucket/object?version_id=1"}, 501},
	"head_object_version":       {request{method: "HEAD", target: "/mybucket/object?version_id=1"}, 501},
	"delete_object_version":     {request{method: "DELETE", target: "/mybucket/object?version_id=1"}, 501},
	"copy_object":               {request{method: "PUT", target: "/mybucket/object", header: []string{"X-QS-Copy-Source: /mybucket/object"}}, 201},
	"move_object":               {request{method: "PUT", target: "/mybucket/object", header: []string{"X-QS-Move-Source: /mybucket/object"}}, 201},
	"fetch_object":              {request{method: "PUT", target: "/mybucket/object", header: []string{"X-QS-Fetch-Source: http://example.com/"}}, 201},
	"put_object":                {request{method: "PUT", target: "/mybucket/object", body: "whole"}, 201},
	"get_object":                {request{method: "GET", target: "/mybucket/object"}, 200},
	"head_object":               {request{method: "HEAD", target: "/mybucket/object"}, 200},
	"delete_object":             {request{method: "DELETE", target: "/mybucket/object"}, 204},
	"options_bucket":            {request{method: "OPTIONS", target: "/mybucket?uploads", header: []string{"Origin: http://example.com"}}, 200},
	"options_object":            {request{method: "OPTIONS", target: "/mybucket/object", header: []string{"Origin: http://example.com"}}, 200},
}

// sample prepares a server on which the sample request of a route works.
func sample(t *testing.T, r route) (s *server, req request, want int) {
	t.Helper()
	row, ok := samples[r.op]
	if !ok {
		t.Fatalf("route %s has no sample request", r.op)
	}
	s = newServer(t)
	s.must(t, request{method: "PUT", target: "/empty-bucket"}, 201)
	s.must(t, request{method: "PUT", target: "/mybucket/object", body: "payload"}, 201)
	s.must(t, request{method: "PUT", target: "/mybucket/picture", body: aPicture(t, 4, 3)}, 201)
	id := s.initiate(t, "object")
	s.must(t, request{method: "PUT", target: "/mybucket/object?part_number=0&upload_id=" + id, body: "part"}, 201)
	row.target = strings.ReplaceAll(row.target, "UPLOAD", id)
	return s, row.request, row.want
}

func TestEveryRouteIsReached(t *testing.T) {
	for _, r := range routes {
		t.Run(r.op, func(t *testing.T) {
			s, req, want := sample(t, r)
			if (r.serve == nil) != (want == 501) {
				t.Fatalf("serve is nil: %v, sample wants %d", r.serve == nil, want)
			}
			s.must(t, req, want)
			if got, want := s.lastObserved(t), fmt.Sprint(r.op, " ", want); got != want {
				t.Errorf("served as %q, want %q", got, want)
			}
		})
	}
	if len(samples) != len(routes) {
		t.Errorf("%d samples for %d routes", len(samples), len(routes))
	}
}

// takesKey is the operations that look at a customer's key, if only to refuse it.
var takesKey = map[string]bool{
	"put_object": true, "get_object": true, "head_object": true, "copy_object": true, "append_object": true, "fetch_object": true,
	"post_object": true, "initiate_multipart_upload": true, "upload_part": true, "copy_part": true,
	"process_image": true,
}

// TestEveryRouteRefuses sends each route's good request, spoilt in one way.
func TestEveryRouteRefuses(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(request) request
		status int
		code   string
		spared func(route) bool // where the spoiling changes nothing
	}{
		{"no auth", func(r request) request { r.unsigned = true; return r },
			403, "permission_denied", func(r route) bool { return r.access == anyone }},
		{"unknown key", func(r request) request { r.accessKey = "NOBODY"; return r },
			401, "invalid_access_key_id", nil},
		{"bad signature", func(r request) request { r.accessKey = otherKey; return swapKey(r) },
			401, "signature_not_matched", nil},
		{"signed for another verb", func(r request) request {
			return signedAs(r, r.with(func(r *request) { r.method = "LINK" }))
		}, 401, "signature_not_matched", nil},
		{"signed for another bucket", func(r request) request {
			return signedAs(r, r.with(func(r *request) { r.target = "/x" + r.target[1:] }))
		}, 401, "signature_not_matched", nil},
		{"skewed date", func(r request) request { r.date = "Sun, 16 Aug 2015 13:10:09 GMT"; return r },
			403, "request_expired", nil},
		{"expired presign", func(r request) request { return r.presigned(testNow.Add(-time.Second)) },
			403, "request_expired", nil},
		{"partial presign", func(r request) request {
			return r.with(func(r *request) { r.unsigned = true; r.target = addParam(r.target, "expires=1") })
		}, 400, "invalid_argument", nil},
		{"duplicate params", func(r request) request {
			r.target = addParam(addParam(r.target, "limit=1"), "limit=1")
			return r
		}, 400, "invalid_argument", nil},
		{"signed twice", func(r request) request { r.target = addParam(r.target, "signature=s"); return r },
			400, "invalid_argument", nil},
		{"duplicate Authorization", func(r request) request {
			return r.with(func(r *request) { r.header = append(r.header, "Authorization: QS a:b") })
		}, 400, "invalid_argument", nil},
		{"missing bucket", func(r request) request {
			_, rest, _ := strings.Cut(r.target[1:], "bucket")
			r.target = "/missing-bucket" + rest
			return r
		}, 404, "bucket_not_exists", func(r route) bool { return r.level == serviceLevel || r.access == creator || r.method == "OPTIONS" }},
		{"stranger", func(r request) request { r.accessKey = otherKey; return r },
			403, "permission_denied", func(r route) bool { return r.access < reader }},
		{"half a customer key", func(r request) request {
			return r.with(func(r *request) { r.header = append(r.header, "X-QS-Encryption-Customer-Algorithm: AES256") })
		}, 400, "invalid_argument", func(r route) bool { return r.serve == nil || !takesKey[r.op] }},
	}
	for _, r := range routes {
		t.Run(r.op, func(t *testing.T) {
			s, good, want := sample(t, r)
			for _, tc := range tests {
				req := tc.spoil(good)
				if tc.spared != nil && tc.spared(r) {
					continue
				}
				a := s.do(t, req)
				if a.status != tc.status || req.method != "HEAD" && a.code() != tc.code {
					t.Errorf("%s: %s %s = %v, want %d %s", tc.name, req.method, req.target, a, tc.status, tc.code)
				}
			}
			s.must(t, good, want) // nothing refused has done anything
		})
	}
}

// signedAs is a request with the signature of another one.
func signedAs(r, other request) request {
	other.accessKey = testKey
	return r.with(func(r *request) {
		r.unsigned = true
		r.header = append(r.header, "Authorization: QS "+testKey+":"+other.signature(testNow.Format("Mon, 02 Jan 2006 15:04:05 GMT")))
	})
}

// swapKey keeps the signature of one key and names another.
func swapKey(r request) request {
	r = r.with(func(*request) {})
	mac := r.signature(testNow.Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	r.header = append(r.header, "Authorization: QS "+testKey+":"+mac)
	r.unsigned = true
	return r
}

func addParam(target, param string) string {
	if strings.Contains(target, "?") {
		return target + "&" + param
	}
	return target + "?" + param
}

// TestEveryRouteAdmits breaks the registry: no operation may claim that
// something is absent, or that it is done.
func TestEveryRouteAdmits(t *testing.T) {
	for _, r := range routes {
		if r.op == "list_locations" {
			continue // asks nobody
		}
		t.Run(r.op, func(t *testing.T) {
			s, req, _ := sample(t, r)
			s.with(func() { s.broken = fmt.Errorf("read index: %w", metadata.ErrUnavailable) })
			s.refuses(t, req, 503, "service_unavailable")
		})
	}
}

func TestDispatchNeverFallsThrough(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/object", body: "payload"}, 201)
	tests := []struct{ method, target string }{
		{"DELETE", "/mybucket?uploads"},
		{"DELETE", "/mybucket?acl"},
		{"PUT", "/mybucket?uploads"},
		{"PUT", "/mybucket?stats"},
		{"DELETE", "/mybucket/object?uploads"},
		{"DELETE", "/mybucket/object?part_number=1"},
		{"DELETE", "/mybucket/object?acl"},
		{"GET", "/mybucket/object?uploads"},
		{"PUT", "/mybucket/object?uploads"},
		{"PUT", "/mybucket/object?acl"},
		{"PUT", "/mybucket/object?append"},
		{"POST", "/mybucket/object"},
		{"POST", "/mybucket/object?part_number=1"},
		{"POST", "/mybucket"},
		{"PATCH", "/mybucket/object"},
		{"PUT", "/"},
		{"DELETE", "/"},
		{"GET", "/?acl"},
	}
	for _, tc := range tests {
		t.Run(tc.method+" "+tc.target, func(t *testing.T) {
			r := request{method: tc.method, target: tc.target}
			s.refuses(t, r, 405, "method_not_allowed")
			if s.do(t, r).header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
	if got := s.must(t, request{method: "GET", target: "/mybucket/object"}, 200).body; got != "payload" {
		t.Errorf("object is %q now", got)
	}
}
