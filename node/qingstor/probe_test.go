package qingstor

import "testing"

// The forms are those that clients without a configured zone were seen to send
// and to cut apart.
func TestZoneProbes(t *testing.T) {
	s := newServer(t)
	tests := []struct {
		name, host, target string
		unsigned           bool
		want               int
		location           string
	}{
		{"virtual host", "mybucket.qs.test", "/", true, 307, "http://mybucket.pek3a.qs.test/"},
		{"virtual host with port", "mybucket.qs.test:9000", "/", true, 307, "http://mybucket.pek3a.qs.test:9000/"},
		{"path", "qs.test", "/mybucket", true, 301, "http://pek3a.qs.test/mybucket"},
		{"path with slash and port", "qs.test:9000", "/mybucket/", true, 301, "http://pek3a.qs.test:9000/mybucket"},
		{"absolute form", "qs.test", "http://qs.test/mybucket", true, 301, "http://pek3a.qs.test/mybucket"},
		{"unknown bucket", "qs.test", "/nosuchbucket", true, 404, ""},
		{"unknown bucket in the host", "nosuchbucket.qs.test", "/", true, 404, ""},
		{"a zone is named", "pek3a.qs.test", "/mybucket", true, 403, ""},
		{"a zone is named after the bucket", "mybucket.pek3a.qs.test", "/", true, 403, ""},
		{"no label goes before an address", "127.0.0.1", "/mybucket", true, 403, ""},
		{"a host of somebody else", "example.com", "/mybucket", true, 403, ""},
		{"signed", "qs.test", "/mybucket", false, 200, ""},
		{"another operation", "qs.test", "/mybucket?acl", true, 403, ""},
		{"an object", "qs.test", "/mybucket/object", true, 403, ""},
	}
	for _, tc := range tests {
		for _, method := range []string{"HEAD", "GET"} {
			if method == "HEAD" && tc.name == "another operation" {
				continue // has no HEAD
			}
			t.Run(method+" "+tc.name, func(t *testing.T) {
				a := s.must(t, request{method: method, host: tc.host, target: tc.target, unsigned: tc.unsigned}, tc.want)
				if got := a.header.Get("Location"); got != tc.location {
					t.Errorf("Location %q, want %q", got, tc.location)
				}
			})
		}
	}
}
