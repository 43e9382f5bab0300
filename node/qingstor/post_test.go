package qingstor

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

// formRequest is a form as browsers send it: name and value in turn, then the
// file. It is not signed by its headers.
func formRequest(fields ...string) request {
	return formWithFile(`filename="C:\photos\a.jpg"`, "image/jpeg", "payload", fields...)
}

func formWithFile(filename, fileType, payload string, fields ...string) request {
	var b strings.Builder
	for i := 0; i < len(fields); i += 2 {
		b.WriteString("--XX\r\nContent-Disposition: form-data; name=\"" + fields[i] + "\"\r\n\r\n" + fields[i+1] + "\r\n")
	}
	b.WriteString("--XX\r\nContent-Disposition: form-data; name=\"file\"; " + filename + "\r\n")
	if fileType != "" {
		b.WriteString("Content-Type: " + fileType + "\r\n")
	}
	b.WriteString("\r\n" + payload + "\r\n--XX\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nignored\r\n--XX--\r\n")
	return request{
		method: "POST", target: "/mybucket", body: b.String(), unsigned: true,
		header: []string{"Content-Type: multipart/form-data; boundary=XX"},
	}
}

// signedForm adds the policy of these fields and its signature.
func signedForm(fields ...string) request {
	policy := map[string]string{}
	for i := 0; i < len(fields); i += 2 {
		policy[fields[i]] = fields[i+1]
	}
	return formRequest(append(signPolicy(policy), fields...)...)
}

func signPolicy(policy any) []string {
	text, err := json.Marshal(policy)
	if err != nil {
		panic(err)
	}
	encoded := base64.StdEncoding.EncodeToString(text)
	return []string{"access_key_id", testKey, "policy", encoded, "signature", hmacBase64(testSecret, encoded)}
}

// The test vector of the wire protocol.
func TestFormSignatureVector(t *testing.T) {
	got := hmacBase64(testSecret, "eyJrZXkiOiAidXNlci90b20vJHtmaWxlbmFtZX0ifQ==")
	if want := "7NlRfxPhE/xwuvogtU3iz+TU2iN5j7ooauTnI5ywlDk="; got != want {
		t.Fatalf("signature %s, want %s", got, want)
	}
	s := newServer(t)
	s.must(t, formRequest("access_key_id", testKey, "policy", "eyJrZXkiOiAidXNlci90b20vJHtmaWxlbmFtZX0ifQ==",
		"signature", got, "key", "user/tom/${filename}"), 201)
	if got := s.body(t, "/mybucket/user/tom/a.jpg"); got != "payload" {
		t.Errorf("object is %q", got)
	}
}

func TestPostObject(t *testing.T) {
	s := newServer(t)
	a := s.must(t, signedForm("key", "a b+中", "Content-Type", "image/jpeg", "x-qs-meta-Color", "blue", "Cache-Control", "no-cache",
		"x-qs-storage-class", "STANDARD_IA", "anything", "else"), 201)
	if a.header.Get("ETag") != quoted(md5Hex("payload")) || a.body != "" {
		t.Errorf("answer %v %v", a, a.header)
	}
	got := s.must(t, request{method: "GET", target: "/mybucket/a%20b+%E4%B8%AD"}, 200)
	if h := got.header; got.body != "payload" || h.Get("Content-Type") != "image/jpeg" || h.Get("X-Qs-Meta-Color") != "blue" ||
		h.Get("Cache-Control") != "no-cache" || h.Get("X-Qs-Storage-Class") != "STANDARD_IA" {
		t.Errorf("object %v %v", got, h)
	}
	a = s.must(t, signedForm("key", "k", "redirect", "http://example.com/done?a=b"), 302)
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Host != "example.com" || u.Path != "/done" {
		t.Fatalf("redirected to %v, %v", u, err)
	}
	for name, want := range map[string]string{
		"a": "b", "status": "201", "code": "created", "message": "Object created", "request_id": a.header.Get("x-qs-request-id"),
	} {
		if u.Query().Get(name) != want {
			t.Errorf("redirected with %s=%s", name, u.Query().Get(name))
		}
	}
	// Payloads that look like what surrounds them.
	for _, payload := range []string{"", "\r\n", "\r\n--X", "\r\n--XXX\r\n", strings.Repeat("x", 1<<20)} {
		s.must(t, formWithFile(`filename="f"`, "", payload, append(signPolicy(map[string]string{"key": "odd"}), "key", "odd")...), 201)
		if got := s.must(t, request{method: "GET", target: "/mybucket/odd"}, 200); got.body != payload || got.header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%.20q came back as %.20q", payload, got.body)
		}
	}
}

func TestFormFileNames(t *testing.T) {
	tests := []struct{ filename, charset, key string }{
		{`filename="a.jpg"`, "", "a.jpg"},
		{`filename="C:\dir\a.jpg"`, "", "a.jpg"},
		{`filename="/home/me/a.jpg"`, "UTF-8", "a.jpg"},
		{`filename="中.jpg"`, "utf8", "中.jpg"},
		{"filename=\"\xd6\xd0.jpg\"", "GBK", "中.jpg"},
		{"filename=\"\xa4\xa4.jpg\"", "big5", "中.jpg"},
		{`filename=""`, "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.filename, func(t *testing.T) {
			s := newServer(t)
			policy := map[string]string{"key": "k/${filename}"}
			fields := []string{"key", "k/${filename}"}
			if tc.charset != "" {
				policy["charset"] = tc.charset
				fields = append(fields, "charset", tc.charset)
			}
			s.must(t, formWithFile(tc.filename, "", "x", append(signPolicy(policy), fields...)...), 201)
			s.with(func() {
				if _, ok := s.objects[testBucket]["k/"+tc.key]; !ok {
					t.Errorf("objects: %v", s.objects[testBucket])
				}
			})
		})
	}
}

func TestPostRefuses(t *testing.T) {
	s := newServer(t)
	good := signedForm("key", "k")
	tests := []struct {
		name   string
		req    request
		status int
		code   string
	}{
		{"nobody", formRequest("key", "k"), 403, "permission_denied"},
		{"a field that is not signed", formRequest(append(signPolicy(map[string]string{"key": "k"}), "key", "k", "x-qs-meta-a", "b")...), 400, "form_policy_violated"},
		{"another key", formRequest(append(signPolicy(map[string]string{"key": "k"}), "key", "other")...), 400, "form_policy_violated"},
		{"a field that is missing", formRequest(append(signPolicy(map[string]string{"key": "k", "redirect": "http://a"}), "key", "k")...), 400, "form_policy_violated"},
		{"a policy that is not flat", formRequest(append(signPolicy(map[string]any{"key": []string{"k"}}), "key", "k")...), 400, "form_policy_violated"},
		{"a policy that is no object", formRequest(append(signPolicy("k"), "key", "k")...), 400, "form_policy_violated"},
		{"unknown key", formRequest("access_key_id", "NOBODY", "policy", "e30=", "signature", "x", "key", "k"), 401, "invalid_access_key_id"},
		{"bad signature", formRequest("access_key_id", testKey, "policy", "e30=", "signature", hmacBase64("x", "e30="), "key", "k"), 401, "signature_not_matched"},
		{"no signature", formRequest("access_key_id", testKey, "policy", "e30=", "key", "k"), 400, "invalid_argument"},
		{"signed twice", good.with(func(r *request) { r.unsigned = false }), 400, "invalid_argument"},
		{"no key", signedForm("x-qs-meta-a", "b"), 400, "invalid_argument"},
		{"a key with a slash", signedForm("key", "/k"), 400, "invalid_object_name"},
		{"an empty key", signedForm("key", ""), 400, "invalid_object_name"},
		{"another type", signedForm("key", "k", "content-type", "image/png"), 400, "invalid_argument"},
		{"bad charset", signedForm("key", "${filename}", "charset", "latin1"), 400, "invalid_argument"},
		{"bad redirect", signedForm("key", "k", "redirect", "javascript:alert(1)"), 400, "invalid_argument"},
		{"bad class", signedForm("key", "k", "x-qs-storage-class", "COLD"), 400, "invalid_request"},
		{"encryption", signedForm("key", "k", "x-qs-encryption-customer-algorithm", "AES256"), 501, "not_implemented"},
		{"a field twice", formRequest(append(signPolicy(map[string]string{"key": "k"}), "key", "k", "KEY", "k")...), 400, "invalid_request"},
		{"no boundary", good.with(func(r *request) { r.header = []string{"Content-Type: multipart/form-data"} }), 400, "invalid_request"},
		{"no form", good.with(func(r *request) { r.body = "payload" }), 400, "invalid_request"},
		{"no file", good.with(func(r *request) {
			r.body = r.body[:strings.Index(r.body, "--XX\r\nContent-Disposition: form-data; name=\"file\"")] + "--XX--\r\n"
		}), 400, "invalid_request"},
		{"cut in the file", good.with(func(r *request) { r.body = r.body[:strings.Index(r.body, "load\r\n")] }), 400, "incomplete_body"},
		{"too many bytes", signedForm("key", "k", "x", strings.Repeat("x", maxFormBytes)), 400, "invalid_request"},
		{"a digest of the form", good.with(func(r *request) { r.header = append(r.header, "Content-MD5: "+md5Hex(r.body)) }), 400, "invalid_argument"},
		{"not of this bucket", good.with(func(r *request) { r.target = "/others-bucket" }), 403, "permission_denied"},
	}
	s.must(t, request{method: "PUT", target: "/others-bucket", accessKey: otherKey}, 201)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) { s.refuses(t, tc.req, tc.status, tc.code) })
	}
	s.with(func() {
		if len(s.objects[testBucket]) > 0 {
			t.Errorf("objects: %v", s.objects[testBucket])
		}
	})
	s.must(t, formRequest("key", "k").with(func(r *request) { r.unsigned = false }), 201) // signed by its headers
	s.set(t, "acl", grantTo(everybody, "WRITE"))
	s.must(t, formRequest("key", "by anybody"), 201)
}

func FuzzForm(f *testing.F) {
	f.Add(formRequest("key", "k", "charset", "GBK").body)
	f.Add("--XX\r\n\r\n\r\n--XX--")
	f.Add("--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\\\"\r\n\r\n\r\n--XX")
	f.Fuzz(func(t *testing.T, body string) {
		frugal(t, len(body), frugalBase, func() {
			form, err := readForm("multipart/form-data; boundary=XX", strings.NewReader(body))
			if err == nil {
				_, _ = io.Copy(io.Discard, form.file)
			}
		})
		form, err := readForm("multipart/form-data; boundary=XX", iotest.OneByteReader(strings.NewReader(body)))
		if err != nil {
			if rowOf(err).status != 400 {
				t.Fatalf("%v is no fault of the client's", err)
			}
			return
		}
		size := len(form.filename) + len(form.fileType)
		for name, value := range form.fields {
			size += len(name) + len(value)
		}
		n, _ := io.Copy(io.Discard, form.file)
		if int(n)+size > len(body)*4 || len(form.fields) > maxFormFields {
			t.Fatalf("%d bytes of fields and %d of the file, out of %d", size, n, len(body))
		}
		if key, err := form.key(); err == nil && checkKey(key) != nil {
			t.Fatalf("key %q", key)
		}
		_, _ = form.header()
		_ = form.obeys([]byte(body))
	})
}
