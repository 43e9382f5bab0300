package qingstor

import (
	"bufio"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLocate(t *testing.T) {
	bases := []string{"test", "qs.test", "127.0.0.1", "::1"}
	tests := []struct {
		host, target string
		want         address
	}{
		{"qs.test", "/", address{serviceLevel, "", "", "/", false, "qs.test"}},
		{"qs.test:9000", "", address{serviceLevel, "", "", "/", false, "qs.test"}},
		{"qs.test", "?location", address{serviceLevel, "", "", "/", false, "qs.test"}},
		{"qs.test", "/mybucket", address{bucketLevel, "mybucket", "", "/mybucket", false, "qs.test"}},
		{"qs.test", "/mybucket/", address{bucketLevel, "mybucket", "", "/mybucket/", false, "qs.test"}},
		{"qs.test", "/mybucket/a/b", address{objectLevel, "mybucket", "a/b", "/mybucket/a/b", false, "qs.test"}},
		{"qs.test", "/mybucket//a", address{objectLevel, "mybucket", "/a", "/mybucket//a", false, "qs.test"}},
		{"qs.test", "/mybucket/%2Fa%252F?x=/", address{objectLevel, "mybucket", "/a%2F", "/mybucket/%2Fa%252F", false, "qs.test"}},
		{"qs.test", "//a", address{objectLevel, "", "a", "//a", false, "qs.test"}},
		{"qs.test", "/my%2Fbucket/a", address{objectLevel, "my/bucket", "a", "/my%2Fbucket/a", false, "qs.test"}},
		{"pek3a.qs.test", "/mybucket/a", address{objectLevel, "mybucket", "a", "/mybucket/a", false, ""}},
		{"PEK3A.QS.Test.:80", "/mybucket/a", address{objectLevel, "mybucket", "a", "/mybucket/a", false, ""}},
		{"sh1a.127.0.0.1:9000", "/mybucket/a", address{objectLevel, "mybucket", "a", "/mybucket/a", false, ""}},
		{"mybucket.pek3a.qs.test", "/", address{bucketLevel, "mybucket", "", "/", true, ""}},
		{"mybucket.sh1a.qs.test", "/a", address{objectLevel, "mybucket", "a", "/a", true, ""}},
		{"mybucket.qs.test", "//a", address{objectLevel, "mybucket", "/a", "//a", true, "qs.test"}},
		{"mybucket.pek3a.127.0.0.1", "/%2e%2e/a", address{objectLevel, "mybucket", "../a", "/%2e%2e/a", true, ""}},
		{"a.b.c.qs.test", "/mybucket", address{bucketLevel, "mybucket", "", "/mybucket", false, ""}},
		{"elsewhere.example", "/mybucket", address{bucketLevel, "mybucket", "", "/mybucket", false, ""}},
		{"[::1]:9000", "/mybucket", address{bucketLevel, "mybucket", "", "/mybucket", false, "::1"}},
		{"qs.test", "http://qs.test:9000/mybucket/a?x", address{objectLevel, "mybucket", "a", "/mybucket/a", false, "qs.test"}},
		{"qs.test", "http://qs.test:9000", address{serviceLevel, "", "", "/", false, "qs.test"}},
		{"qs.test", "http://qs.test:9000?location", address{serviceLevel, "", "", "/", false, "qs.test"}},
	}
	for _, tc := range tests {
		t.Run(tc.host+" "+tc.target, func(t *testing.T) {
			path, _ := splitTarget(tc.target)
			got, err := locate(normalHost(tc.host), path, bases, DefaultZone, "")
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func TestLocateRefuses(t *testing.T) {
	for _, target := range []string{"*", "mybucket/a", "/my%zzbucket", "/mybucket/%", "/mybucket/%f"} {
		path, _ := splitTarget(target)
		if a, err := locate("qs.test", path, []string{"qs.test"}, DefaultZone, ""); err == nil {
			t.Errorf("locate(%q) = %+v", target, a)
		}
	}
}

func TestBucketNames(t *testing.T) {
	good := []string{"bucket", "my-bucket", "000000", "a--b-c", strings.Repeat("a", 63)}
	bad := []string{"", "short", "-bucket", "bucket-", "Bucket", "my.bucket", "my_bucket", "buck et", "bücket", "10.0.0.1", strings.Repeat("a", 64)}
	for _, name := range good {
		if !validBucketName(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range bad {
		if validBucketName(name) {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestParseRange(t *testing.T) {
	tests := []struct {
		text string
		size int64
		want span
		ok   bool
	}{
		{"bytes=0-0", 10, span{0, 1}, true},
		{"bytes=0-9", 10, span{0, 10}, true},
		{"bytes=3-", 10, span{3, 7}, true},
		{"bytes=9-", 10, span{9, 1}, true},
		{"bytes=-1", 10, span{9, 1}, true},
		{"bytes=-10", 10, span{0, 10}, true},
		{"bytes=-11", 10, span{0, 10}, true},
		{"bytes=5-100", 10, span{5, 5}, true},
		{"bytes=5-99999999999999999999999999", 10, span{5, 5}, true},
		{"bytes=-99999999999999999999999999", 10, span{0, 10}, true},
		{"bytes=10-", 10, span{}, false},
		{"bytes=10-11", 10, span{}, false},
		{"bytes=99999999999999999999999999-", 10, span{}, false},
		{"bytes=-0", 10, span{}, false},
		{"bytes=5-4", 10, span{}, false},
		{"bytes=-", 10, span{}, false},
		{"bytes=", 10, span{}, false},
		{"bytes", 10, span{}, false},
		{"", 10, span{}, false},
		{"bytes=0", 10, span{}, false},
		{"bytes=0-1,3-4", 10, span{}, false},
		{"bytes=0-1-2", 10, span{}, false},
		{"bytes=a-b", 10, span{}, false},
		{"bytes=+1-2", 10, span{}, false},
		{"bytes= 1-2", 10, span{}, false},
		{"bytes=1 -2", 10, span{}, false},
		{"bytes=--1", 10, span{}, false},
		{"octets=0-1", 10, span{}, false},
		{"bytes=0-0", 0, span{}, false},
		{"bytes=0-", 0, span{}, false},
		{"bytes=-1", 0, span{}, false},
	}
	for _, tc := range tests {
		got, ok := parseRange(tc.text, tc.size)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("parseRange(%q, %d) = %v, %v, want %v, %v", tc.text, tc.size, got, ok, tc.want, tc.ok)
		}
	}
}

func TestDecimal(t *testing.T) {
	tests := []struct {
		text string
		most int
		want int
		ok   bool
	}{
		{"0", 10001, 0, true},
		{"007", 10001, 7, true},
		{"10000", 10001, 10000, true},
		{"10001", 10001, 10001, true},
		{"10002", 10001, 10001, true},
		{strings.Repeat("9", 400), 10001, 10001, true},
		{strings.Repeat("0", 400) + "5", 10001, 5, true},
		{"9223372036854775808", math.MaxInt, math.MaxInt, true},
		{"", 10001, 0, false},
		{"-1", 10001, 0, false},
		{"+1", 10001, 0, false},
		{" 1", 10001, 0, false},
		{"1 ", 10001, 0, false},
		{"1.0", 10001, 0, false},
		{"1e3", 10001, 0, false},
		{"0x1", 10001, 0, false},
		{"1_000", 10001, 0, false},
		{"١", 10001, 0, false},
	}
	for _, tc := range tests {
		got, ok := decimal(tc.text, tc.most)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("decimal(%q, %d) = %d, %v, want %d, %v", tc.text, tc.most, got, ok, tc.want, tc.ok)
		}
	}
}

func TestParseQuery(t *testing.T) {
	tests := []struct {
		raw  string
		want query
		ok   bool
	}{
		{"", nil, true},
		{"&&", nil, true},
		{"uploads", query{{"uploads", "", "uploads"}}, true},
		{"uploads=", query{{"uploads", "", "uploads"}}, true},
		{"prefix=a%2Fb+c&limit=1", query{{"prefix", "a/b c", "prefix=a%2Fb+c"}, {"limit", "1", "limit=1"}}, true},
		{"a=b=c", query{{"a", "b=c", "a=b=c"}}, true},
		{"a;b=1", query{{"a;b", "1", "a;b=1"}}, true},
		{"a=1&a=1", nil, false},
		{"uploads&%75ploads", nil, false},
		{"a=%", nil, false},
		{"%zz=1", nil, false},
		{strings.Repeat("a&", maxParams), nil, false},
	}
	for _, tc := range tests {
		got, err := parseQuery(tc.raw)
		if (err == nil) != tc.ok || tc.ok && !slices.Equal(got, tc.want) {
			t.Errorf("parseQuery(%.40q) = %v, %v, want %v", tc.raw, got, err, tc.want)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("QS " + testKey + ":MffJ4dSxFrOc55EWoNeTIlFAXPK7oB1vkiNUEhBg3xM=")
	f.Add("QS :")
	f.Add("qs a:b")
	f.Fuzz(func(t *testing.T, s string) {
		frugal(t, len(s), frugalBase, func() { _, _, _ = parseAuthorization(s) })
		id, mac, err := parseAuthorization(s)
		if err == nil && (id == "" || strings.Contains(id, ":") || len(mac) != 32 || !strings.HasPrefix(s, "QS "+id+":")) {
			t.Errorf("parseAuthorization(%q) = %q, %x", s, id, mac)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-0", int64(1))
	f.Add("bytes=-5", int64(3))
	f.Add("bytes=7-", int64(10))
	f.Fuzz(func(t *testing.T, s string, size int64) {
		size = max(size, 0)
		got, ok := parseRange(s, size)
		if ok && (got.offset < 0 || got.length <= 0 || got.offset > size-got.length) {
			t.Errorf("parseRange(%q, %d) = %v", s, size, got)
		}
	})
}

func FuzzLocate(f *testing.F) {
	f.Add("mybucket.pek3a.qs.test:9000", "/a%2Fb//..?x")
	f.Add("[::1]:80", "http://h/mybucket/%ff")
	f.Add("qs.test", "//")
	f.Fuzz(func(t *testing.T, host, target string) {
		frugal(t, len(host)+len(target), frugalBase, func() {
			path, rawQuery := splitTarget(target)
			_, _ = locate(normalHost(host), path, []string{"qs.test", "127.0.0.1"}, DefaultZone, "")
			_, _ = parseQuery(rawQuery)
		})
		path, _ := splitTarget(target)
		a, err := locate(normalHost(host), path, []string{"qs.test", "127.0.0.1"}, DefaultZone, "")
		if err != nil {
			return
		}
		// Encoding what was read leads to the same place.
		again := "/" + url.PathEscape(a.bucket) + "/" + url.PathEscape(a.key)
		if a.virtualHost {
			again = "/" + url.PathEscape(a.key)
		}
		if a.level == serviceLevel {
			again = "/"
		}
		b, err := locate(normalHost(host), again, []string{"qs.test", "127.0.0.1"}, DefaultZone, "")
		if err != nil || a.level != b.level || a.bucket != b.bucket || a.key != b.key {
			t.Errorf("%q %q is %+v, but %q is %+v, %v", host, target, a, again, b, err)
		}
		if a.level == objectLevel && checkKey(a.key) == nil && (len(a.key) > 1023 || !utf8.ValidString(a.key)) {
			t.Errorf("key %q passes", a.key)
		}
	})
}

// FuzzTexts builds the strings to sign of arbitrary requests.
func FuzzTexts(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.line+" HTTP/1.1\r\nHost: "+v.host+"\r\n"+strings.Join(v.header, "\r\n"), dateD)
	}
	f.Fuzz(func(t *testing.T, head, date string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n\r\n")))
		if err != nil {
			return
		}
		frugal(t, len(head), frugalBase, func() {
			_ = checkRepeats(r.Header)
			_, _ = readHeaders(r.Header)
		})
		path, rawQuery := splitTarget(r.RequestURI)
		a, err := locate(normalHost(r.Host), path, []string{"qingstor.com"}, DefaultZone, "")
		if err != nil {
			return
		}
		q, err := parseQuery(rawQuery)
		if err != nil {
			return
		}
		signed := signable{method: r.Method, header: r.Header, date: date, addr: a, query: q}
		count := 0
		for text := range signed.texts() {
			if !strings.HasPrefix(string(text), r.Method+"\n") || len(text) > 8*(len(head)+len(date))+64 {
				t.Errorf("string to sign %q", text)
			}
			count++
		}
		if count == 0 || count > 18 {
			t.Errorf("%d strings to sign", count)
		}
		frugal(t, len(head)+len(date), frugalBase, func() { _ = signed.signedBy(testSecret, nil) })
	})
}

func FuzzComplete(f *testing.F) {
	f.Add([]byte(`{"object_parts":[{"part_number":0,"etag":"d41d8cd98f00b204e9800998ecf8427e"},{"part_number":2,"size":1,"created":"x"}]}`))
	f.Add([]byte(`{"object_parts":null}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		frugal(t, len(text), frugalComplete, func() { _, _ = parseComplete(text) })
		parts, err := parseComplete(text)
		if err != nil {
			if row := rowOf(err); row.status != 400 {
				t.Errorf("%q: %v is status %d", text, err, row.status)
			}
			return
		}
		for i, p := range parts {
			if p.Number > 10000 || i > 0 && p.Number <= parts[i-1].Number {
				t.Errorf("%q: parts %v", text, parts)
			}
		}
		if len(parts) == 0 {
			t.Errorf("%q: no parts", text)
		}
	})
}
