package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"partstore/internal/layout"
	"partstore/metadata"
)

// Both directions of a request's parameters, next to each other. Keys hold any
// byte, so they travel in the query, never in the path.

func keyParams(bucket, key string) url.Values {
	return url.Values{"bucket": {bucket}, "key": {key}}
}

func parseKey(r *http.Request) (bucket, key string, err error) {
	q := r.URL.Query()
	bucket, key = q.Get("bucket"), q.Get("key")
	if bucket == "" || key == "" {
		return "", "", fmt.Errorf("%w: bucket and key are required", ErrInvalid)
	}
	return bucket, key, nil
}

func uploadParams(ref metadata.UploadRef) url.Values {
	v := keyParams(ref.Bucket, ref.Key)
	v.Set("id", ref.ID.String())
	return v
}

func parseUploadRef(r *http.Request) (ref metadata.UploadRef, err error) {
	if ref.Bucket, ref.Key, err = parseKey(r); err != nil {
		return ref, err
	}
	ref.ID, err = layout.ParseUploadID(r.URL.Query().Get("id"))
	return ref, err
}

func (q UploadQuery) params() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("bucket", q.Bucket)
	set("prefix", q.Prefix)
	set("after_key", q.AfterKey)
	set("after_id", q.AfterID)
	if q.Limit != 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

func parseUploadQuery(r *http.Request) (UploadQuery, error) {
	v := r.URL.Query()
	q := UploadQuery{
		Bucket:   v.Get("bucket"),
		Prefix:   v.Get("prefix"),
		AfterKey: v.Get("after_key"),
		AfterID:  v.Get("after_id"),
		Limit:    DefaultUploadLimit,
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > MaxUploadLimit {
			return q, fmt.Errorf("%w: limit %q is not within 1 to %d", ErrInvalid, s, MaxUploadLimit)
		}
		q.Limit = n
	}
	if q.AfterID != "" {
		if _, err := layout.ParseUploadID(q.AfterID); err != nil {
			return q, err
		}
	}
	if q.Bucket == "" && q.AfterKey != "" {
		return q, fmt.Errorf("%w: after_key needs a bucket", ErrInvalid)
	}
	return q, nil
}

// membersVerbs are the verbs by their names on the wire.
var membersVerbs = []metadata.MembersVerb{
	metadata.MembersPromote, metadata.MembersDemote, metadata.MembersRemove, metadata.MembersReplace, metadata.MembersUnwish,
}

func membersParams(c metadata.MembersChange) url.Values {
	v := url.Values{
		"verb": {c.Verb.String()}, "node": {c.Node.String()},
		"version": {strconv.FormatUint(c.Version, 10)}, "force": {strconv.FormatBool(c.Force)},
	}
	if !c.By.IsZero() {
		v.Set("by", c.By.String())
	}
	return v
}

func parseMembersChange(r *http.Request) (c metadata.MembersChange, err error) {
	v := r.URL.Query()
	i := slices.IndexFunc(membersVerbs, func(m metadata.MembersVerb) bool { return m.String() == v.Get("verb") })
	if i < 0 {
		return c, fmt.Errorf("%w: verb %q", ErrInvalid, v.Get("verb"))
	}
	c.Verb = membersVerbs[i]
	if c.Node, err = layout.ParseNodeID(v.Get("node")); err != nil {
		return c, err
	}
	if by := v.Get("by"); by != "" {
		if c.By, err = layout.ParseNodeID(by); err != nil {
			return c, err
		}
	}
	if c.Version, err = strconv.ParseUint(v.Get("version"), 10, 64); err != nil {
		return c, fmt.Errorf("%w: version %q", ErrInvalid, v.Get("version"))
	}
	if c.Force, err = strconv.ParseBool(v.Get("force")); err != nil {
		return c, fmt.Errorf("%w: force %q", ErrInvalid, v.Get("force"))
	}
	return c, nil
}
