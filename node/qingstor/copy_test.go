package qingstor

import (
	"fmt"
	"strings"
	"testing"

	"partstore/metadata"
)

// copyTo is a request to copy or move to a target.
func copyTo(target, kind, source string, header ...string) request {
	return request{method: "PUT", target: target, header: append([]string{"x-qs-" + kind + "-source: " + source}, header...)}
}

func (s *server) body(t *testing.T, target string) string {
	t.Helper()
	return s.must(t, request{method: "GET", target: target}, 200).body
}

func TestCopyObject(t *testing.T) {
	s := newHello(t, "Content-Type: text/plain", "x-qs-meta-color: blue", "x-qs-storage-class: STANDARD_IA")
	s.must(t, request{method: "PUT", target: "/other-bucket"}, 201)
	tests := []struct {
		name              string
		header            []string
		kind, meta, class string // of the copy
	}{
		{"as it is", []string{"Content-Type: image/png", "x-qs-meta-color: red", "x-qs-meta-size: 1"}, "text/plain", "blue", "STANDARD"},
		{"as it is, said so", []string{"x-qs-metadata-directive: copy", "x-qs-meta-color: red"}, "text/plain", "blue", "STANDARD"},
		{"with a class", []string{"x-qs-storage-class: STANDARD_IA"}, "text/plain", "blue", "STANDARD_IA"},
		{"replaced", []string{"x-qs-metadata-directive: Replace", "Content-Type: image/png", "x-qs-meta-color: red"}, "image/png", "red", "STANDARD"},
		{"replaced by nothing", []string{"x-qs-metadata-directive: REPLACE"}, "application/octet-stream", "", "STANDARD"},
	}
	for i, tc := range tests {
		for _, target := range []string{fmt.Sprint("/mybucket/copy", i), fmt.Sprint("/other-bucket/copy", i)} {
			t.Run(tc.name, func(t *testing.T) {
				a := s.must(t, copyTo(target, "copy", "/mybucket/hello", tc.header...), 201)
				if a.body != "" || a.header.Get("ETag") != helloETag {
					t.Errorf("answer %v, ETag %s", a, a.header.Get("ETag"))
				}
				got := s.must(t, request{method: "GET", target: target}, 200)
				if got.body != helloBody || got.header.Get("ETag") != helloETag {
					t.Errorf("copy is %q, ETag %s", got.body, got.header.Get("ETag"))
				}
				if h := got.header; h.Get("Content-Type") != tc.kind || h.Get("X-Qs-Meta-Color") != tc.meta || h.Get("X-Qs-Storage-Class") != tc.class || h.Get("X-Qs-Meta-Size") != "" {
					t.Errorf("headers %v", h)
				}
			})
		}
	}
	if got := s.must(t, request{method: "HEAD", target: "/mybucket/hello"}, 200).header; got.Get("X-Qs-Meta-Color") != "blue" || got.Get("X-Qs-Storage-Class") != "STANDARD_IA" {
		t.Errorf("the source has changed: %v", got)
	}
}

// A copy to itself changes what it is told to change, and nothing it is not.
func TestCopyToItself(t *testing.T) {
	s := newHello(t, "Content-Type: text/plain", "x-qs-storage-class: STANDARD_IA")
	tests := []struct {
		name        string
		header      []string
		copies      int
		kind, class string
	}{
		{"without a word", []string{"Content-Type: image/png"}, 0, "text/plain", "STANDARD_IA"},
		{"of the same class", []string{"x-qs-storage-class: STANDARD_IA"}, 0, "text/plain", "STANDARD_IA"},
		{"of another class", []string{"x-qs-storage-class: STANDARD"}, 1, "text/plain", "STANDARD"},
		{"replaced", []string{"x-qs-metadata-directive: REPLACE", "Content-Type: image/png"}, 1, "image/png", "STANDARD"},
		{"replaced by the same", []string{"x-qs-metadata-directive: REPLACE", "Content-Type: image/png"}, 0, "image/png", "STANDARD"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s.with(func() { s.copies = 0 })
			if a := s.must(t, copyTo("/mybucket/hello", "copy", "/mybucket/hello", tc.header...), 201); a.header.Get("ETag") != helloETag {
				t.Errorf("ETag %s", a.header.Get("ETag"))
			}
			got := s.must(t, request{method: "GET", target: "/mybucket/hello"}, 200)
			if got.body != helloBody || got.header.Get("Content-Type") != tc.kind || got.header.Get("X-Qs-Storage-Class") != tc.class {
				t.Errorf("is %v %v", got, got.header)
			}
			s.with(func() {
				if s.copies != tc.copies {
					t.Errorf("%d copies made, want %d", s.copies, tc.copies)
				}
			})
		})
	}
}

func TestMoveObject(t *testing.T) {
	s := newHello(t, "x-qs-meta-color: blue", "x-qs-storage-class: STANDARD_IA")
	s.must(t, request{method: "PUT", target: "/other-bucket"}, 201)
	s.must(t, request{method: "PUT", target: "/other-bucket/there", body: "in the way"}, 201)
	from := "/mybucket/hello"
	for _, to := range []string{"/mybucket/hello", "/mybucket/hello2", "/other-bucket/there"} {
		if a := s.must(t, copyTo(to, "move", from, "Content-Type: image/png"), 201); a.header.Get("ETag") != helloETag {
			t.Errorf("ETag %s", a.header.Get("ETag"))
		}
		got := s.must(t, request{method: "GET", target: to}, 200)
		if got.body != helloBody || got.header.Get("X-Qs-Meta-Color") != "blue" || got.header.Get("X-Qs-Storage-Class") != "STANDARD_IA" || got.header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("moved to %s: %v %v", to, got, got.header)
		}
		if from != to {
			s.refuses(t, request{method: "GET", target: from}, 404, "object_not_exists")
		}
		from = to
	}
}

// What clients send as the source: percent-encoded, raw, or as forms do.
func TestSourceNames(t *testing.T) {
	s := newServer(t)
	objects := map[string]string{ // by the raw target that makes them
		"dir/a":                "plain",
		"a%20b":                "blank",
		"a+b":                  "plus",
		"%25zz":                "a percent sign that decodes nothing",
		"%2541":                "what looks encoded, and is not",
		"%E4%B8%AD":            "encoded as it should be",
		"!@%23$%25%5E&*()%60~": "all the signs",
		"c%20d":                "blank, once written as a plus",
	}
	for key, body := range objects {
		s.must(t, request{method: "PUT", target: "/mybucket/" + key, body: body}, 201)
	}
	tests := []struct{ source, key string }{
		{"/mybucket/dir/a", "dir/a"},
		{"mybucket/dir/a", "dir/a"},
		{"/mybucket/dir%2Fa", "dir/a"},
		{"/mybucket/a%20b", "a%20b"},
		{"/mybucket/a b", "a%20b"},
		{"/mybucket/a+b", "a+b"},
		{"/mybucket/a%2Bb", "a+b"},
		{"/mybucket/c+d", "c%20d"},
		{"/mybucket/%zz", "%25zz"},
		{"/mybucket/%25zz", "%25zz"},
		{"/mybucket/%41", "%2541"}, // no object A
		{"/mybucket/%2541", "%2541"},
		{"/mybucket/%E4%B8%AD", "%E4%B8%AD"},
		{"/mybucket/%e4%b8%ad", "%E4%B8%AD"},
		{"/mybucket/!@#$%^&*()`~", "!@%23$%25%5E&*()%60~"},
	}
	for _, tc := range tests {
		t.Run(tc.source, func(t *testing.T) {
			s.must(t, copyTo("/mybucket/copy", "copy", tc.source), 201)
			if got := s.body(t, "/mybucket/copy"); got != objects[tc.key] {
				t.Errorf("%q copied, want %q", got, objects[tc.key])
			}
		})
	}
	s.must(t, request{method: "PUT", target: "/mybucket/A", body: "the likelier reading"}, 201)
	s.must(t, copyTo("/mybucket/copy", "copy", "/mybucket/%41"), 201)
	if got := s.body(t, "/mybucket/copy"); got != "the likelier reading" {
		t.Errorf("%q copied", got)
	}
}

func FuzzSourceNames(f *testing.F) {
	for _, s := range []string{"/mybucket/a%20b", "mybucket/%", "/", "", "/mybucket/%e4%b8%ad+%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		names, err := sourceNames(header)
		if (err == nil) != (len(names) > 0) || len(names) > 3 {
			t.Fatalf("%d names, %v", len(names), err)
		}
		for _, n := range names {
			if !validBucketName(n.bucket) || checkKey(n.key) != nil {
				t.Fatalf("%+v is no name", n)
			}
		}
	})
}

func TestCopyRefuses(t *testing.T) {
	s := newHello(t)
	s.must(t, request{method: "PUT", target: "/others-bucket", accessKey: otherKey}, 201)
	s.must(t, request{method: "PUT", target: "/others-bucket/secret", body: "x", accessKey: otherKey}, 201)
	s.with(func() {
		s.objects[testBucket]["large"] = memoryObject{Object: metadata.Object{Bucket: testBucket, Key: "large", Size: metadata.MaxPartSize + 1}}
	})
	id := s.initiate(t, "target")
	part := "/mybucket/target?part_number=0&upload_id=" + id
	unknown := "/mybucket/target?part_number=0&upload_id=" + strings.Repeat("0", 32)
	tests := []struct {
		name   string
		req    request
		status int
		code   string
		spare  string // kinds that are not refused
	}{
		{"no bucket and key", copyTo("", "", "nonsense"), 400, "invalid_argument", ""},
		{"no key", copyTo("", "", "/mybucket/"), 400, "invalid_argument", ""},
		{"no bucket", copyTo("", "", "//hello"), 400, "invalid_argument", ""},
		{"empty", copyTo("", "", ""), 400, "invalid_argument", ""},
		{"missing object", copyTo("", "", "/mybucket/missing"), 404, "object_not_exists", ""},
		{"missing source bucket", copyTo("", "", "/missing-bucket/hello"), 404, "bucket_not_exists", ""},
		{"somebody else's", copyTo("", "", "/others-bucket/secret"), 403, "permission_denied", ""},
		{"somebody else's, perhaps missing", copyTo("", "", "/others-bucket/missing"), 403, "permission_denied", ""},
		{"too large", copyTo("", "", "/mybucket/large"), 400, "entity_too_large", "move"},
		{"with a body", copyTo("", "", "/mybucket/hello").with(func(r *request) { r.body = "x" }), 400, "invalid_request", ""},
		{"with a chunked body", copyTo("", "", "/mybucket/hello").with(func(r *request) { r.chunked = true }), 400, "invalid_request", ""},
		{"a second source", copyTo("", "", "/mybucket/hello", "x-qs-fetch-source: http://a"), 400, "invalid_request", ""},
		{"bad directive", copyTo("", "", "/mybucket/hello", "x-qs-metadata-directive: KEEP"), 400, "invalid_argument", "move part"},
		{"bad class", copyTo("", "", "/mybucket/hello", "x-qs-storage-class: COLD"), 400, "invalid_request", "move part"},
		{"bad range", copyTo("", "", "/mybucket/hello", "x-qs-copy-range: bytes=12-"), 416, "invalid_range", "copy move"},
		{"two ranges", copyTo("", "", "/mybucket/hello", "x-qs-copy-range: bytes=0-1,3-4"), 416, "invalid_range", "copy move"},
		{"if-match", copyTo("", "", "/mybucket/hello", "x-qs-KIND-source-if-match: \"x\""), 412, "precondition_failed", ""},
		{"if-none-match", copyTo("", "", "/mybucket/hello", "x-qs-KIND-source-if-none-match: "+helloETag), 412, "precondition_failed", ""},
		{"if-modified-since", copyTo("", "", "/mybucket/hello", "x-qs-KIND-source-if-modified-since: "+dateD), 412, "precondition_failed", ""},
		{"if-unmodified-since", copyTo("", "", "/mybucket/hello", "x-qs-KIND-source-if-unmodified-since: Sun, 16 Aug 2015 13:25:09 GMT"), 412, "precondition_failed", ""},
	}
	for _, kind := range []string{"copy", "move", "part"} {
		for _, tc := range tests {
			if strings.Contains(tc.spare, kind) {
				continue
			}
			t.Run(kind+" "+tc.name, func(t *testing.T) {
				verb, target := kind, "/mybucket/target"
				if kind == "part" {
					verb, target = "copy", part
				}
				req := tc.req.with(func(r *request) {
					r.target = target
					r.header[0] = strings.Replace(r.header[0], "x-qs--", "x-qs-"+verb+"-", 1)
					for i := range r.header {
						r.header[i] = strings.Replace(r.header[i], "KIND", verb, 1)
					}
				})
				s.refuses(t, req, tc.status, tc.code)
			})
		}
	}
	s.refuses(t, copyTo(unknown, "copy", "/mybucket/hello"), 404, "upload_not_exists")
	s.refuses(t, copyTo(strings.Replace(part, "target", "another", 1), "copy", "/mybucket/hello"), 404, "upload_not_exists")
	s.refuses(t, copyTo("/mybucket/target?part_number=x&upload_id="+id, "copy", "/mybucket/hello"), 400, "invalid_argument")
	s.refuses(t, copyTo("/mybucket/target?part_number=1", "copy", "/mybucket/hello"), 400, "invalid_argument")
	s.refuses(t, copyTo(part, "move", "/mybucket/hello"), 400, "invalid_request")
	s.refuses(t, request{method: "POST", target: "/mybucket/target?uploads", header: []string{"x-qs-copy-source: /mybucket/hello"}}, 400, "invalid_request")
	s.refuses(t, request{method: "GET", target: "/mybucket/target"}, 404, "object_not_exists")
	if _, parts := s.stored(id); parts != 0 {
		t.Errorf("%d parts are there", parts)
	}
}

func TestCopyConditionsHold(t *testing.T) {
	s := newHello(t)
	for _, condition := range []string{
		"if-match: " + helloETag, "if-match: \"x\", " + helloETag, "if-none-match: \"x\"",
		"if-modified-since: Sun, 16 Aug 2015 13:25:09 GMT", "if-unmodified-since: " + dateD,
	} {
		s.must(t, copyTo("/mybucket/copy", "copy", "/mybucket/hello", "x-qs-copy-source-"+condition), 201)
		s.must(t, copyTo("/mybucket/hello2", "move", "/mybucket/hello", "x-qs-move-source-"+condition), 201)
		s.must(t, copyTo("/mybucket/hello", "move", "/mybucket/hello2"), 201)
	}
	// The entity tag decides where there is one.
	s.must(t, copyTo("/mybucket/copy", "copy", "/mybucket/hello", "x-qs-copy-source-if-match: "+helloETag,
		"x-qs-copy-source-if-unmodified-since: Sun, 16 Aug 2015 13:25:09 GMT"), 201)
	s.must(t, copyTo("/mybucket/copy", "copy", "/mybucket/hello", "x-qs-copy-source-if-none-match: \"x\"",
		"x-qs-copy-source-if-modified-since: "+dateD), 201)
}

// A source that changes between being judged and being copied is judged anew.
func TestCopyIsOfWhatWasJudged(t *testing.T) {
	s := newHello(t)
	changes := 0
	s.with(func() {
		s.beforeCopy = func() {
			if changes++; changes == 1 {
				s.must(t, request{method: "PUT", target: "/mybucket/hello", body: "another"}, 201)
			}
		}
	})
	s.must(t, copyTo("/mybucket/copy", "copy", "/mybucket/hello"), 201)
	if got := s.body(t, "/mybucket/copy"); got != "another" || changes != 2 {
		t.Errorf("%q copied after %d tries", got, changes)
	}
	changes = 0
	s.must(t, request{method: "PUT", target: "/mybucket/hello", body: helloBody}, 201)
	s.refuses(t, copyTo("/mybucket/copy2", "copy", "/mybucket/hello", "x-qs-copy-source-if-match: "+helloETag), 412, "precondition_failed")
	s.with(func() {
		s.beforeCopy = func() {
			changes++
			s.must(t, request{method: "PUT", target: "/mybucket/hello", body: fmt.Sprint(changes)}, 201)
		}
	})
	s.refuses(t, copyTo("/mybucket/copy2", "copy", "/mybucket/hello"), 503, "service_unavailable")
}

func TestCopyPart(t *testing.T) {
	s := newHello(t)
	s.must(t, request{method: "PUT", target: "/mybucket/empty"}, 201)
	tests := []struct {
		source, copyRange string
		body, answer      string
	}{
		{"hello", "", helloBody, ""},
		{"hello", "bytes=0-4", "hello", "bytes 0-4/12"},
		{"hello", "bytes=7-", "world", "bytes 7-11/12"},
		{"hello", "bytes=7-100", "world", "bytes 7-11/12"},
		{"hello", "bytes=-5", "world", "bytes 7-11/12"},
		{"empty", "", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.source+" "+tc.copyRange, func(t *testing.T) {
			id := s.initiate(t, "target")
			r := copyTo("/mybucket/target?part_number=3&upload_id="+id, "copy", "/mybucket/"+tc.source)
			if tc.copyRange != "" {
				r.header = append(r.header, "x-qs-copy-range: "+tc.copyRange)
			}
			a := s.must(t, r, 201)
			if a.header.Get("X-Qs-Content-Copy-Range") != tc.answer || a.header.Get("ETag") != quoted(md5Hex(tc.body)) || a.body != "" {
				t.Errorf("answer %v %v", a, a.header)
			}
			s.must(t, request{method: "POST", target: "/mybucket/target?upload_id=" + id, body: `{"object_parts":[{"part_number":3}]}`}, 201)
			if got := s.body(t, "/mybucket/target"); got != tc.body {
				t.Errorf("copied %q, want %q", got, tc.body)
			}
		})
	}
}

// The payload of a source that cannot be read is no part.
func TestCopyPartOfWhatCannotBeRead(t *testing.T) {
	s := newHello(t)
	id := s.initiate(t, "target")
	s.with(func() { s.cut = true })
	s.refuses(t, copyTo("/mybucket/target?part_number=3&upload_id="+id, "copy", "/mybucket/hello"), 500, "internal_error")
	if _, parts := s.stored(id); parts != 0 {
		t.Errorf("%d parts are there", parts)
	}
}

// The parts of an appendable object are its own, so a copy has others.
func TestCopyOfAnAppendableObject(t *testing.T) {
	s := newHello(t, "x-qs-meta-color: blue")
	s.with(func() {
		o := s.objects[testBucket]["hello"]
		o.Appendable, o.ETag = true, "composite-1"
		s.objects[testBucket]["hello"] = o
	})
	a := s.must(t, copyTo("/mybucket/copy", "copy", "/mybucket/hello"), 201)
	got := s.must(t, request{method: "GET", target: "/mybucket/copy"}, 200)
	if got.body != helloBody || got.header.Get("X-Qs-Meta-Color") != "blue" || a.header.Get("ETag") != helloETag {
		t.Errorf("copy: %v %v", got, got.header)
	}
	s.with(func() {
		if s.copies != 0 || s.objects[testBucket]["copy"].Appendable {
			t.Errorf("%d names, %+v", s.copies, s.objects[testBucket]["copy"])
		}
	})
	s.must(t, copyTo("/mybucket/moved", "move", "/mybucket/hello"), 201)
	s.with(func() {
		if s.copies != 1 || !s.objects[testBucket]["moved"].Appendable {
			t.Errorf("%d names, %+v", s.copies, s.objects[testBucket]["moved"])
		}
	})
}
