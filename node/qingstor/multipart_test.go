package qingstor

import (
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"testing"

	"partstore/internal/layout"
	"partstore/metadata"
)

const emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"

func partTarget(key, id string, number any) string {
	return fmt.Sprintf("/mybucket/%s?part_number=%v&upload_id=%s", key, number, id)
}

// big is a part of the least size that need not be the last.
var big = strings.Repeat("0123456789abcdef", metadata.MinPartSize/16)

func TestUploadLife(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "dir/large", "Content-Type: text/plain", "x-qs-meta-a: b", "Cache-Control: no-cache")
	if len(id) != 32 {
		t.Fatalf("upload ID %q", id)
	}
	s.refuses(t, request{method: "GET", target: "/mybucket/dir/large"}, 404, "object_not_exists")
	for number, body := range map[int]string{0: big, 7: "seven", 10000: "end"} {
		a := s.must(t, request{method: "PUT", target: partTarget("dir/large", id, number), body: body}, 201)
		if a.body != "" || a.header.Get("ETag") != quoted(md5Hex(body)) {
			t.Errorf("part %d: ETag %s, body %q", number, a.header.Get("ETag"), a.body)
		}
	}
	s.must(t, request{method: "PUT", target: partTarget("dir/large", id, 10000), body: "the end"}, 201)
	var list partList
	decode(t, s.must(t, request{method: "GET", target: "/mybucket/dir/large?upload_id=" + id}, 200), &list)
	want := []partItem{
		{0, metadata.MinPartSize, "2015-08-16T13:25:10.000Z", md5Hex(big)},
		{7, 5, "2015-08-16T13:25:10.000Z", md5Hex("seven")},
		{10000, 7, "2015-08-16T13:25:10.000Z", md5Hex("the end")},
	}
	if list.Count != 3 || !slices.Equal(list.Parts, want) {
		t.Errorf("parts %+v, want %+v", list, want)
	}
	// Echo the listing as the official scenario does; leave part 7 out.
	body := fmt.Sprintf(`{"object_parts":[{"part_number":0,"size":1,"created":"2015-08-16T13:25:10.000Z","etag":"%s"},{"part_number":10000,"etag":"\"%s\""}]}`,
		list.Parts[0].ETag, strings.ToUpper(list.Parts[2].ETag))
	a := s.must(t, request{method: "POST", target: "/mybucket/dir/large?upload_id=" + id, body: body}, 201)
	if a.body != "" || !strings.HasSuffix(a.header.Get("ETag"), `-2"`) {
		t.Errorf("complete: ETag %s, body %q", a.header.Get("ETag"), a.body)
	}
	got := s.must(t, request{method: "GET", target: "/mybucket/dir/large"}, 200)
	if got.body != big+"the end" || got.header.Get("Content-Type") != "text/plain" || got.header.Get("X-Qs-Meta-A") != "b" ||
		got.header.Get("Cache-Control") != "no-cache" || got.header.Get("ETag") != a.header.Get("ETag") {
		t.Errorf("object of %d bytes, %v", len(got.body), got.header)
	}
	s.refuses(t, request{method: "GET", target: "/mybucket/dir/large?upload_id=" + id}, 404, "upload_not_exists")
	s.refuses(t, request{method: "PUT", target: partTarget("dir/large", id, 0), body: "x"}, 404, "upload_not_exists")
	s.must(t, request{method: "DELETE", target: "/mybucket/dir/large?upload_id=" + id}, 204)
	s.must(t, request{method: "HEAD", target: "/mybucket/dir/large"}, 200)
}

func TestEmptyUpload(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "empty")
	a := s.must(t, request{method: "PUT", target: partTarget("empty", id, 0)}, 201)
	if a.header.Get("ETag") != `"`+emptyMD5+`"` {
		t.Errorf("ETag %s", a.header.Get("ETag"))
	}
	s.must(t, request{method: "POST", target: "/mybucket/empty?upload_id=" + id, body: `{"object_parts":[{"part_number":0}]}`}, 201)
	if got := s.must(t, request{method: "GET", target: "/mybucket/empty"}, 200).body; got != "" {
		t.Errorf("object %q", got)
	}
}

// TestUnknownUploads: every ID that is not an open upload of this very key.
func TestUnknownUploads(t *testing.T) {
	s := newServer(t)
	other := s.initiate(t, "other")
	aborted := s.initiate(t, "key")
	s.must(t, request{method: "DELETE", target: "/mybucket/key?upload_id=" + aborted}, 204)
	complete := `{"object_parts":[{"part_number":0}]}`
	ids := map[string]string{
		"of another key": other,
		"aborted":        aborted,
		"never existed":  "00000000000000000000000000000000",
		"upper case":     strings.ToUpper(other),
		"too short":      other[1:],
		"too long":       other + "0",
		"not hex":        "zz" + other[2:],
		"with blank":     other[1:] + "%20",
		"a path":         "..%2F..%2Fetc",
		"huge":           strings.Repeat("a", 10000),
	}
	for name, id := range ids {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, request{method: "PUT", target: partTarget("key", id, 0), body: "x"}, 404, "upload_not_exists")
			s.refuses(t, request{method: "GET", target: "/mybucket/key?upload_id=" + id}, 404, "upload_not_exists")
			s.refuses(t, request{method: "POST", target: "/mybucket/key?upload_id=" + id, body: complete}, 404, "upload_not_exists")
			s.must(t, request{method: "DELETE", target: "/mybucket/key?upload_id=" + id}, 204)
			// The bucket comes first, whatever the ID.
			for _, method := range []string{"PUT", "GET", "POST", "DELETE"} {
				s.refuses(t, request{method: method, target: "/missing-bucket/key?upload_id=" + id}, 404, "bucket_not_exists")
			}
		})
	}
	for _, method := range []string{"PUT", "GET", "POST", "DELETE"} {
		s.refuses(t, request{method: method, target: "/mybucket/key?upload_id="}, 400, "invalid_argument")
	}
	if _, err := s.Parts(t.Context(), s.uploads[0].UploadRef, -1, 1); err != nil {
		t.Errorf("the upload of the other key suffered: %v", err)
	}
}

func TestBadPartNumbers(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	for _, bad := range []string{"", "-1", "%2B1", "+1", "%201", "1%20", "10001", "99999999999999999999", "1.0", "1e1", "0x1", "one", "%D9%A1"} {
		s.refuses(t, request{method: "PUT", target: partTarget("key", id, bad), body: "x"}, 400, "invalid_argument")
	}
	for _, target := range []string{
		"/mybucket/key?upload_id=" + id,
		"/mybucket/key?part_number=1",
		"/mybucket/key?part_number=1&upload_id=",
		"/mybucket/key?part_number=1&part_number=1&upload_id=" + id,
		"/mybucket/key?part_number=1&upload_id=" + id + "&upload_id=" + id,
	} {
		s.refuses(t, request{method: "PUT", target: target, body: "x"}, 400, "invalid_argument")
	}
	for _, good := range []string{"0", "00", "1", "0010000"} {
		s.must(t, request{method: "PUT", target: partTarget("key", id, good), body: "x"}, 201)
	}
	s.refuses(t, request{method: "GET", target: "/mybucket/key"}, 404, "object_not_exists") // none became a PUT Object
}

func TestListParts(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	for _, n := range []int{0, 1, 2, 5, 9} {
		s.must(t, request{method: "PUT", target: partTarget("key", id, n), body: "x"}, 201)
	}
	tests := []struct{ query, want string }{
		{"", "[0 1 2 5 9]"},
		{"&limit=0", "[0 1 2 5 9]"},
		{"&limit=&part_number_marker=", "[0 1 2 5 9]"},
		{"&limit=2", "[0 1]"},
		{"&part_number_marker=0", "[1 2 5 9]"},
		{"&part_number_marker=1&limit=2", "[2 5]"},
		{"&part_number_marker=3", "[5 9]"},
		{"&part_number_marker=9", "[]"},
		{"&part_number_marker=99999999999999999999", "[]"},
		{"&limit=5000", "[0 1 2 5 9]"},
	}
	for _, tc := range tests {
		var list partList
		a := s.must(t, request{method: "GET", target: "/mybucket/key?upload_id=" + id + tc.query}, 200)
		decode(t, a, &list)
		numbers := []int{}
		for _, p := range list.Parts {
			numbers = append(numbers, int(p.Number))
		}
		if fmt.Sprint(numbers) != tc.want || list.Count != 5 || !strings.Contains(a.body, `"object_parts":[`) {
			t.Errorf("%q: %v of %d, want %s of 5", tc.query, numbers, list.Count, tc.want)
		}
	}
	for _, bad := range []string{"-1", "x", "%2B1"} {
		s.refuses(t, request{method: "GET", target: "/mybucket/key?upload_id=" + id + "&part_number_marker=" + bad}, 400, "invalid_argument")
	}
}

func TestCompleteRefuses(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	for n, body := range []string{big, "short", "end"} {
		s.must(t, request{method: "PUT", target: partTarget("key", id, n), body: body}, 201)
	}
	tests := []struct {
		name, body string
		code       string
	}{
		{"empty", "", "invalid_json"},
		{"not JSON", "{", "invalid_json"},
		{"trailing text", `{"object_parts":[{"part_number":0}]} x`, "invalid_json"},
		{"no list", `{}`, "invalid_request"},
		{"null", `null`, "invalid_request"},
		{"null list", `{"object_parts":null}`, "invalid_request"},
		{"empty list", `{"object_parts":[]}`, "invalid_request"},
		{"another type", `[]`, "invalid_request"},
		{"number as text", `{"object_parts":[{"part_number":"0"}]}`, "invalid_request"},
		{"fraction", `{"object_parts":[{"part_number":0.5}]}`, "invalid_request"},
		{"no number", `{"object_parts":[{"etag":"x"}]}`, "invalid_request"},
		{"null number", `{"object_parts":[{"part_number":null}]}`, "invalid_request"},
		{"null part", `{"object_parts":[null]}`, "invalid_request"},
		{"negative", `{"object_parts":[{"part_number":-1}]}`, "invalid_request"},
		{"too high", `{"object_parts":[{"part_number":10001}]}`, "invalid_request"},
		{"beyond int64", `{"object_parts":[{"part_number":99999999999999999999}]}`, "invalid_request"},
		{"descending", `{"object_parts":[{"part_number":1},{"part_number":0}]}`, "invalid_request"},
		{"twice", `{"object_parts":[{"part_number":0},{"part_number":0}]}`, "invalid_request"},
		{"never uploaded", `{"object_parts":[{"part_number":0},{"part_number":3}]}`, "invalid_argument"},
		{"another etag", `{"object_parts":[{"part_number":0,"etag":"` + emptyMD5 + `"}]}`, "invalid_argument"},
		{"no etag at all", `{"object_parts":[{"part_number":0,"etag":"nonsense"}]}`, "invalid_argument"},
		{"short part inside", `{"object_parts":[{"part_number":0},{"part_number":1},{"part_number":2}]}`, "entity_too_small"},
		{"too long", `{"object_parts":[` + strings.Repeat(" ", maxCompleteBody), "invalid_request"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s.refuses(t, request{method: "POST", target: "/mybucket/key?upload_id=" + id, body: tc.body}, 400, tc.code)
			s.refuses(t, request{method: "POST", target: "/mybucket/key?upload_id=" + id, body: tc.body, chunked: true}, 400, tc.code)
		})
	}
	// The upload is still open, and null or empty ETags are not given ones.
	s.must(t, request{method: "POST", target: "/mybucket/key?upload_id=" + id,
		body: `{"object_parts":[{"part_number":0,"etag":null},{"part_number":2,"etag":""}]}`}, 201)
}

func TestCompleteTakesEveryPart(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	var entries []string
	for n := range 10001 {
		entries = append(entries, fmt.Sprintf(`{"part_number":%d,"size":5242880,"created":"2015-08-16T13:25:10.000Z","etag":"%s"}`, n, emptyMD5))
	}
	s.with(func() {
		for n := range 10001 {
			p := metadata.Part{Size: metadata.MinPartSize, ETag: *mustETag(t, emptyMD5)}
			s.uploads[0].parts[layout.PartNumber(n)] = memoryPart{p, nil}
		}
	})
	s.must(t, request{method: "POST", target: "/mybucket/key?upload_id=" + id, body: `{"object_parts":[` + strings.Join(entries, ",") + `]}`}, 201)
}

func TestGivenETag(t *testing.T) {
	for header, want := range map[string]string{
		`"4072783b8efb99a9e5817067d68f61c6"`: `"4072783b8efb99a9e5817067d68f61c6"`,
		`4072783b8efb99a9e5817067d68f61c6`:   `"4072783b8efb99a9e5817067d68f61c6"`,
		`"anything-else"`:                    `"anything-else"`,
		`"a"b"`:                              "",
		`a b`:                                "",
		strings.Repeat("e", 256):             "",
	} {
		t.Run(header[:min(len(header), 20)], func(t *testing.T) {
			s := newServer(t)
			id := s.initiate(t, "key")
			s.must(t, request{method: "PUT", target: partTarget("key", id, 0), body: "x"}, 201)
			r := request{method: "POST", target: "/mybucket/key?upload_id=" + id, body: `{"object_parts":[{"part_number":0}]}`,
				header: []string{"ETag: " + header, "Content-Disposition: inline"}}
			if want == "" {
				s.refuses(t, r, 400, "invalid_argument")
				return
			}
			s.must(t, r, 201)
			a := s.must(t, request{method: "HEAD", target: "/mybucket/key"}, 200)
			if a.header.Get("ETag") != want || a.header.Get("Content-Disposition") != "inline" {
				t.Errorf("object has %v", a.header)
			}
		})
	}
}

func TestListUploads(t *testing.T) {
	s := newServer(t)
	ids := map[string]string{}
	for _, key := range []string{"b", "a/1", "c", "a/2"} {
		ids[key] = s.initiate(t, key)
	}
	second := s.initiate(t, "b")
	tests := []struct {
		query          string
		keys, prefixes string
		nextKey        string
		nextID         string
	}{
		{"", "a/1 a/2 b b c", "", "", ""},
		{"&key_marker=&limit=200&prefix=&upload_id_marker=", "a/1 a/2 b b c", "", "", ""},
		{"&delimiter=%2F", "b b c", "a/", "", ""},
		{"&delimiter=%2F&limit=1", "", "a/", "a/", ""},
		{"&delimiter=%2F&key_marker=a%2F", "b b c", "", "", ""},
		{"&prefix=a%2F", "a/1 a/2", "", "", ""},
		{"&prefix=x", "", "", "", ""},
		{"&limit=3", "a/1 a/2 b", "", "b", ids["b"]},
		{"&limit=3&key_marker=b&upload_id_marker=" + ids["b"], "b c", "", "", ""},
		{"&key_marker=b", "c", "", "", ""},
		{"&key_marker=b&upload_id_marker=" + second, "c", "", "", ""},
		{"&upload_id_marker=" + second, "a/1 a/2 b b c", "", "", ""},
		{"&upload_id_marker=nonsense", "a/1 a/2 b b c", "", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.query, func(t *testing.T) {
			a := s.must(t, request{method: "GET", target: "/mybucket?uploads=" + tc.query}, 200)
			var got uploadList
			decode(t, a, &got)
			var keys []string
			for _, u := range got.Uploads {
				keys = append(keys, u.Key)
				if len(u.UploadID) != 32 || u.Created != "2015-08-16T13:25:10.000Z" {
					t.Errorf("upload %+v", u)
				}
			}
			if strings.Join(keys, " ") != tc.keys || strings.Join(got.CommonPrefixes, " ") != tc.prefixes ||
				got.NextKeyMarker != tc.nextKey || got.NextUploadIDMarker != tc.nextID || got.HasMore != (tc.nextKey != "") {
				t.Errorf("got %v %v %q %q, want %+v", keys, got.CommonPrefixes, got.NextKeyMarker, got.NextUploadIDMarker, tc)
			}
			if got.Marker != got.KeyMarker || got.Name != "mybucket" {
				t.Errorf("echo %+v", got)
			}
			for _, member := range []string{`"uploads":[`, `"common_prefixes":[`, `"next_key_marker":`, `"next_upload_id_marker":`, `"upload_id_marker":`} {
				if !strings.Contains(a.body, member) {
					t.Errorf("no %s in %s", member, a.body)
				}
			}
		})
	}
	s.refuses(t, request{method: "GET", target: "/mybucket?uploads&key_marker=b&upload_id_marker=nonsense"}, 400, "invalid_argument")
}

func md5Hex(s string) string { return hexETag(md5.Sum([]byte(s))) }

func mustETag(t *testing.T, s string) *metadata.ETag {
	t.Helper()
	etag, err := partETag(&s)
	if err != nil {
		t.Fatal(err)
	}
	return etag
}
