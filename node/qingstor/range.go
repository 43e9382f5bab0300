package qingstor

import (
	"math"
	"strings"
)

// span is a run of bytes of an object.
type span struct{ offset, length int64 }

// parseRange reads one byte range, "bytes=a-b", "bytes=a-" or "bytes=-n", of an
// object of the given size. An end beyond the object is clipped. Anything that
// leaves no byte is refused, so every range of an empty object is.
func parseRange(s string, size int64) (span, bool) {
	spec, ok := strings.CutPrefix(s, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash {
		return span{}, false
	}
	if first == "" {
		n, ok := decimal[int64](last, math.MaxInt64)
		n = min(n, size)
		return span{size - n, n}, ok && n > 0
	}
	from, ok := decimal[int64](first, math.MaxInt64)
	to := int64(math.MaxInt64)
	if last != "" && ok {
		to, ok = decimal[int64](last, math.MaxInt64)
	}
	if !ok || from > to || from >= size {
		return span{}, false
	}
	return span{from, min(to, size-1) - from + 1}, true
}
