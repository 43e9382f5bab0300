package qingstor

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"partstore/metadata"
)

// Every setting is set, shown, replaced and deleted; one that is not set is not
// an error.
func TestSettings(t *testing.T) {
	tests := []struct {
		name, unset string
		bodies      []string
		shown       []string // "": as it was sent
		bad         []string
	}{
		{"cors", `{"cors_rules":[]}`,
			[]string{
				`{"cors_rules":[{"allowed_origin":"http://*.a.com","allowed_methods":["GET"],"allowed_headers":["*"],"expose_headers":["X-QS-Date"],"max_age_seconds":200}],"resp_vary":"enable"}`,
				`{"cors_rules":[{"allowed_origin":"*","allowed_methods":["*"]}],"future":1}`,
			},
			[]string{"", `{"cors_rules":[{"allowed_origin":"*","allowed_methods":["*"]}]}`},
			[]string{
				`{}`, `{"cors_rules":[{"allowed_methods":["GET"]}]}`, `{"cors_rules":[{"allowed_origin":"*"}]}`,
				`{"cors_rules":[{"allowed_origin":"*","allowed_methods":["PATCH"]}]}`, `{"cors_rules":[{"allowed_origin":"*","allowed_methods":"GET"}]}`,
				`{"cors_rules":[{"allowed_origin":"*","allowed_methods":["GET"],"max_age_seconds":-1}]}`,
				`{"cors_rules":[{"allowed_origin":"*","allowed_methods":["GET"],"expose_headers":["a\r\nb: c"]}]}`,
				`{"cors_rules":[{"allowed_origin":"a b","allowed_methods":["GET"]}]}`, `{"cors_rules":[{"allowed_origin":"*","allowed_methods":["GET"]}],"resp_vary":"yes"}`,
			}},
		{"policy", `{"statement":[]}`, []string{`{"statement":[{"id":"1","user":["*"],"action":["get_object"],"effect":"allow","resource":["mybucket/*"]}]}`}, []string{""}, []string{`{}`}},
		{"notification", `{"notifications":[]}`,
			[]string{`{"notifications":[{"id":"1","event_types":["create_object"],"cloudfunc":"image","cloudfunc_args":{"action":"resize"},"object_filters":"*","notify_url":"http://a.com/"}]}`},
			[]string{`{"notifications":[{"id":"1","event_types":["create_object"],"cloudfunc":"image","cloudfunc_args":{"action":"resize"},"object_filters":["*"],"notify_url":"http://a.com/"}]}`},
			[]string{
				`{"notifications":[]}`, `{"notifications":[{"event_types":["create_object"],"cloudfunc":"image"}]}`,
				`{"notifications":[{"id":"1","event_types":["read"],"cloudfunc":"image"}]}`, `{"notifications":[{"id":"1","event_types":["create_object"],"cloudfunc":"x"}]}`,
				`{"notifications":[{"id":"1","event_types":["create_object"],"cloudfunc":"image","notify_url":"file:///etc"}]}`,
			}},
		{"mirror", `{"source_site":""}`, []string{`{"source_site":"https://a.com:8443/path"}`}, []string{""},
			[]string{`{}`, `{"source_site":"a.com"}`, `{"source_site":"ftp://a.com"}`, `{"source_site":7}`}},
		{"logging", `{"target_bucket":"","target_prefix":""}`, []string{`{"target_bucket":"logs-bucket","target_prefix":"a/"}`}, []string{""},
			[]string{`{}`, `{"target_bucket":"logs-bucket"}`, `{"target_prefix":"a"}`, `{"target_bucket":"x","target_prefix":""}`}},
		{"replication", `{"rules":[]}`,
			[]string{`{"rules":[{"id":"1","status":"enabled","filters":{"prefix":"a/"},"destination":{"bucket":"copy-bucket"}},{"id":"2","status":"disabled","filters":{"prefix":"b/"},"destination":{"bucket":"copy-bucket"}}]}`,
				`{"rules":[{"id":"1","delete_marker":"Disabled","sync_marker":"enabled","destination":{"bucket":"copy-bucket","storage_class":"standard_ia"}}]}`}, []string{"",
				`{"rules":[{"id":"1","status":"ENABLED","filters":{"prefix":""},"delete_marker":"Disabled","sync_marker":"enabled","destination":{"bucket":"copy-bucket","storage_class":"standard_ia"}}]}`},
			[]string{
				`{}`, `{"rules":[{"id":"1","status":"on","destination":{"bucket":"copy-bucket"}}]}`, `{"rules":[{"id":"` + strings.Repeat("x", 256) + `","destination":{"bucket":"copy-bucket"}}]}`,
				`{"rules":[{"id":"1","delete_marker":"yes","destination":{"bucket":"copy-bucket"}}]}`, `{"rules":[{"id":"1","sync_marker":"no","destination":{"bucket":"copy-bucket"}}]}`,
				`{"rules":[{"id":"1","destination":{"bucket":"copy-bucket","storage_class":"COLD"}}]}`,
				`{"rules":[{"id":"1","status":"enabled","filters":{"prefix":"a"},"destination":{"bucket":"copy-bucket"}},{"id":"2","status":"enabled","filters":{"prefix":"a/b"},"destination":{"bucket":"copy-bucket"}}]}`,
				`{"rules":[{"id":"1","status":"enabled","filters":{"prefix":"a"},"destination":{"bucket":"copy-bucket"}},{"id":"2","status":"enabled","filters":{"prefix":"b"},"destination":{"bucket":"other-bucket"}}]}`,
			}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t)
			target := "/mybucket?" + tc.name
			shows := func(want string) {
				t.Helper()
				if got := strings.TrimSpace(s.must(t, request{method: "GET", target: target}, 200).body); got != want {
					t.Errorf("shown\n%s, want\n%s", got, want)
				}
			}
			shows(tc.unset)
			last := tc.unset
			for i, body := range tc.bodies {
				s.must(t, request{method: "PUT", target: target, body: body}, 200)
				if last = tc.shown[i]; last == "" {
					last = body
				}
				shows(last)
			}
			for _, bad := range append(tc.bad, "[]", "7") {
				s.refuses(t, request{method: "PUT", target: target, body: bad}, 400, "invalid_request")
			}
			s.refuses(t, request{method: "PUT", target: target, body: "not JSON"}, 400, "invalid_json")
			s.refuses(t, request{method: "PUT", target: target, body: strings.Repeat(" ", maxSettingBody+1)}, 400, "invalid_request")
			shows(last)
			s.must(t, request{method: "DELETE", target: target}, 204)
			shows(tc.unset)
			s.must(t, request{method: "DELETE", target: target}, 204)
		})
	}
}

func TestVersioningIsOff(t *testing.T) {
	s := newServer(t)
	shows := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(s.must(t, request{method: "GET", target: "/mybucket?versioning"}, 200).body); got != want {
			t.Errorf("shown %s, want %s", got, want)
		}
	}
	shows(`{"status":"DISABLED"}`)
	s.refuses(t, request{method: "PUT", target: "/mybucket?versioning", body: `{"status":"ENABLED"}`}, 501, "not_implemented")
	s.refuses(t, request{method: "PUT", target: "/mybucket?versioning", body: `{"status":"x"}`}, 400, "invalid_request")
	s.must(t, request{method: "PUT", target: "/mybucket?versioning", body: `{"status":"SUSPENDED"}`}, 200)
	shows(`{"status":"SUSPENDED"}`)
}

func TestLifecycleDocuments(t *testing.T) {
	s := newServer(t)
	put := func(rules string) request {
		return request{method: "PUT", target: "/mybucket?lifecycle", body: `{"rule":[` + rules + `]}`}
	}
	const expire, abort = `{"id":"e","status":"Enabled","filter":{"prefix":"tmp/"},"expiration":{"days":3}}`,
		`{"id":"a","status":"enabled","abort_incomplete_multipart_upload":{"days_after_initiation":7}}`
	const move = `{"id":"m","status":"disabled","filter":{"prefix":"x/"},"transition":{"days":30,"storage_class":"STANDARD_IA"}}`
	s.must(t, put(expire+","+abort+","+move), 200)
	got := s.must(t, request{method: "GET", target: "/mybucket?lifecycle"}, 200).body
	for _, want := range []string{`"filter":{"prefix":""}`, `"state":"unchecked"`, `"created":1439731510`, `"storage_class":"STANDARD_IA"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	for name, rules := range map[string]string{
		"none": "", "no id": `{"status":"enabled","expiration":{"days":3}}`, "no status": `{"id":"1","expiration":{"days":3}}`,
		"no action": `{"id":"1","status":"enabled"}`, "two actions": `{"id":"1","status":"enabled","expiration":{"days":3},"abort_incomplete_multipart_upload":{"days_after_initiation":7}}`,
		"no days": `{"id":"1","status":"enabled","expiration":{}}`, "days below 1": `{"id":"1","status":"enabled","expiration":{"days":0}}`,
		"a fraction": `{"id":"1","status":"enabled","expiration":{"days":1.5}}`, "too many days": `{"id":"1","status":"enabled","expiration":{"days":9999999}}`,
		"early transition": `{"id":"1","status":"enabled","transition":{"days":29,"storage_class":"STANDARD_IA"}}`,
		"another class":    `{"id":"1","status":"enabled","transition":{"days":30,"storage_class":"GLACIER"}}`,
		"one id twice":     expire + "," + strings.Replace(expire, "tmp/", "other/", 1),
		"one wish twice":   expire + "," + strings.Replace(expire, `"e"`, `"e2"`, 1),
		"gone before moved": `{"id":"1","status":"enabled","filter":{"prefix":"x"},"expiration":{"days":30}},` +
			`{"id":"2","status":"enabled","filter":{"prefix":"x/y"},"transition":{"days":30,"storage_class":"STANDARD_IA"}}`,
	} {
		a := s.do(t, put(rules))
		if a.status != 400 || a.code() != "invalid_request" {
			t.Errorf("%s: %v", name, a)
		}
	}
	s.refuses(t, put(`{"id":"1","status":"enabled","noncurrent_version_expiration":{"days":3}}`), 501, "not_implemented")
}

// A rule has an effect a day after it was first given, however often it is
// given again.
func TestLifecycleRulesBecomeReady(t *testing.T) {
	s := newServer(t)
	rule := `{"rule":[{"id":"e","status":"Enabled","filter":{"prefix":"tmp/"},"expiration":{"days":3}},` +
		`{"id":"d","status":"disabled","expiration":{"days":3}},{"id":"a","status":"enabled","abort_incomplete_multipart_upload":{"days_after_initiation":7}}]}`
	s.must(t, request{method: "PUT", target: "/mybucket?lifecycle", body: rule}, 200)
	stored := func() []byte { return s.settings[settingOf{testBucket, "lifecycle"}] }
	first := string(stored())
	ready := func(after time.Duration) []LifecycleRule {
		t.Helper()
		rules, err := LifecycleRules(stored(), testNow.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return rules
	}
	if rules := ready(24*time.Hour - time.Second); len(rules) != 0 {
		t.Errorf("within a day: %+v", rules)
	}
	rules := ready(24 * time.Hour)
	if len(rules) != 2 || rules[0] != (LifecycleRule{Prefix: "tmp/", ExpireDays: 3}) || rules[1] != (LifecycleRule{AbortDays: 7}) {
		t.Errorf("after a day: %+v", rules)
	}
	s.later.Store(int64(time.Hour))
	s.must(t, request{method: "PUT", target: "/mybucket?lifecycle", body: rule, date: testNow.Add(time.Hour).Format(http.TimeFormat)}, 200)
	if string(stored()) != first {
		t.Errorf("given again: %s, was %s", stored(), first)
	}
	s.must(t, request{method: "PUT", target: "/mybucket?lifecycle", body: strings.ReplaceAll(rule, `"days":3`, `"days":4`), date: testNow.Add(time.Hour).Format(http.TimeFormat)}, 200)
	if rules := ready(24 * time.Hour); len(rules) != 1 {
		t.Errorf("a changed rule is not a new one: %+v", rules)
	}
}

// Whatever a client sends as a setting is refused with a status of 400 or 501,
// or kept in a form that is judged the same and shown.
func FuzzSettings(f *testing.F) {
	names := []string{"acl", "cors", "policy", "notification", "mirror", "logging", "replication", "versioning", "lifecycle"}
	for i, text := range []string{
		`{"acl":[{"grantee":{"type":"user","id":"usr-1"},"permission":"READ"}]}`,
		`{"cors_rules":[{"allowed_origin":"*","allowed_methods":["GET"]}]}`,
		`{"statement":[` + statementOf() + `]}`,
		`{"notifications":[{"id":"1","event_types":["create_object"],"cloudfunc":"image"}]}`,
		`{"source_site":"http://a.com"}`, `{"target_bucket":"logs-bucket","target_prefix":""}`,
		`{"rules":[{"id":"1","status":"enabled","destination":{"bucket":"copy-bucket"}}]}`, `{"status":"SUSPENDED"}`,
		`{"rule":[{"id":"e","status":"enabled","filter":{"prefix":"a"},"expiration":{"days":3}}]}`,
	} {
		f.Add(uint8(i), []byte(text))
	}
	registry := newMemory(testNow)
	registry.buckets[testBucket] = metadata.Bucket{Name: testBucket, Owner: testOwner}
	h := &handler{Config: Config{Registry: registry, Now: func() time.Time { return testNow }}}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		c := &call{handler: h, r: httptest.NewRequestWithContext(t.Context(), "PUT", "/", nil)}
		c.bucket.Name, c.bucket.Owner = testBucket, testOwner
		setting := settings[names[int(which)%len(names)]]
		frugal(t, len(text), frugalSettings, func() { _, _ = setting.check(c, text) })
		document, err := setting.check(c, text)
		if err != nil {
			if status := rowOf(err).status; status != 400 && status != 501 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		kept, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		again, err := setting.check(c, kept)
		if err != nil || !reflect.DeepEqual(again, document) {
			t.Fatalf("%q is kept as %s, which is %+v, %v", text, kept, again, err)
		}
		if _, err := setting.show(t.Context(), c, kept); err != nil {
			t.Fatalf("%s is not shown: %v", kept, err)
		}
	})
}
