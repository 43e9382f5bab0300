package qingstor

import (
	"strings"
	"testing"
)

// set puts a document of the test bucket in force.
func (s *server) set(t *testing.T, name, document string) {
	t.Helper()
	for _, bucket := range []string{testBucket, "empty-bucket"} {
		text := strings.ReplaceAll(document, testBucket, bucket)
		if s.do(t, request{method: "HEAD", target: "/" + bucket}).status == 200 {
			s.must(t, request{method: "PUT", target: "/" + bucket + "?" + name, body: text}, 200)
		}
	}
}

func grantTo(who, permission string) string {
	return `{"acl":[{"grantee":` + who + `,"permission":"` + permission + `"}]}`
}

const (
	aStranger = `{"type":"user","id":"usr-other"}`
	everybody = `{"type":"group","name":"QS_ALL_USERS"}`
)

// TestRightsOfEveryRoute has each operation asked for by somebody who has some
// right to the bucket. What must come of it follows from the route alone.
func TestRightsOfEveryRoute(t *testing.T) {
	var actions []string
	for _, g := range grants {
		actions = append(actions, `"`+strings.Join(g.actions, `","`)+`"`)
	}
	statement := func(effect string) string {
		all := strings.ReplaceAll(strings.Join(actions, ","), `"",`, "")
		var half []string // a statement has room for so many
		for _, part := range [][2]int{{0, 12}, {12, 99}} {
			list := strings.Split(all, ",")
			half = append(half, `{"id":"`+string(rune('a'+part[0]))+`","user":"*","effect":"`+effect+`","action":[`+
				strings.Join(list[min(part[0], len(list)):min(part[1], len(list))], ",")+`],"resource":["mybucket","mybucket/*"]}`)
		}
		return `{"statement":[` + strings.Join(half, ",") + `]}`
	}
	known := func(r route) bool { return r.access == signed || r.access == creator || r.access == anyone }
	stranger := func(r request) request { r.accessKey = otherKey; return r }
	owner1 := func(r request) request { return r }
	nobody := func(r request) request { r.unsigned = true; return r }
	tests := []struct {
		name, setting, document string
		as                      func(request) request
		reads                   bool // the bucket's objects
		let                     func(route) bool
	}{
		{"a reader", "acl", grantTo(aStranger, "READ"), stranger, true, func(r route) bool { return r.access == reader }},
		{"a writer", "acl", grantTo(aStranger, "WRITE"), stranger, false, func(r route) bool { return r.access == writer || r.op == "delete_multiple_objects" }},
		{"somebody with full control", "acl", grantTo(aStranger, "FULL_CONTROL"), stranger, true, func(r route) bool { return r.access != owner }},
		{"a stranger where everybody may write", "acl", grantTo(everybody, "WRITE"), stranger, false, func(r route) bool { return r.access == writer || r.op == "delete_multiple_objects" }},
		{"nobody where everybody may read", "acl", grantTo(everybody, "READ"), nobody, true, func(r route) bool {
			return r.access == reader && grants[r.op].anonymous == byEither
		}},
		{"nobody where everybody may do all", "acl", grantTo(everybody, "FULL_CONTROL"), nobody, true, func(r route) bool {
			return grants[r.op].anonymous == byEither
		}},
		{"a stranger whom a policy lets in", "policy", statement("allow"), stranger, true, func(r route) bool { return len(grants[r.op].actions) > 0 }},
		{"nobody, where a policy lets in", "policy", statement("allow"), nobody, true, func(r route) bool {
			return len(grants[r.op].actions) > 0 && grants[r.op].anonymous != never
		}},
		{"the owner whom a policy keeps out", "policy", statement("deny"), owner1, false, func(r route) bool { return len(grants[r.op].actions) == 0 }},
	}
	for _, r := range routes {
		if r.op == "post_object" {
			continue // the form decides: TestPostRefuses
		}
		t.Run(r.op, func(t *testing.T) {
			if (r.access == reader || r.access == writer) != (len(grants[r.op].actions) > 0 || r.op == "list_multipart_uploads") &&
				r.op != "get_bucket_stats" && r.op != "delete_multiple_objects" {
				t.Errorf("access %d, grant %+v", r.access, grants[r.op])
			}
			for _, tc := range tests {
				s, good, want := sample(t, r)
				s.set(t, tc.setting, tc.document)
				asked, let := tc.as(good), tc.let(r)
				if known(r) && r.op != "delete_multiple_objects" {
					let = r.access == anyone || !asked.unsigned // it asks nothing of the bucket
				}
				if (r.header == copySource || r.header == moveSource) && !tc.reads {
					let = false // the source is in the same bucket
				}
				a := s.do(t, asked)
				if let && a.status != want || !let && a.status != 403 {
					t.Errorf("%s: %s %s = %v, want it let in: %v", tc.name, good.method, good.target, a, let)
				}
			}
		})
	}
}

func TestACL(t *testing.T) {
	s := newServer(t)
	got := s.must(t, request{method: "GET", target: "/mybucket?acl"}, 200).body
	if want := `{"owner":{"id":"usr-root","name":"usr-root"},"acl":[{"grantee":{"type":"user","id":"usr-root","name":"usr-root"},"permission":"FULL_CONTROL"}]}`; strings.TrimSpace(got) != want {
		t.Errorf("by default %s, want %s", got, want)
	}
	s.must(t, request{method: "PUT", target: "/mybucket?acl", body: `{"acl":[{"grantee":` + aStranger + `,"permission":"READ"},{"grantee":` + everybody + `,"permission":"WRITE"}],"x":null}`}, 200)
	got = s.must(t, request{method: "GET", target: "/mybucket?acl"}, 200).body
	if want := `{"owner":{"id":"usr-root","name":"usr-root"},"acl":[{"grantee":{"type":"user","id":"usr-other","name":"usr-other"},"permission":"READ"},{"grantee":{"type":"group","name":"QS_ALL_USERS"},"permission":"WRITE"}]}`; strings.TrimSpace(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, empty := range []string{`{}`, `{"acl":[]}`, `{"acl":null}`} {
		s.must(t, request{method: "PUT", target: "/mybucket?acl", body: empty}, 200)
		if got = s.must(t, request{method: "GET", target: "/mybucket?acl"}, 200).body; !strings.Contains(got, `"acl":[]`) {
			t.Errorf("an empty list is shown as %s", got)
		}
	}
	s.must(t, request{method: "HEAD", target: "/mybucket"}, 200) // the owner may, whatever the ACL says
	for _, bad := range []string{
		grantTo(`{"type":"user"}`, "READ"), grantTo(`{"type":"user","name":"x"}`, "READ"), grantTo(`{"type":"group","name":"ALL"}`, "READ"),
		grantTo(`{"type":"role","id":"x"}`, "READ"), grantTo(aStranger, "read"), grantTo(aStranger, ""), `{"acl":{}}`, `[]`,
		`{"acl":[` + strings.Repeat(`{"grantee":`+everybody+`,"permission":"READ"},`, 100) + `{"grantee":` + everybody + `,"permission":"READ"}]}`,
	} {
		s.refuses(t, request{method: "PUT", target: "/mybucket?acl", body: bad}, 400, "invalid_request")
	}
	s.refuses(t, request{method: "PUT", target: "/mybucket?acl", body: "{"}, 400, "invalid_json")
	s.refuses(t, request{method: "PUT", target: "/mybucket?acl"}, 400, "invalid_json")
}

// Response overrides are for requests that are signed, however public an object.
func TestNobodyChoosesHeaders(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/object", body: "payload"}, 201)
	s.set(t, "acl", grantTo(everybody, "READ"))
	s.must(t, request{method: "GET", target: "/mybucket/object", unsigned: true}, 200)
	s.refuses(t, request{method: "GET", target: "/mybucket/object?response-expires=now", unsigned: true}, 403, "permission_denied")
	// Credentials are checked even where none are needed.
	s.refuses(t, request{method: "GET", target: "/mybucket/object", accessKey: "NOBODY"}, 401, "invalid_access_key_id")
}

func TestDeleteMultipleJudgesEachKey(t *testing.T) {
	s := newServer(t)
	for _, key := range []string{"tmp/a", "kept"} {
		s.must(t, request{method: "PUT", target: "/mybucket/" + key, body: "x"}, 201)
	}
	s.set(t, "policy", `{"statement":[{"id":"1","user":"usr-other","action":"delete_object","effect":"allow","resource":"mybucket/tmp/*"}]}`)
	r := deleteMany(`{"objects":[{"key":"tmp/a"},{"key":"kept"}]}`)
	r.accessKey = otherKey
	got := s.must(t, r, 200).body
	if !strings.Contains(got, `"deleted":[{"key":"tmp/a"}]`) || !strings.Contains(got, `{"key":"kept","code":"permission_denied"`) {
		t.Errorf("got %s", got)
	}
	s.must(t, request{method: "HEAD", target: "/mybucket/kept"}, 200)
	s.must(t, request{method: "HEAD", target: "/mybucket/tmp/a"}, 404)
}
