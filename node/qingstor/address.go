package qingstor

import (
	"net"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxKeyBytes bounds an object key.
const maxKeyBytes = 1023

// level says what a request is about.
type level uint8

const (
	serviceLevel level = iota
	bucketLevel
	objectLevel
)

func (l level) String() string { return [...]string{"service", "bucket", "object"}[l] }

// address is where a request points.
type address struct {
	level       level
	bucket      string
	key         string // decoded once
	path        string // of the request target, as sent; "/" if that is empty
	virtualHost bool   // the bucket came from the host, not the path
	base        string // the base domain, if the host names it without a zone
}

// splitTarget cuts a request target, in origin or absolute form, into its path
// and query as sent.
func splitTarget(target string) (path, rawQuery string) {
	if !strings.HasPrefix(target, "/") {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			end := strings.IndexAny(rest, "/?")
			if end < 0 {
				end = len(rest)
			}
			target = rest[end:]
		}
	}
	path, rawQuery, _ = strings.Cut(target, "?")
	if path == "" {
		path = "/"
	}
	return path, rawQuery
}

// normalHost drops the port, the brackets of an IPv6 address and the root dot,
// and lower-cases the rest.
func normalHost(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// locate finds the bucket and the key in a normal host and a raw path. The
// bucket ends at the first literal slash; only then is anything decoded. bound
// is the bucket that the host is bound to, "" if none.
func locate(host, path string, bases []string, zone, bound string) (address, error) {
	a := address{path: path}
	if !strings.HasPrefix(path, "/") {
		return a, refuse(errInvalidArgument, "The request target is not a path")
	}
	rest := path[1:]
	a.bucket, a.base = hostBucket(host, bases, zone)
	if bound != "" {
		a.bucket = bound
	}
	if a.virtualHost = a.bucket != ""; !a.virtualHost {
		if rest == "" {
			return a, nil
		}
		rawBucket, rawKey, _ := strings.Cut(rest, "/")
		bucket, err := url.PathUnescape(rawBucket)
		if err != nil {
			return a, refuse(errInvalidArgument, "The path is not well-formed percent-encoding")
		}
		a.bucket, rest = bucket, rawKey
	}
	a.level = bucketLevel
	if rest == "" {
		return a, nil
	}
	key, err := url.PathUnescape(rest)
	if err != nil {
		return a, refuse(errInvalidArgument, "The path is not well-formed percent-encoding")
	}
	a.level, a.key = objectLevel, key
	return a, nil
}

// hostBucket finds a bucket label in front of a base domain, bucket.zone.base
// or bucket.base, and the base domain of a host without a zone. One server is
// one zone, so which zone a host names is not looked at; a single label that is
// our zone, or too short for a bucket as the zones of clients' defaults are, is
// taken for a zone.
func hostBucket(host string, bases []string, zone string) (bucket, global string) {
	labels, base := "", ""
	for _, b := range bases {
		if host == b {
			return "", b
		}
		// The longest base leaves the shortest rest.
		if rest, ok := strings.CutSuffix(host, "."+b); ok && (base == "" || len(rest) < len(labels)) {
			labels, base = rest, b
		}
	}
	switch first, second, two := strings.Cut(labels, "."); {
	case two && first != "" && second != "" && !strings.Contains(second, "."):
		return first, ""
	case !two && first != strings.ToLower(zone) && validBucketName(first):
		return first, base
	}
	return "", ""
}

// validBucketName: 6 to 63 of a-z, 0-9 and dash, a dash neither first nor last.
func validBucketName(name string) bool {
	if len(name) < 6 || len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, b := range []byte(name) {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			return false
		}
	}
	return true
}

// checkKey refuses what is no object key. Control characters, leading slashes
// and dots are as good as any other byte.
func checkKey(key string) error {
	switch {
	case key == "":
		return refuse(errInvalidObjectName, "The object key is empty")
	case len(key) > maxKeyBytes:
		return refuse(errInvalidObjectName, "The object key has %d bytes; at most %d are allowed", len(key), maxKeyBytes)
	case !utf8.ValidString(key):
		return refuse(errInvalidObjectName, "The object key is not valid UTF-8")
	}
	return nil
}
