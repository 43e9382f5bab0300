package qingstor

import (
	"net/url"
	"strings"
)

// maxParams bounds the parameters of one request; no operation knows as many.
const maxParams = 64

// param is one query parameter.
type param struct {
	key, value string // decoded
	raw        string // "key=value" as sent, or "key" if the value is empty
}

// query is the parameters of a request as sent, each key once.
type query []param

// parseQuery reads a raw query. A key given twice is refused, whichever it is:
// the signature covers one reading and the operation might take the other.
func parseQuery(rawQuery string) (query, error) {
	if strings.Count(rawQuery, "&") >= maxParams {
		return nil, refuse(errInvalidArgument, "The request has more than %d query parameters", maxParams)
	}
	var q query
	for raw := range strings.SplitSeq(rawQuery, "&") {
		if raw == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(raw, "=")
		key, err1 := url.QueryUnescape(rawKey)
		value, err2 := url.QueryUnescape(rawValue)
		if err1 != nil || err2 != nil {
			return nil, refuse(errInvalidArgument, "The query is not well-formed percent-encoding")
		}
		if q.has(key) {
			return nil, refuse(errInvalidArgument, "The parameter %q is given more than once", key)
		}
		if value == "" {
			raw = rawKey
		}
		q = append(q, param{key: key, value: value, raw: raw})
	}
	return q, nil
}

func (q query) lookup(key string) (value string, ok bool) {
	for _, p := range q {
		if p.key == key {
			return p.value, true
		}
	}
	return "", false
}

func (q query) get(key string) string {
	value, _ := q.lookup(key)
	return value
}

func (q query) has(key string) bool {
	_, ok := q.lookup(key)
	return ok
}

// limit reads the size of a page. Clients send it empty or 0 for the default;
// more than most is most.
func (q query) limit(def, most int) (int, error) {
	n, err := q.number("limit", 0, most)
	if n == 0 {
		n = def
	}
	return n, err
}

// number reads a decimal parameter, def if it is absent or empty. Numbers above
// most are most.
func (q query) number(key string, def, most int) (int, error) {
	value := q.get(key)
	if value == "" {
		return def, nil
	}
	n, ok := decimal(value, most)
	if !ok {
		return 0, refuse(errInvalidArgument, "The parameter %s is not a decimal number: %q", key, value)
	}
	return n, nil
}

// decimal reads a number written in decimal digits alone, without sign or
// blank, however long. Numbers above most are most.
func decimal[T int | int64](s string, most T) (n T, ok bool) {
	if s == "" {
		return 0, false
	}
	for _, b := range []byte(s) {
		if b < '0' || b > '9' {
			return 0, false
		}
		digit := T(b - '0')
		if n > (most-digit)/10 {
			n = most
			continue
		}
		n = n*10 + digit
	}
	return n, true
}
