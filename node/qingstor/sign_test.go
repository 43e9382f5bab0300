package qingstor

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const dateD = "Sun, 16 Aug 2015 13:25:10 GMT"

const uploadA = "4d26b37a469230619604ecdc0e314782"

// vectors were computed with the official Go SDK; H' is what the Python SDK
// signs, and the two roots are what clients make of a virtual-host bucket.
var vectors = []struct {
	name      string
	line      string // method and target
	host      string
	header    []string
	text      string // string to sign; D stands for dateD
	signature string
}{
	{"A", "PUT /mybucket/large-object?part_number=0&upload_id=" + uploadA, "pek3a.qingstor.com", nil,
		"PUT\n\n\nD\n/mybucket/large-object?part_number=0&upload_id=" + uploadA,
		"MffJ4dSxFrOc55EWoNeTIlFAXPK7oB1vkiNUEhBg3xM="},
	{"A'", "PUT /large-object?upload_id=" + uploadA + "&part_number=0", "mybucket.pek3a.qingstor.com", nil,
		"PUT\n\n\nD\n/mybucket/large-object?part_number=0&upload_id=" + uploadA,
		"MffJ4dSxFrOc55EWoNeTIlFAXPK7oB1vkiNUEhBg3xM="},
	{"B", "GET /?limit=0&offset=0", "qingstor.com", nil,
		"GET\n\n\nD\n/",
		"5MgtxTzvVloQXzAh5S7qRK7SSvdUzRwbbevh8dU7LJU="},
	{"C", "GET /mybucket?delimiter=%2F&limit=1000&prefix=Test%2F", "pek3a.qingstor.com", nil,
		"GET\n\n\nD\n/mybucket",
		"wy+70NZyrnLCWdW1zuS1J5FqJD0Un6v+fN5ee6OqbSY="},
	{"C'", "GET /?delimiter=%2F&limit=1000&prefix=Test%2F", "mybucket.pek3a.qingstor.com", nil,
		"GET\n\n\nD\n/mybucket/",
		"hSNzWllarCSVLFD4ey2S2btOuCFx5dkLhC6wH03fbNk="},
	{"C' without slash", "GET /?delimiter=%2F&limit=1000&prefix=Test%2F", "mybucket.pek3a.qingstor.com", nil,
		"GET\n\n\nD\n/mybucket",
		"wy+70NZyrnLCWdW1zuS1J5FqJD0Un6v+fN5ee6OqbSY="},
	{"C absolute form", "GET http://pek3a.qingstor.com:9000/mybucket?delimiter=%2F&limit=1000&prefix=Test%2F", "pek3a.qingstor.com:9000", nil,
		"GET\n\n\nD\n/mybucket",
		"wy+70NZyrnLCWdW1zuS1J5FqJD0Un6v+fN5ee6OqbSY="},
	{"D", "POST /mybucket/dir/%E4%B8%AD%E6%96%87%20a%2Bb=c%26%28d%29.bin?uploads=", "pek3a.qingstor.com",
		[]string{"Content-Type: text/plain"},
		"POST\n\ntext/plain\nD\n/mybucket/dir/%E4%B8%AD%E6%96%87%20a%2Bb=c%26%28d%29.bin?uploads",
		"XZ5ZiNJQRsnqmWl3D5iKM8Pgb+6M5ErJFfJ0nZBsn+Y="},
	{"D encoded anew", "POST /mybucket/dir/%e4%b8%ad%e6%96%87%20a+b%3Dc&(d).bin?uploads=", "pek3a.qingstor.com",
		[]string{"Content-Type: text/plain"},
		"POST\n\ntext/plain\nD\n/mybucket/dir/%E4%B8%AD%E6%96%87%20a%2Bb=c%26%28d%29.bin?uploads",
		"XZ5ZiNJQRsnqmWl3D5iKM8Pgb+6M5ErJFfJ0nZBsn+Y="},
	{"E", "PUT /mybucket/large-object?part_number=1&upload_id=" + uploadA, "pek3a.qingstor.com",
		[]string{"X-QS-Date: " + dateD, "X-QS-Copy-Source: /mybucket/%E4%B8%AD%E6%96%87", "X-QS-Copy-Range: bytes=0-4194303"},
		"PUT\n\n\n\nx-qs-copy-range:bytes=0-4194303\nx-qs-copy-source:/mybucket/%E4%B8%AD%E6%96%87\nx-qs-date:" + dateD +
			"\n/mybucket/large-object?part_number=1&upload_id=" + uploadA,
		"ooU6Gw18Tz6xVlMvr1GP9CaOXHZVaT7PeCF6LgdWNxU="},
	{"F", "POST /mybucket/large-object?upload_id=" + uploadA, "pek3a.qingstor.com",
		[]string{"Content-Type: application/json", `ETag: "x"`},
		"POST\n\napplication/json\nD\n/mybucket/large-object?upload_id=" + uploadA,
		"O57YYQ3Jm+zaMzE9VD519OgVtfS3Mcy1PBU1tN483m8="},
	{"J", "POST /mybucket?delete=", "pek3a.qingstor.com",
		[]string{"Content-MD5: 0bbGL9ETcR8cTwlJoPz/wQ==", "Content-Type: application/json"},
		"POST\n0bbGL9ETcR8cTwlJoPz/wQ==\napplication/json\nD\n/mybucket?delete",
		"Kp+0en8n/oLHOkg4U+J7+s2Yj8kjdrk7gQW08T+TZaw="},
}

// presignedVectors carry their claim in the query.
var presignedVectors = []struct{ name, target, text, signature string }{
	{"G", "/mybucket/photo.jpg",
		"GET\n\n\n1479107162\n/mybucket/photo.jpg",
		"pz8dPKuIh7OBluisBzRNnjE0qIMP6FxcQk8YqeP5/O8="},
	{"H", "/mybucket/photo.jpg?response-content-type=video%2Fmp4%3B+charset%3Dutf8",
		"GET\n\n\n1479107162\n/mybucket/photo.jpg?response-content-type=video/mp4; charset=utf8",
		"0H7KjVbtnYSNXw+INQN+9uawbL4VCSbRuIOiOzAj+Xs="},
	{"H'", "/mybucket/photo.jpg?response-content-type=video/mp4%3B%20charset%3Dutf8",
		"GET\n\n\n1479107162\n/mybucket/photo.jpg?response-content-type=video/mp4%3B%20charset%3Dutf8",
		"NYeu4fVlJro5aFSP9fyuC7uwW4T1nGZ84l1g+mXFuM0="},
}

// readCall parses a request as the server would, up to the claim.
func readCall(t *testing.T, text string, now time.Time) (*call, *claim) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := &call{handler: &handler{Config: Config{Zone: DefaultZone, Keys: testKeys, Now: func() time.Time { return now }}, bases: []string{"qingstor.com"}}, r: r}
	if err := c.parse(t.Context()); err != nil {
		t.Fatal(err)
	}
	cl, err := readClaim(r.Header, c.query, now)
	if err != nil {
		t.Fatal(err)
	}
	return c, cl
}

func checkVector(t *testing.T, c *call, cl *claim, text string) {
	t.Helper()
	s := signable{method: c.r.Method, header: c.r.Header, date: cl.date, addr: c.addr, query: c.query}
	var got []string
	for text := range s.texts() {
		got = append(got, string(text))
	}
	if !slices.Contains(got, text) {
		t.Errorf("strings to sign %q do not contain %q", got, text)
	}
	if err := c.authenticate(t.Context()); err != nil {
		t.Errorf("authenticate: %v", err)
	}
	if c.caller == nil || c.caller.Owner != testOwner {
		t.Errorf("caller is %v", c.caller)
	}
	c.caller, cl.mac[7] = nil, cl.mac[7]^1
	if s.signedBy(testSecret, cl.mac) {
		t.Error("a signature with one flipped bit matches")
	}
}

func TestSignatureVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			lines := append([]string{v.line + " HTTP/1.1", "Host: " + v.host, "Date: " + dateD,
				"Authorization: QS " + testKey + ":" + v.signature}, v.header...)
			c, cl := readCall(t, strings.Join(lines, "\r\n")+"\r\n\r\n", testNow)
			checkVector(t, c, cl, strings.Replace(v.text, "\nD\n", "\n"+dateD+"\n", 1))
		})
	}
}

func TestPresignedVectors(t *testing.T) {
	before := time.Unix(1479107162, 0)
	for _, v := range presignedVectors {
		for spelling, signature := range map[string]string{
			"as the Go SDK writes it": strings.ReplaceAll(v.signature, "+", "%2B"),
			"with its plus unescaped": v.signature,
		} {
			t.Run(v.name+" "+spelling, func(t *testing.T) {
				target := addParam(v.target, "access_key_id="+testKey+"&expires=1479107162&signature="+signature)
				text := "GET " + target + " HTTP/1.1\r\nHost: pek3a.qingstor.com\r\n\r\n"
				c, cl := readCall(t, text, before)
				checkVector(t, c, cl, v.text)
				if _, late := readCall(t, text, before.Add(time.Second)); !late.expired {
					t.Error("still good a second after it expired")
				}
			})
		}
	}
}

func TestSignatureCoversWhatDecides(t *testing.T) {
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/object", body: "payload"}, 201)
	good := request{method: "GET", target: "/mybucket/object"}
	mac := "Authorization: QS " + testKey + ":" + good.with(func(r *request) { r.accessKey = testKey }).signature(dateD)
	tests := []struct {
		name  string
		other request
		want  int
	}{
		{"the same", request{method: "GET", target: "/mybucket/object"}, 200},
		{"unsigned parameter", request{method: "GET", target: "/mybucket/object?x=1"}, 200},
		{"encoded anew", request{method: "GET", target: "/mybucket/%6fbject"}, 200},
		{"another method", request{method: "HEAD", target: "/mybucket/object"}, 401},
		{"another key", request{method: "GET", target: "/mybucket/object2"}, 401},
		{"another bucket", request{method: "GET", target: "/mybucket2/object"}, 401},
		{"another content type", request{method: "GET", target: "/mybucket/object", header: []string{"Content-Type: a/b"}}, 401},
		{"another date", request{method: "GET", target: "/mybucket/object", date: "Sun, 16 Aug 2015 13:25:11 GMT"}, 401},
		{"another x-qs-date", request{method: "GET", target: "/mybucket/object", header: []string{"x-qs-date: " + dateD}}, 401},
		{"an x-qs header", request{method: "GET", target: "/mybucket/object", header: []string{"x-qs-meta-a: b"}}, 401},
		{"a sub-resource", request{method: "GET", target: "/mybucket/object?response-expires=now"}, 401},
		{"an operation", request{method: "GET", target: "/mybucket/object?upload_id=" + uploadA}, 401},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s.must(t, tc.other.with(func(r *request) {
				r.unsigned = true
				r.header = append(r.header, mac)
			}), tc.want)
		})
	}
}

func TestAuthorizationSyntax(t *testing.T) {
	s := newServer(t)
	good := request{method: "GET", target: "/", accessKey: testKey}.signature(dateD)
	tests := []struct {
		name, value string
		status      int
		code        string
	}{
		{"good", "QS " + testKey + ":" + good, 200, ""},
		{"empty", "", 401, "signature_not_matched"},
		{"no scheme", testKey + ":" + good, 401, "signature_not_matched"},
		{"another scheme", "Basic " + testKey + ":" + good, 401, "signature_not_matched"},
		{"lower case", "qs " + testKey + ":" + good, 401, "signature_not_matched"},
		{"no colon", "QS " + testKey, 401, "signature_not_matched"},
		{"no key", "QS :" + good, 401, "signature_not_matched"},
		{"not base64", "QS " + testKey + ":%%%", 401, "signature_not_matched"},
		{"too short", "QS " + testKey + ":AAAA", 401, "signature_not_matched"},
		{"unknown key", "QS NOBODY:" + good, 401, "invalid_access_key_id"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			a := s.do(t, request{method: "GET", target: "/", unsigned: true, header: []string{"Authorization: " + tc.value}})
			if a.status != tc.status || a.code() != tc.code {
				t.Errorf("Authorization %q: %v, want %d %s", tc.value, a, tc.status, tc.code)
			}
		})
	}
}

func TestClock(t *testing.T) {
	s := newServer(t)
	at := func(d time.Duration) string { return testNow.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		name, date, qsDate string
		want               int
	}{
		{"exact", at(0), "", 200},
		{"15 minutes behind", at(-15 * time.Minute), "", 200},
		{"15 minutes ahead", at(15 * time.Minute), "", 200},
		{"just too far behind", at(-15*time.Minute - time.Second), "", 403},
		{"just too far ahead", at(15*time.Minute + time.Second), "", 403},
		{"x-qs-date counts before Date", at(-time.Hour), at(0), 200},
		{"x-qs-date wrong, Date right", at(0), at(-time.Hour), 403},
		{"no date at all", "yesterday", "", 403},
		{"a weekday that it was not", "Mon, 16 Aug 2015 13:25:10 GMT", "", 403},
		{"another zone", "Sun, 16 Aug 2015 13:25:10 UTC", "", 403},
		{"an offset", "Sun, 16 Aug 2015 13:25:10 +0000", "", 403},
		{"the form of RFC 850", "Sunday, 16-Aug-15 13:25:10 GMT", "", 403},
		{"the form of C", "Sun Aug 16 13:25:10 2015", "", 403},
		{"ISO 8601", "2015-08-16T13:25:10Z", "", 403},
		{"one digit of a day", "Sun, 16 Aug 2015 13:25:1 GMT", "", 403},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := request{method: "GET", target: "/", date: tc.date}
			if tc.qsDate != "" {
				r.header = []string{"x-qs-date: " + tc.qsDate}
			}
			a := s.do(t, r)
			if a.status != tc.want || tc.want == 403 && a.code() != "request_expired" {
				t.Errorf("%v, want %d", a, tc.want)
			}
		})
	}
}

func TestPresignedSyntax(t *testing.T) {
	s := newServer(t)
	good := request{method: "GET", target: "/mybucket"}.presigned(testNow.Add(time.Hour)).target
	s.must(t, request{method: "GET", target: good, unsigned: true, date: "long ago"}, 200)
	tests := []struct {
		name, target string
		status       int
		code         string
	}{
		{"no signature", "/mybucket?access_key_id=k&expires=1", 400, "invalid_argument"},
		{"empty signature", "/mybucket?access_key_id=k&expires=1&signature=", 400, "invalid_argument"},
		{"no key", "/mybucket?expires=1&signature=x", 400, "invalid_argument"},
		{"expires not a number", "/mybucket?access_key_id=k&expires=1h&signature=x", 400, "invalid_argument"},
		{"expires negative", "/mybucket?access_key_id=k&expires=-1&signature=x", 400, "invalid_argument"},
		{"signature not base64", "/mybucket?access_key_id=k&expires=1&signature=x", 401, "signature_not_matched"},
		{"signature twice", good + "&signature=x", 400, "invalid_argument"},
		{"expires moved", strings.Replace(good, "expires=", "expires=9", 1), 401, "signature_not_matched"},
		{"another resource", strings.Replace(good, "/mybucket", "/mybucket/x", 1), 401, "signature_not_matched"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s.refuses(t, request{method: "GET", target: tc.target, unsigned: true}, tc.status, tc.code)
		})
	}
	s.refuses(t, request{method: "HEAD", target: good, unsigned: true}, 401, "")
}

func TestTwoClaimsAreRefused(t *testing.T) {
	s := newServer(t)
	presigned := request{method: "GET", target: "/mybucket"}.presigned(testNow.Add(time.Hour)).target
	for _, target := range []string{"/mybucket?access_key_id=k", "/mybucket?expires=1", "/mybucket?signature=s", presigned} {
		s.refuses(t, request{method: "GET", target: target}, 400, "invalid_argument")
	}
}

// The Go SDK's own test has a year that no clock shows.
func TestSignatureVectorOfTheGoSDK(t *testing.T) {
	const date = "Mon, 01 Jan 0001 00:00:00 GMT"
	now, ok := parseClock(date)
	if !ok {
		t.Fatal("the date is refused")
	}
	c, cl := readCall(t, "GET /?acl HTTP/1.1\r\nHost: bucket-name.qingstor.com\r\nDate: "+date+
		"\r\nAuthorization: QS ENV_ACCESS_KEY_ID:y0rP8LnEGUiV/JcuCMHZC4OMRZNzKRw9w7AnqehJZW8=\r\n\r\n", now)
	s := signable{method: c.r.Method, header: c.r.Header, date: cl.date, addr: c.addr, query: c.query}
	if !s.signedBy("ENV_SECRET_ACCESS_KEY", cl.mac) {
		t.Error("the signature does not match")
	}
}
