package qingstor

import (
	"strings"
	"testing"
)

func TestCustomDomains(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/object", body: "payload"}, 201)
	s.must(t, request{method: "PUT", target: "/yourbucket", accessKey: otherKey}, 201)
	cname := func(method, body string) request {
		return request{method: method, target: "/mybucket?cname", body: body}
	}
	shows := func(target, want string) {
		t.Helper()
		if got := strings.TrimSpace(s.must(t, request{method: "GET", target: target}, 200).body); got != want {
			t.Errorf("%s shows %s, want %s", target, got, want)
		}
	}
	shows("/mybucket?cname", `{"cname_records":[],"count":0}`)
	s.must(t, cname("PUT", `{"domain":"Img.Example.com.","type":"normal"}`), 200)
	s.must(t, cname("PUT", `{"domain":"www.example.com","type":"website"}`), 200)
	const record = `{"domain":"img.example.com","type":"normal","created":"2015-08-16T13:25:10.000Z"}`
	shows("/mybucket?cname&type=normal", `{"cname_records":[`+record+`],"count":1}`)
	shows("/mybucket?cname=&type=", `{"cname_records":[`+record+`,{"domain":"www.example.com","type":"website","created":"2015-08-16T13:25:10.000Z"}],"count":2}`)

	// A bound domain is the bucket, for requests signed as in virtual-host style.
	for _, host := range []string{"img.example.com", "IMG.example.com:8080"} {
		r := request{method: "GET", target: "/object", host: host, date: dateD, accessKey: testKey}
		mac := request{method: "GET", target: "/mybucket/object", accessKey: testKey}.signature(dateD)
		r.unsigned, r.header = true, []string{"Authorization: QS " + testKey + ":" + mac}
		if got := s.must(t, r, 200).body; got != "payload" {
			t.Errorf("%s: got %q", host, got)
		}
	}
	s.refuses(t, request{method: "GET", target: "/object", host: "img.example.com", unsigned: true}, 403, "permission_denied")
	s.refuses(t, request{method: "PUT", target: "/yourbucket?cname", body: `{"domain":"img.example.com"}`, accessKey: otherKey}, 400, "domain_occupied")
	for _, bad := range []string{"", "localhost", "10.0.0.1", "::1", "qs.test", "x.qs.test", "a..b", "-a.com", "a b.com", "a.com/x", strings.Repeat("a.", 127) + "com"} {
		s.refuses(t, cname("PUT", `{"domain":"`+bad+`"}`), 400, "cname_error")
	}
	s.refuses(t, cname("PUT", `{"domain":"a.example.com","type":"x"}`), 400, "invalid_request")
	s.refuses(t, cname("PUT", `nothing`), 400, "invalid_json")

	s.must(t, request{method: "DELETE", target: "/yourbucket?cname", body: `{"domain":"img.example.com"}`, accessKey: otherKey}, 204)
	shows("/mybucket?cname&type=normal", `{"cname_records":[`+record+`],"count":1}`)
	s.must(t, cname("DELETE", `{"domain":"img.example.com"}`), 204)
	s.must(t, cname("DELETE", `{"domain":"img.example.com"}`), 204)
	// Its host is path style again, like any that nobody knows.
	s.must(t, request{method: "GET", target: "/mybucket/object", host: "img.example.com"}, 200)
}

func FuzzCNAME(f *testing.F) {
	f.Add([]byte(`{"domain":"img.example.com","type":"website"}`))
	f.Add([]byte(`{"domain":"a.qs.test."}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := &call{handler: &handler{bases: []string{"qs.test"}}}
		frugal(t, len(text), frugalBase, func() { _, _ = c.parseCNAME(text) })
		req, err := c.parseCNAME(text)
		switch {
		case err != nil && rowOf(err).status != 400:
			t.Errorf("%q: %v", text, err)
		case err == nil && (normalHost(req.Domain) != req.Domain || strings.HasSuffix("."+req.Domain, ".qs.test")):
			t.Errorf("%q binds %q", text, req.Domain)
		}
	})
}
