package qingstor

import (
	"crypto/hmac"
	"crypto/sha256"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// signedParams are the query keys that take part in the signature.
var signedParams = map[string]bool{
	"acl": true, "append": true, "cname": true, "cors": true, "delete": true,
	"image": true, "lifecycle": true, "logging": true, "mirror": true,
	"notification": true, "part_number": true, "policy": true, "position": true,
	"replication": true, "stats": true, "upload_id": true, "uploads": true,
	"versioning": true, "version_id": true, "versions": true,
	"response-cache-control": true, "response-content-disposition": true,
	"response-content-encoding": true, "response-content-language": true,
	"response-content-type": true, "response-expires": true,
}

// signable is what a signature covers.
type signable struct {
	method string
	header http.Header
	date   string // of the string to sign: Date, "" or expires
	addr   address
	query  query
}

// signedBy reports whether mac is the HMAC, under the secret, of any string
// that a known client would have signed for this request.
func (s signable) signedBy(secret string, mac []byte) bool {
	h := hmac.New(sha256.New, []byte(secret))
	for text := range s.texts() {
		h.Reset()
		h.Write(text)
		if hmac.Equal(h.Sum(nil), mac) {
			return true
		}
	}
	return false
}

// texts yields the strings to sign, the most usual first. Clients differ in the
// path and in the query values, so there is one for each combination. A text is
// gone when the next is yielded.
func (s signable) texts() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		head := strings.Join([]string{
			s.method, s.header.Get("Content-Md5"), s.header.Get("Content-Type"), s.date, "",
		}, "\n") + canonicalHeaders(s.header)
		queries := canonicalQueries(s.query)
		var text []byte
		for _, path := range canonicalPaths(s.addr) {
			for _, query := range queries {
				text = append(append(append(text[:0], head...), path...), query...)
				if !yield(text) {
					return
				}
			}
		}
	}
}

// canonicalHeaders is the x-qs- headers as lines, sorted. A repeated header
// counts once, with its first value, as everywhere in this package.
func canonicalHeaders(h http.Header) string {
	var lines []string
	for name, values := range h {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-qs-") && len(values) > 0 {
			lines = append(lines, name+":"+strings.TrimSpace(values[0])+"\n")
		}
	}
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[:strings.IndexByte(a, ':')], b[:strings.IndexByte(b, ':')])
	})
	return strings.Join(lines, "")
}

// canonicalPaths is the path as sent, then as the SDKs encode it, in case
// something on the way encoded it anew. Clients do not agree whether the root
// of a bucket ends in a slash.
func canonicalPaths(a address) []string {
	prefix := ""
	if a.virtualHost {
		prefix = "/" + a.bucket
	}
	paths := []string{prefix + a.path}
	if decoded, err := url.PathUnescape(a.path); err == nil {
		paths = append(paths, prefix+encodePath(decoded))
	}
	if a.level == bucketLevel {
		for _, p := range paths {
			bare := strings.TrimSuffix(p, "/")
			paths = append(paths, bare, bare+"/")
		}
	}
	return unique(paths)
}

// canonicalQueries is the sub-resources with decoded values, as most SDKs sign
// them, then decoded and trimmed of blanks, as the Go SDK does, then as sent.
func canonicalQueries(q query) []string {
	var decoded, trimmed, raw []param
	for _, p := range q {
		if signedParams[p.key] {
			decoded = append(decoded, param{key: p.key, raw: joined(p.key, p.value)})
			trimmed = append(trimmed, param{key: p.key, raw: joined(p.key, strings.TrimSpace(p.value))})
			raw = append(raw, param{key: p.raw, raw: p.raw})
		}
	}
	if len(raw) == 0 {
		return []string{""}
	}
	return unique([]string{subResources(decoded), subResources(trimmed), subResources(raw)})
}

func joined(key, value string) string {
	if value == "" {
		return key
	}
	return key + "=" + value
}

func subResources(params []param) string {
	slices.SortFunc(params, func(a, b param) int { return strings.Compare(a.key, b.key) })
	var b strings.Builder
	for i, p := range params {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(p.raw)
	}
	return b.String()
}

// encodePath percent-encodes as the Go SDK does.
func encodePath(path string) string {
	const upperHex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~/=", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// unique drops repeated strings and keeps the order; for a handful.
func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
