package qingstor

import (
	"net/http"
	"strings"
	"time"

	"partstore/metadata"
)

// conditions are the If- headers of a request, of what it reads or of the
// source of a copy.
type conditions struct {
	match, noneMatch               []string
	unmodifiedSince, modifiedSince string
}

func readConditions(h http.Header, prefix string) conditions {
	return conditions{
		match: h[prefix+"If-Match"], noneMatch: h[prefix+"If-None-Match"],
		unmodifiedSince: h.Get(prefix + "If-Unmodified-Since"), modifiedSince: h.Get(prefix + "If-Modified-Since"),
	}
}

type judgement uint8

const (
	conditionsHold  judgement = iota
	conditionsFail            // the object is not the one that was meant
	conditionsFresh           // the object is what the client already has
)

// judge follows RFC 9110, 13.2.2: entity tags come before dates.
func (c conditions) judge(o metadata.Object) judgement {
	switch {
	case given(c.match):
		if !matchesETag(c.match, o.ETag, false) {
			return conditionsFail
		}
	case modifiedSince(c.unmodifiedSince, o, false):
		return conditionsFail
	}
	switch {
	case given(c.noneMatch):
		if matchesETag(c.noneMatch, o.ETag, true) {
			return conditionsFresh
		}
	case !modifiedSince(c.modifiedSince, o, true):
		return conditionsFresh
	}
	return conditionsHold
}

func given(lists []string) bool { return len(lists) > 0 && lists[0] != "" }

// checkConditions judges the conditions of a GET or HEAD. done means that 304
// has been answered.
func (c *call) checkConditions(o metadata.Object) (done bool, err error) {
	switch readConditions(c.r.Header, "").judge(o) {
	case conditionsFail:
		return false, errPreconditionFailed
	case conditionsFresh:
		writeHeaders(c.w.Header(), o)
		return true, c.empty(http.StatusNotModified)
	}
	return false, nil
}

// matchesETag looks for etag in lists of entity tags. Tags without quotes count
// too: clients send back what other answers gave them. A weak tag matches only
// where weak says so.
func matchesETag(lists []string, etag string, weak bool) bool {
	for tag := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" {
			return true
		}
		if rest, isWeak := strings.CutPrefix(tag, "W/"); isWeak {
			if !weak {
				continue
			}
			tag = rest
		}
		if unquote(tag) == etag {
			return true
		}
	}
	return false
}

// modifiedSince reports whether o changed after a date of an If- header.
// Without a date that can be read the header does not count, and the answer is
// absent.
func modifiedSince(date string, o metadata.Object, absent bool) bool {
	t, err := http.ParseTime(date)
	if err != nil {
		return absent
	}
	return o.Modified.Truncate(time.Second).After(t)
}

// rangeStillValid judges If-Range, which is an entity tag or a date.
func rangeStillValid(condition string, o metadata.Object) bool {
	if condition == "" {
		return true
	}
	if t, err := http.ParseTime(condition); err == nil {
		return o.Modified.Truncate(time.Second).Equal(t)
	}
	return unquote(condition) == o.ETag
}

// unquote takes an entity tag with or without its quotes.
func unquote(tag string) string {
	if len(tag) >= 2 && tag[0] == '"' && tag[len(tag)-1] == '"' {
		return tag[1 : len(tag)-1]
	}
	return tag
}
