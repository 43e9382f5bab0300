package qingstor

import (
	"context"
	"net"

	"partstore/metadata"
)

// anonymity says what may open an operation to callers nobody knows.
type anonymity uint8

const (
	never    anonymity = iota // nothing
	byPolicy                  // a policy alone
	byEither                  // a policy or an ACL
)

// grant says how others than the owner come to do an operation. What an ACL
// must give is in the route: reader or writer.
type grant struct {
	actions   []string // names in policies, old and new; none: policies have no say
	anonymous anonymity
}

// grants has a row for every operation that somebody may do in another user's
// bucket.
var grants = map[string]grant{
	"get_bucket_stats":        {[]string{"get_bucket_stats"}, never},
	"head_bucket":             {[]string{"head_bucket"}, byEither},
	"list_objects":            {[]string{"list_objects"}, byPolicy},
	"list_object_versions":    {[]string{"list_objects"}, never},
	"list_multipart_uploads":  {nil, never},
	"delete_multiple_objects": {[]string{"delete_object"}, never},

	"initiate_multipart_upload": {[]string{"initiate_multipart_upload", "initiate_multipart"}, byEither},
	"upload_part":               {[]string{"upload_object_part", "upload_multipart"}, byEither},
	"copy_part":                 {[]string{"upload_object_part", "upload_multipart"}, byEither},
	"list_parts":                {[]string{"list_object_parts", "list_multipart"}, byEither},
	"complete_multipart_upload": {[]string{"complete_multipart_upload", "complete_multipart"}, byEither},
	"abort_multipart_upload":    {[]string{"abort_multipart_upload", "abort_multipart"}, byEither},

	"get_object":            {[]string{"get_object"}, byEither},
	"head_object":           {[]string{"head_object"}, byEither},
	"put_object":            {[]string{"create_object"}, byEither},
	"copy_object":           {[]string{"create_object"}, byEither},
	"post_object":           {[]string{"create_object"}, byEither},
	"move_object":           {[]string{"create_object"}, never},
	"append_object":         {[]string{"create_object"}, byEither},
	"fetch_object":          {[]string{"create_object"}, never},
	"delete_object":         {[]string{"delete_object"}, never},
	"process_image":         {[]string{"get_object"}, byEither},
	"get_object_version":    {[]string{"get_object"}, byEither},
	"head_object_version":   {[]string{"head_object"}, byEither},
	"delete_object_version": {[]string{"delete_object"}, never},
}

// authorise lets in who may do what is asked.
func (c *call) authorise(context.Context) error {
	switch c.route.access {
	case anyone:
		return nil
	case signed, creator:
		if c.caller == nil {
			return errPermissionDenied
		}
		return nil
	}
	key := c.addr.key
	if c.route.op == "list_objects" {
		key = c.query.get("prefix")
	}
	return c.may(c.bucket, key, c.route.op, c.route.access)
}

// may decides whether the caller may do an operation on a key of a bucket. The
// first statement of the policy that matches decides; if none does, the owner
// may, and others as the ACL says.
func (c *call) may(b metadata.BucketRights, key, op string, need access) error {
	g := grants[op]
	if c.caller == nil && g.anonymous == never {
		return errPermissionDenied
	}
	if len(g.actions) > 0 && len(b.Policy) > 0 {
		p, err := readStored[policy](b.Policy)
		if err != nil {
			return err
		}
		switch p.judge(c.subject(), g.actions, b.Name, key) {
		case allowed:
			return nil
		case denied:
			return errPermissionDenied
		}
	}
	if c.caller != nil && c.caller.Owner == b.Owner {
		return nil
	}
	if need == owner || c.caller == nil && g.anonymous != byEither || len(b.ACL) == 0 {
		return errPermissionDenied
	}
	list, err := readStored[acl](b.ACL)
	if err != nil {
		return err
	}
	if !list.gives(c.subject().user, need) {
		return errPermissionDenied
	}
	return nil
}

// subject is what policies judge a request by.
type subject struct {
	user       string // "" for somebody nobody knows
	referer    string
	hasReferer bool
	ip         string
}

func (c *call) subject() subject {
	s := subject{referer: c.r.Header.Get("Referer"), hasReferer: len(c.r.Header["Referer"]) > 0}
	if c.caller != nil {
		s.user = c.caller.Owner
	}
	s.ip, _, _ = net.SplitHostPort(c.r.RemoteAddr)
	return s
}
