package qingstor

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestBucketLife(t *testing.T) {
	s := newServer(t)
	for _, target := range []string{"/bucket-1", "/bucket-2/"} {
		s.must(t, request{method: "PUT", target: target}, 201)
		s.refuses(t, request{method: "PUT", target: target}, 409, "bucket_already_exists")
		s.refuses(t, request{method: "PUT", target: target, accessKey: otherKey}, 409, "bucket_already_exists")
		s.must(t, request{method: "HEAD", target: target}, 200)
	}
	s.must(t, request{method: "PUT", target: "/bucket-1/key", body: "x"}, 201)
	s.refuses(t, request{method: "DELETE", target: "/bucket-1"}, 409, "bucket_not_empty")
	s.must(t, request{method: "DELETE", target: "/bucket-1/key"}, 204)
	id := s.initiate(t, "key")
	s.refuses(t, request{method: "DELETE", target: "/mybucket"}, 409, "bucket_not_empty")
	s.must(t, request{method: "DELETE", target: "/mybucket/key?upload_id=" + id}, 204)
	s.must(t, request{method: "DELETE", target: "/mybucket"}, 204)
	s.must(t, request{method: "DELETE", target: "/bucket-1"}, 204)
	s.refuses(t, request{method: "DELETE", target: "/bucket-1"}, 404, "bucket_not_exists")
	s.refuses(t, request{method: "HEAD", target: "/bucket-1"}, 404, "")
	for _, name := range []string{"short", "Capital", "dot.ted-name", "a%2Fbucket", "-bucket", "%FFbucket"} {
		s.refuses(t, request{method: "PUT", target: "/" + name}, 400, "invalid_bucket_name")
		s.refuses(t, request{method: "GET", target: "/" + name}, 404, "bucket_not_exists")
	}
}

func TestVirtualHost(t *testing.T) {
	s := newServer(t)
	host := "virtual-bucket.pek3a.qs.test"
	s.must(t, request{method: "PUT", target: "/", host: host}, 201)
	s.must(t, request{method: "PUT", target: "/dir//key", host: host, body: "payload"}, 201)
	s.must(t, request{method: "GET", target: "/?prefix=dir", host: host}, 200)
	// The same object in path style, through a zone label, and as a proxy sends it.
	for _, r := range []request{
		{target: "/virtual-bucket/dir//key"},
		{target: "/virtual-bucket/dir//key", host: "sh1a.qs.test:9000"},
	} {
		r.method = "GET"
		if got := s.must(t, r, 200).body; got != "payload" {
			t.Errorf("%s %s: %q", r.host, r.target, got)
		}
	}
	mac := request{method: "GET", target: "/virtual-bucket/dir//key", accessKey: testKey}.signature(dateD)
	got := s.must(t, request{
		method: "GET", target: "http://pek3a.127.0.0.1:9000/virtual-bucket/dir//key", host: "pek3a.127.0.0.1:9000",
		unsigned: true, header: []string{"Authorization: QS " + testKey + ":" + mac},
	}, 200).body
	if got != "payload" {
		t.Errorf("absolute form: %q", got)
	}
}

func TestBucketStats(t *testing.T) {
	s := newServer(t)
	check := func(count, size int) {
		t.Helper()
		a := s.must(t, request{method: "GET", target: "/mybucket?stats"}, 200)
		want := fmt.Sprintf(`{"name":"mybucket","location":"pek3a","url":"http://mybucket.pek3a.qs.test",`+
			`"created":"2015-08-16T13:25:10Z","status":"active","count":%d,"size":%d}`, count, size)
		if strings.TrimSpace(a.body) != want {
			t.Errorf("got  %s\nwant %s", a.body, want)
		}
	}
	check(0, 0)
	s.must(t, request{method: "PUT", target: "/mybucket/a", body: "four"}, 201)
	s.must(t, request{method: "PUT", target: "/mybucket/b"}, 201)
	s.initiate(t, "open")
	check(2, 4)
}

func TestListLocations(t *testing.T) {
	s := newServer(t)
	for host, endpoint := range map[string]string{
		"qs.test": "pek3a.qs.test", "qs.test:9000": "pek3a.qs.test:9000", "pek3a.qs.test": "pek3a.qs.test",
		"127.0.0.1:9000": "127.0.0.1:9000", "elsewhere.example": "pek3a.qs.test",
	} {
		for _, query := range []string{"", "&lang=zh-cn", "&lang=en_US"} {
			a := s.must(t, request{method: "GET", target: "/?location" + query, host: host, unsigned: true}, 200)
			want := `{"locations":[{"id":"pek3a","name":"pek3a","endpoint":"` + endpoint + `"}]}`
			if strings.TrimSpace(a.body) != want {
				t.Errorf("%s: got %s, want %s", host, a.body, want)
			}
		}
	}
	s.handler.bases = nil
	if a := s.must(t, request{method: "GET", target: "/?location", host: "storage.example:80"}, 200); !strings.Contains(a.body, `"endpoint":"storage.example:80"`) {
		t.Errorf("without a base domain: %s", a.body)
	}
}

func TestListBuckets(t *testing.T) {
	s := newServer(t)
	for i := range 4 {
		s.must(t, request{method: "PUT", target: fmt.Sprintf("/bucket-%d", i)}, 201)
	}
	s.must(t, request{method: "PUT", target: "/others-bucket", accessKey: otherKey}, 201)
	tests := []struct {
		query, location string
		count           int
		want            string
	}{
		{"", "", 5, "bucket-0 bucket-1 bucket-2 bucket-3 mybucket"},
		{"?limit=0&offset=0", "", 5, "bucket-0 bucket-1 bucket-2 bucket-3 mybucket"},
		{"?limit=2", "", 5, "bucket-0 bucket-1"},
		{"?limit=2&offset=4", "", 5, "mybucket"},
		{"?offset=9", "", 5, ""},
		{"", "pek3a", 5, "bucket-0 bucket-1 bucket-2 bucket-3 mybucket"},
		{"", "sh1a", 0, ""},
	}
	for _, tc := range tests {
		t.Run(tc.query+" "+tc.location, func(t *testing.T) {
			r := request{method: "GET", target: "/" + tc.query}
			if tc.location != "" {
				r.header = []string{"Location: " + tc.location}
			}
			var got bucketList
			decode(t, s.must(t, r, 200), &got)
			var names []string
			for _, b := range got.Buckets {
				names = append(names, b.Name)
				want := bucketItem{b.Name, "pek3a", "http://" + b.Name + ".pek3a.qs.test", "2015-08-16T13:25:10Z"}
				if b != want {
					t.Errorf("got %+v, want %+v", b, want)
				}
			}
			if strings.Join(names, " ") != tc.want || got.Count != tc.count || got.Buckets == nil {
				t.Errorf("got %d %v, want %d %s", got.Count, names, tc.count, tc.want)
			}
		})
	}
	for _, query := range []string{"?limit=-1", "?limit=x", "?offset=-1", "?offset=1.5"} {
		s.refuses(t, request{method: "GET", target: "/" + query}, 400, "invalid_argument")
	}
}

func TestListObjects(t *testing.T) {
	s := newServer(t)
	for _, key := range []string{"a", "dir/", "dir/1", "dir/2", "dir/sub/3", "dir2/4", "z"} {
		s.must(t, request{method: "PUT", target: "/mybucket/" + key, body: key, header: []string{"Content-Type: text/plain"}}, 201)
	}
	tests := []struct{ query, keys, prefixes, next string }{
		{"", "a dir/ dir/1 dir/2 dir/sub/3 dir2/4 z", "", ""},
		{"prefix=&delimiter=&marker=&limit=0", "a dir/ dir/1 dir/2 dir/sub/3 dir2/4 z", "", ""},
		{"delimiter=%2F", "a z", "dir/ dir2/", ""},
		{"delimiter=%2F&limit=2", "a", "dir/", "dir/"},
		{"delimiter=%2F&limit=2&marker=dir%2F", "z", "dir2/", ""},
		{"delimiter=%2F&limit=4", "a z", "dir/ dir2/", ""},
		{"delimiter=%2F&prefix=dir%2F", "dir/ dir/1 dir/2", "dir/sub/", ""},
		{"prefix=dir%2F&limit=1", "dir/", "", "dir/"},
		{"marker=dir%2F2", "dir/sub/3 dir2/4 z", "", ""},
		{"marker=Next", "a dir/ dir/1 dir/2 dir/sub/3 dir2/4 z", "", ""},
		{"marker=zz", "", "", ""},
		{"prefix=nothing", "", "", ""},
		{"limit=99999999999999999999", "a dir/ dir/1 dir/2 dir/sub/3 dir2/4 z", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.query, func(t *testing.T) {
			a := s.must(t, request{method: "GET", target: "/mybucket?" + tc.query}, 200)
			var got objectList
			decode(t, a, &got)
			var keys []string
			for _, k := range got.Keys {
				keys = append(keys, k.Key)
			}
			if strings.Join(keys, " ") != tc.keys || strings.Join(got.CommonPrefixes, " ") != tc.prefixes ||
				got.NextMarker != tc.next || got.HasMore != (tc.next != "") {
				t.Errorf("got %v %v next %q more %v, want %q %q %q", keys, got.CommonPrefixes, got.NextMarker, got.HasMore, tc.keys, tc.prefixes, tc.next)
			}
			asked, _ := url.ParseQuery(tc.query)
			if got.Name != "mybucket" || got.Prefix != asked.Get("prefix") || got.Delimiter != asked.Get("delimiter") || got.Marker != asked.Get("marker") {
				t.Errorf("echo is %+v", got)
			}
			for _, member := range []string{`"keys":[`, `"common_prefixes":[`, `"next_marker":`, `"has_more":`, `"owner":{"id":"usr-root"`, `"limit":`} {
				if !strings.Contains(a.body, member) {
					t.Errorf("no %s in %s", member, a.body)
				}
			}
		})
	}
	var got objectList
	decode(t, s.must(t, request{method: "GET", target: "/mybucket?limit=1"}, 200), &got)
	want := objectItem{"a", 1, `"0cc175b9c0f1b6a831c399e269772661"`, "text/plain", "2015-08-16T13:25:10.000Z", 1439731510, false, "STANDARD"}
	if len(got.Keys) != 1 || got.Keys[0] != want {
		t.Errorf("got %+v, want %+v", got.Keys, want)
	}
}

func TestListLimits(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "key")
	echoed := map[string]int{"": 200, "limit=0": 200, "limit=": 200, "limit=7": 7, "limit=1000": 1000, "limit=1001": 1000}
	for _, target := range []string{"/mybucket?", "/mybucket?uploads&"} {
		for query, want := range echoed {
			var got struct{ Limit int }
			decode(t, s.must(t, request{method: "GET", target: target + query}, 200), &got)
			if got.Limit != want {
				t.Errorf("%s%s: limit %d, want %d", target, query, got.Limit, want)
			}
		}
	}
	for _, target := range []string{"/mybucket?", "/mybucket?uploads&", "/mybucket/key?upload_id=" + id + "&"} {
		for _, bad := range []string{"-1", "+1", "x", "%201", "1.0", "0x10"} {
			s.refuses(t, request{method: "GET", target: target + "limit=" + bad}, 400, "invalid_argument")
		}
	}
}

// oddKeys are keys as they travel, and what they must be inside.
var oddKeys = []struct{ raw, key string }{
	{"/", "/"},
	{"//a//b//", "//a//b//"},
	{"./a/../b/.", "./a/../b/."},
	{"..", ".."},
	{"a%2Fb", "a/b"},
	{"a%252Fb", "a%2Fb"},
	{"%25", "%"},
	{"%2541", "%41"},
	{"a+b", "a+b"},
	{"a%2Bb", "a+b"},
	{"a%20b", "a b"},
	{"%20", " "},
	{"a=b&c", "a=b&c"},
	{"a%3Fb%23c", "a?b#c"},
	{"%22%27%60", "\"'`"},
	{"%3C%3E%3A%22%7B%7D%7C_+", `<>:"{}|_+`},
	{"!@%23$%25%5E&*()%60~", "!@#$%^&*()`~"},
	{",.%2F%3B%27%5B%5D%5C-=", `,./;'[]\-=`},
	{"%E4%B8%AD%E6%96%87", "中文"},
	{"%F0%9F%98%80", "😀"},
	{"%D7%A9%D7%9C%D7%95%D7%9D", "שלום"},
	{"a%1Fb", "a\x1fb"},
	{"a%00b", "a\x00b"},
	{"a%0D%0Ab", "a\r\nb"},
	{"%7f", "\x7f"},
	{strings.Repeat("k", 1023), strings.Repeat("k", 1023)},
	{strings.Repeat("%E4%B8%AD", 341), strings.Repeat("中", 341)},
}

func TestOddKeysRoundTrip(t *testing.T) {
	for _, tc := range oddKeys {
		name := tc.raw[:min(len(tc.raw), 40)]
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			target := "/mybucket/" + tc.raw
			s.must(t, request{method: "PUT", target: target, body: tc.key}, 201)
			if got := s.must(t, request{method: "GET", target: target}, 200).body; got != tc.key {
				t.Errorf("body %q", got)
			}
			var list objectList
			decode(t, s.must(t, request{method: "GET", target: "/mybucket"}, 200), &list)
			if len(list.Keys) != 1 || list.Keys[0].Key != tc.key {
				t.Errorf("listed as %+v, want %q", list.Keys, tc.key)
			}
			decode(t, s.must(t, request{method: "GET", target: "/mybucket?limit=1&prefix=" + url.QueryEscape(tc.key)}, 200), &list)
			if len(list.Keys) != 1 || list.Prefix != tc.key {
				t.Errorf("by prefix %+v", list)
			}
			var created uploadCreated
			decode(t, s.must(t, request{method: "POST", target: target + "?uploads="}, 200), &created)
			if created.Key != tc.key || created.Bucket != "mybucket" {
				t.Errorf("upload of %+v, want %q", created, tc.key)
			}
			s.must(t, request{method: "DELETE", target: target}, 204)
			s.refuses(t, request{method: "GET", target: target}, 404, "object_not_exists")
		})
	}
}

func TestBadKeys(t *testing.T) {
	s := newServer(t)
	for _, raw := range []string{strings.Repeat("k", 1024), strings.Repeat("%E4%B8%AD", 342), "%FF", "a%C3", "%ED%A0%80", strings.Repeat("%00", 8192)} {
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			s.refuses(t, request{method: method, target: "/mybucket/" + raw}, 400, "invalid_object_name")
		}
		s.refuses(t, request{method: "POST", target: "/mybucket/" + raw + "?uploads"}, 400, "invalid_object_name")
	}
}

func TestEveryByteOfAKey(t *testing.T) {
	s := newServer(t)
	for b := range 128 {
		raw := fmt.Sprintf("x%%%02X", b)
		s.must(t, request{method: "PUT", target: "/mybucket/" + raw}, 201)
		s.with(func() {
			if _, ok := s.objects["mybucket"]["x"+string(rune(b))]; !ok {
				t.Errorf("%s is stored under another key", raw)
			}
		})
		s.must(t, request{method: "DELETE", target: "/mybucket/" + raw}, 204)
	}
}
