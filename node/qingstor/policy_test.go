package qingstor

import (
	"fmt"
	"strings"
	"testing"
)

func TestLike(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*", "abc", true}, {"a*", "ba", false},
		{"*c", "abc", true}, {"*c", "abcd", false}, {"a*c", "ac", true}, {"a*c", "abcbc", true}, {"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false}, {"**", "x", true}, {"a**", "a", true}, {"?", "x", false}, {"[a]", "a", false},
		{"http://*.a.com/*", "http://x.a.com/y", true}, {"http://*.a.com/*", "http://a.com/y", false},
		{strings.Repeat("*a", 500), strings.Repeat("a", 1000) + "b", false},
	}
	for _, tc := range tests {
		if got := like(tc.pattern, tc.s); got != tc.want {
			t.Errorf("like(%.20q, %.20q) = %v", tc.pattern, tc.s, got)
		}
	}
}

// statementOf is a statement with some members replaced.
func statementOf(members ...string) string {
	m := map[string]string{"id": `"1"`, "user": `"usr-other"`, "action": `"get_object"`, "effect": `"allow"`, "resource": `"mybucket/*"`}
	for _, pair := range members {
		name, value, _ := strings.Cut(pair, ":")
		m[name] = value
	}
	var list []string
	for name, value := range m {
		if value != "" {
			list = append(list, fmt.Sprintf("%q:%s", name, value))
		}
	}
	return "{" + strings.Join(list, ",") + "}"
}

func TestPolicies(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/a/object", body: "payload"}, 201)
	get := request{method: "GET", target: "/mybucket/a/object", accessKey: otherKey}
	referer := func(v string) request {
		return get.with(func(r *request) { r.header = append(r.header, "Referer: "+v) })
	}
	list := request{method: "GET", target: "/mybucket?prefix=a/", accessKey: otherKey}
	anonymous := func(r request) request { r.unsigned = true; return r }
	tests := []struct {
		name       string
		statements []string
		req        request
		want       int
	}{
		{"one that allows", []string{statementOf()}, get, 200},
		{"of another user", []string{statementOf(`user:"usr-third"`)}, get, 403},
		{"of several users", []string{statementOf(`user:["usr-third","usr-other"]`)}, get, 200},
		{"of everybody", []string{statementOf(`user:"*"`)}, anonymous(get), 200},
		{"of a user, asked by nobody", []string{statementOf()}, anonymous(get), 403},
		{"of another action", []string{statementOf(`action:"head_object"`)}, get, 403},
		{"of several actions", []string{statementOf(`action:["head_object","get_object"]`)}, get, 200},
		{"of another resource", []string{statementOf(`resource:"mybucket/b*"`)}, get, 403},
		{"of several resources", []string{statementOf(`resource:["mybucket/b*","mybucket/a/obj*"]`)}, get, 200},
		{"of exactly this", []string{statementOf(`resource:"mybucket/a/object"`)}, get, 200},
		{"the first decides, denying", []string{statementOf(`effect:"deny"`), statementOf(`id:"2"`)}, get, 403},
		{"the first decides, allowing", []string{statementOf(), statementOf(`id:"2"`, `effect:"deny"`)}, get, 200},
		{"one that denies the owner", []string{statementOf(`user:"*"`, `effect:"deny"`)}, request{method: "GET", target: "/mybucket/a/object"}, 403},
		{"one that says nothing of the owner", []string{statementOf(`effect:"deny"`)}, request{method: "GET", target: "/mybucket/a/object"}, 200},

		{"list the bucket", []string{statementOf(`action:"list_objects"`, `resource:"mybucket"`)}, list, 200},
		{"list without a resource", []string{statementOf(`action:"list_objects"`, `resource:`)}, list, 200},
		{"list what is below", []string{statementOf(`action:"list_objects"`, `resource:"mybucket/a/*"`)}, list, 200},
		{"list what is elsewhere", []string{statementOf(`action:"list_objects"`, `resource:"mybucket/b/*"`)}, list, 403},
		{"list, opened to everybody", []string{statementOf(`user:"*"`, `action:"list_objects"`, `resource:`)}, anonymous(list), 200},
		{"delete, opened to everybody", []string{statementOf(`user:"*"`, `action:"delete_object"`)},
			anonymous(request{method: "DELETE", target: "/mybucket/a/object"}), 403},

		{"referer that is like", []string{statementOf(`condition:{"string_like":{"Referer":["x","http://*.a.com/*"]}}`)}, referer("http://w.a.com/p"), 200},
		{"referer that is not like", []string{statementOf(`condition:{"string_like":{"Referer":"http://*.a.com/*"}}`)}, referer("http://b.com/"), 403},
		{"no referer", []string{statementOf(`condition:{"string_like":{"Referer":"http://*.a.com/*"}}`)}, get, 403},
		{"referer that must not be like, and is", []string{statementOf(`condition:{"string_not_like":{"Referer":["x","http://b.com/*"]}}`)}, referer("http://b.com/"), 403},
		{"referer that must not be like, and is not", []string{statementOf(`condition:{"string_not_like":{"Referer":["x","http://b.com/*"]}}`)}, referer("http://c.com/"), 200},
		{"referer must be absent, and is", []string{statementOf(`condition:{"is_null":{"Referer":true}}`)}, get, 200},
		{"referer must be absent, and is not", []string{statementOf(`condition:{"is_null":{"Referer":true}}`)}, referer("x"), 403},
		{"referer must be there, and is not", []string{statementOf(`condition:{"is_null":{"Referer":false}}`)}, get, 403},
		{"address within", []string{statementOf(`condition:{"ip_address":{"source_ip":["10.0.0.0/8","127.0.0.0/8"]}}`)}, get, 200},
		{"address, exactly", []string{statementOf(`condition:{"ip_address":{"source_ip":"127.0.0.1"}}`)}, get, 200},
		{"address outside", []string{statementOf(`condition:{"ip_address":{"source_ip":["10.0.0.0/8"]}}`)}, get, 403},
		{"address that must be outside, and is not", []string{statementOf(`condition:{"not_ip_address":{"source_ip":["127.0.0.0/8"]}}`)}, get, 403},
		{"two parts, one fails", []string{statementOf(`condition:{"ip_address":{"source_ip":"127.0.0.1"},"is_null":{"Referer":false}}`)}, get, 403},
		{"both parts hold", []string{statementOf(`condition:{"ip_address":{"source_ip":"127.0.0.1"},"is_null":{"Referer":true}}`)}, get, 200},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s.must(t, request{method: "PUT", target: "/mybucket?policy", body: `{"statement":[` + strings.Join(tc.statements, ",") + `]}`}, 200)
			s.must(t, tc.req, tc.want)
		})
	}
	// Settings are the owner's, whatever the policy says.
	s.must(t, request{method: "PUT", target: "/mybucket?policy", body: `{"statement":[` + statementOf(`user:"*"`, `effect:"deny"`) + `]}`}, 200)
	s.must(t, request{method: "DELETE", target: "/mybucket?policy"}, 204)
	s.must(t, request{method: "GET", target: "/mybucket/a/object"}, 200)
}

func TestPolicyIsShownWithLists(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket?policy", body: `{"statement":[` + statementOf(`condition:{"string_like":{"Referer":"x"}}`) + `]}`}, 200)
	want := `{"statement":[{"id":"1","user":["usr-other"],"action":["get_object"],"effect":"allow","resource":["mybucket/*"],"condition":{"string_like":{"Referer":["x"]}}}]}`
	if got := strings.TrimSpace(s.must(t, request{method: "GET", target: "/mybucket?policy"}, 200).body); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBadPolicies(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct{ name, statement string }{
		{"no id", statementOf("id:")}, {"long id", statementOf(`id:"` + strings.Repeat("x", 101) + `"`)},
		{"no user", statementOf("user:")}, {"empty users", statementOf("user:[]")}, {"a user's name", statementOf(`user:"William"`)},
		{"many users", statementOf(`user:["usr-` + strings.Repeat("x", 300) + `"]`)},
		{"no effect", statementOf("effect:")}, {"effect in capitals", statementOf(`effect:"Allow"`)},
		{"no action", statementOf("action:")}, {"unknown action", statementOf(`action:"get_*"`)},
		{"no resource for an object", statementOf("resource:")}, {"bucket alone and a slash", statementOf(`resource:"mybucket/"`)},
		{"another bucket", statementOf(`resource:"yourbucket/*"`)}, {"pattern for the bucket", statementOf(`resource:"*/*"`)},
		{"too long", statementOf(`resource:"mybucket/` + strings.Repeat("x", 2048) + `"`)},
		{"no network", statementOf(`condition:{"ip_address":{"source_ip":["here"]}}`)}, {"no networks", statementOf(`condition:{"ip_address":{}}`)},
		{"no referer", statementOf(`condition:{"string_like":{}}`)}, {"is_null of nothing", statementOf(`condition:{"is_null":{}}`)},
		{"a number", statementOf("user:7")}, {"numbers", statementOf("user:[7]")},
		{"one id twice", statementOf() + "," + statementOf()},
		{"too many", statementOf() + strings.Repeat(","+statementOf(), 100)},
		{"none", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.refuses(t, request{method: "PUT", target: "/mybucket?policy", body: `{"statement":[` + tc.statement + `]}`}, 400, "invalid_request")
		})
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"statement":[`+statementOf(`condition:{"string_like":{"Referer":"x*"}}`)+`]}`), "a/b")
	f.Add([]byte(`{"statement":[{"user":["*"],"action":"list_objects"}]}`), "")
	c := &call{}
	c.bucket.Name = testBucket
	f.Fuzz(func(t *testing.T, text []byte, key string) {
		frugal(t, len(text), frugalSettings, func() { _, _ = checkPolicy(c, text) })
		document, err := checkPolicy(c, text)
		if err != nil {
			if rowOf(err).status != 400 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		p := document.(policy)
		for _, who := range []subject{{}, {user: "usr-1", referer: key, hasReferer: true, ip: "127.0.0.1"}} {
			p.judge(who, []string{"get_object"}, testBucket, key)
		}
	})
}
