package qingstor

import (
	"strings"
	"testing"
)

// The key and MD5 of the official suite, and another pair.
const (
	keyX    = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="
	keyXMD5 = "3I/h1kl+vSP1l12NKhxegQ=="
	keyY    = "eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXk="
	keyYMD5 = "TJoSJySrtjI4PNPoiIT6iw=="
)

// withKey adds the three headers of a key, of the given beginning.
func (r request) withKey(beginning, key, md5 string) request {
	return r.with(func(r *request) {
		r.header = append(r.header, beginning+"Encryption-Customer-Algorithm: AES256",
			beginning+"Encryption-Customer-Key: "+key, beginning+"Encryption-Customer-Key-MD5: "+md5)
	})
}

func (r request) own(key string) request {
	md5 := keyXMD5
	if key == keyY {
		md5 = keyYMD5
	}
	return r.withKey("X-QS-", key, md5)
}

func (r request) source(key string) request {
	md5 := keyXMD5
	if key == keyY {
		md5 = keyYMD5
	}
	return r.withKey("X-QS-Copy-Source-", key, md5)
}

func (a answer) tells() string {
	return a.header.Get("X-Qs-Encryption-Customer-Algorithm") + " " + a.header.Get("X-Qs-Encryption-Customer-Key-Md5")
}

const tellsX, tellsY, tellsNothing = "AES256 " + keyXMD5, "AES256 " + keyYMD5, " "

func TestCustomerKeys(t *testing.T) {
	s := newServer(t)
	expect := func(what string, a answer, status int, tells, body string) {
		t.Helper()
		if a.status != status || a.tells() != tells || body != "" && a.body != body {
			t.Errorf("%s: %v, tells %q; want %d, %q, %q", what, a, a.tells(), status, tells, body)
		}
	}
	object := func(method string) request { return request{method: method, target: "/mybucket/object"} }
	put := object("PUT")
	put.body = "payload"
	expect("put", s.do(t, put.own(keyX)), 201, tellsX, "")
	s.with(func() {
		if got := string(s.objects[testBucket]["object"].bytes); strings.Contains(got, "load") {
			t.Errorf("stored as %q", got)
		}
	})
	expect("get", s.do(t, object("GET").own(keyX)), 200, tellsX, "payload")
	expect("get a range", s.do(t, object("GET").own(keyX).with(func(r *request) { r.header = append(r.header, "Range: bytes=1-3") })), 206, tellsX, "ayl")
	expect("head", s.do(t, object("HEAD").own(keyX)), 200, tellsX, "")
	expect("head without the key", s.do(t, object("HEAD")), 200, tellsX, "")
	s.refuses(t, object("GET"), 403, "permission_denied")
	s.refuses(t, object("GET").own(keyY), 403, "permission_denied")
	s.refuses(t, object("HEAD").own(keyY), 403, "")
	list := s.must(t, request{method: "GET", target: "/mybucket"}, 200).body
	if !strings.Contains(list, `"encrypted":true`) {
		t.Errorf("listed as %s", list)
	}

	copied := func(target, source string) request {
		return request{method: "PUT", target: "/mybucket/" + target, header: []string{"X-QS-Copy-Source: /mybucket/" + source}}
	}
	s.refuses(t, copied("copy", "object"), 403, "permission_denied")
	s.refuses(t, copied("copy", "object").source(keyY), 403, "permission_denied")
	s.refuses(t, copied("copy", "object").own(keyX), 403, "permission_denied")
	expect("copy to another key", s.do(t, copied("copy", "object").source(keyX).own(keyY)), 201, tellsY, "")
	expect("get the copy", s.do(t, request{method: "GET", target: "/mybucket/copy"}.own(keyY)), 200, tellsY, "payload")
	expect("copy to the same key", s.do(t, copied("same", "object").source(keyX).own(keyX)), 201, tellsX, "")
	expect("get it", s.do(t, request{method: "GET", target: "/mybucket/same"}.own(keyX)), 200, tellsX, "payload")
	expect("copy to no key", s.do(t, copied("plain", "object").source(keyX)), 201, tellsNothing, "")
	expect("get the plain copy", s.do(t, request{method: "GET", target: "/mybucket/plain"}), 200, tellsNothing, "payload")
	expect("copy from plain to a key", s.do(t, copied("again", "plain").own(keyY)), 201, tellsY, "")
	expect("get it again", s.do(t, request{method: "GET", target: "/mybucket/again"}.own(keyY)), 200, tellsY, "payload")
	s.refuses(t, copied("copy", "plain").source(keyX), 400, "invalid_argument")
	s.refuses(t, request{method: "GET", target: "/mybucket/plain"}.own(keyX), 400, "invalid_argument")
	s.refuses(t, request{method: "HEAD", target: "/mybucket/plain"}.own(keyX), 400, "")
	expect("move, without keys", s.do(t, request{method: "PUT", target: "/mybucket/moved", header: []string{"X-QS-Move-Source: /mybucket/object"}}), 201, tellsX, "")
	expect("get what was moved", s.do(t, request{method: "GET", target: "/mybucket/moved"}.own(keyX)), 200, tellsX, "payload")
}

func TestCustomerKeysOfUploads(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/source", body: "hidden"}.own(keyY), 201)
	start := s.must(t, request{method: "POST", target: "/mybucket/object?uploads"}.own(keyX), 200)
	if start.tells() != tellsX {
		t.Errorf("initiate tells %q", start.tells())
	}
	var u struct {
		ID string `json:"upload_id"`
	}
	decode(t, start, &u)
	part := request{method: "PUT", target: partTarget("object", u.ID, 0), body: "part"}
	s.refuses(t, part, 400, "invalid_argument")
	s.refuses(t, part.own(keyY), 400, "invalid_argument")
	copyPart := request{method: "PUT", target: partTarget("object", u.ID, 0), header: []string{"X-QS-Copy-Source: /mybucket/source"}}
	s.refuses(t, copyPart.own(keyX), 403, "permission_denied")
	s.refuses(t, copyPart.source(keyY), 400, "invalid_argument")
	if a := s.must(t, copyPart.source(keyY).own(keyX), 201); a.tells() != tellsX {
		t.Errorf("copy part tells %q", a.tells())
	}
	body := `{"object_parts":[{"part_number":0}]}`
	if a := s.must(t, request{method: "POST", target: "/mybucket/object?upload_id=" + u.ID, body: body}, 201); a.tells() != tellsX {
		t.Errorf("complete tells %q", a.tells())
	}
	if got := s.must(t, request{method: "GET", target: "/mybucket/object"}.own(keyX), 200).body; got != "hidden" {
		t.Errorf("got %q", got)
	}

	// The Java SDK's own test sends a key, and no algorithm, for a plain upload.
	id := s.initiate(t, "plain")
	plain := request{method: "PUT", target: partTarget("plain", id, 0), body: "part"}
	s.must(t, plain.with(func(r *request) { r.header = append(r.header, "X-QS-Encryption-Customer-Key: plain") }), 201)
	s.refuses(t, plain.own(keyX), 400, "invalid_argument")
}

func TestBadCustomerKeys(t *testing.T) {
	s := newServer(t)
	with := func(headers ...string) request {
		return request{method: "PUT", target: "/mybucket/object", body: "x", header: headers}
	}
	const algorithm, key, md5 = "X-QS-Encryption-Customer-Algorithm: ", "X-QS-Encryption-Customer-Key: ", "X-QS-Encryption-Customer-Key-MD5: "
	for name, r := range map[string]request{
		"another algorithm": with(algorithm+"AES128", key+keyX, md5+keyXMD5), "no algorithm at all": with(algorithm, key+keyX, md5+keyXMD5),
		"lower case": with(algorithm+"aes256", key+keyX, md5+keyXMD5), "no key": with(algorithm+"AES256", md5+keyXMD5),
		"no MD5": with(algorithm+"AES256", key+keyX), "another MD5": with(algorithm+"AES256", key+keyX, md5+keyYMD5),
		"not base64": with(algorithm+"AES256", key+"!"+keyX[1:], md5+keyXMD5), "too short": with(algorithm+"AES256", key+"eHg=", md5+keyXMD5),
	} {
		a := s.do(t, r)
		if a.status != 400 || a.code() != "invalid_argument" || strings.Contains(a.body, keyX) {
			t.Errorf("%s: %v", name, a)
		}
	}
	s.must(t, request{method: "HEAD", target: "/mybucket/object"}, 404)
	s.must(t, with(key+keyX, md5+keyXMD5), 201) // without an algorithm it asks for nothing
	if got := s.must(t, request{method: "GET", target: "/mybucket/object"}, 200); got.body != "x" || got.tells() != tellsNothing {
		t.Errorf("got %v, tells %q", got, got.tells())
	}
	if log := s.log(); strings.Contains(log, keyX) {
		t.Error("a key was logged")
	}
}
