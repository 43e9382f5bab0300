package qingstor

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of a policy.
const (
	maxStatements    = 100
	maxStatementSize = 2048
	maxStatementID   = 100
	maxPolicyUsers   = 300
	maxPolicyActions = 500
)

type policy struct {
	Statements []statement `json:"statement"`
}

type statement struct {
	ID        string     `json:"id"`
	User      texts      `json:"user"`
	Action    texts      `json:"action"`
	Effect    string     `json:"effect"`
	Resource  texts      `json:"resource,omitempty"`
	Condition *condition `json:"condition,omitempty"`
}

// condition holds if all its parts do.
type condition struct {
	StringLike    *refererIn `json:"string_like,omitempty"`
	StringNotLike *refererIn `json:"string_not_like,omitempty"`
	IPAddress     *sourceIn  `json:"ip_address,omitempty"`
	NotIPAddress  *sourceIn  `json:"not_ip_address,omitempty"`
	IsNull        *isNull    `json:"is_null,omitempty"`
}

type refererIn struct {
	Referer texts `json:"Referer"`
}

type sourceIn struct {
	SourceIP texts `json:"source_ip"`
}

type isNull struct {
	Referer *bool `json:"Referer"`
}

// texts is a list of strings that clients may give as one string. It is always
// written as a list, because clients read nothing else.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*t = texts{""}
		return json.Unmarshal(b, &(*t)[0])
	}
	return json.Unmarshal(b, (*[]string)(t))
}

func (t texts) size() (n int) {
	for _, s := range t {
		n += len(s)
	}
	return n
}

// verdict is what a policy says of a request.
type verdict uint8

const (
	silent verdict = iota
	allowed
	denied
)

// judge finds the first statement that matches. The key of a bucket operation
// is empty, or what it lists.
func (p policy) judge(who subject, actions []string, bucket, key string) verdict {
	for _, s := range p.Statements {
		if s.speaksOf(who, actions, bucket, key) {
			if s.Effect == "allow" {
				return allowed
			}
			return denied
		}
	}
	return silent
}

func (s statement) speaksOf(who subject, actions []string, bucket, key string) bool {
	return s.User.has(func(u string) bool { return u == "*" || who.user != "" && u == who.user }) &&
		s.Action.has(func(a string) bool { return slices.Contains(actions, a) }) &&
		s.covers(actions, bucket, key) && s.Condition.holds(who)
}

// covers reports whether the resource is meant. Operations on a bucket may name
// it, or nothing; listing may name what it lists too.
func (s statement) covers(actions []string, bucket, key string) bool {
	if slices.ContainsFunc(actions, isBucketAction) {
		if len(s.Resource) == 0 || slices.Contains(s.Resource, bucket) {
			return true
		}
	}
	return s.Resource.has(func(pattern string) bool { return like(pattern, bucket+"/"+key) })
}

func (t texts) has(test func(string) bool) bool { return slices.ContainsFunc(t, test) }

func (c *condition) holds(who subject) bool {
	if c == nil {
		return true
	}
	referer := func(in *refererIn) bool {
		return in.Referer.has(func(pattern string) bool { return like(pattern, who.referer) })
	}
	return (c.StringLike == nil || referer(c.StringLike)) &&
		(c.StringNotLike == nil || !referer(c.StringNotLike)) &&
		(c.IPAddress == nil || c.IPAddress.contains(who.ip)) &&
		(c.NotIPAddress == nil || !c.NotIPAddress.contains(who.ip)) &&
		(c.IsNull == nil || *c.IsNull.Referer != who.hasReferer)
}

func (in *sourceIn) contains(ip string) bool {
	addr, err := netip.ParseAddr(ip)
	return err == nil && in.SourceIP.has(func(text string) bool {
		network, err := parseNetwork(text)
		return err == nil && network.Contains(addr.Unmap())
	})
}

// parseNetwork reads a CIDR, or one address.
func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(s)
}

// like matches a pattern in which * stands for any text. It never goes back
// behind the last star, so it takes at most len(pattern) * len(s) steps.
func like(pattern, s string) bool {
	star, mark, p, i := -1, 0, 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func isBucketAction(action string) bool {
	return action == "list_objects" || action == "head_bucket" || action == "get_bucket_stats"
}

func isAction(action string) bool {
	for _, g := range grants {
		if slices.Contains(g.actions, action) {
			return true
		}
	}
	return false
}

func checkPolicy(c *call, text []byte) (any, error) {
	p, err := readBody[policy](text)
	if err != nil {
		return nil, err
	}
	if len(p.Statements) == 0 || len(p.Statements) > maxStatements {
		return nil, refuse(errInvalidRequest, "A policy has 1 to %d statements", maxStatements)
	}
	ids := map[string]bool{}
	for i, s := range p.Statements {
		if why := s.wrong(c.bucket.Name); why != "" {
			return nil, refuse(errInvalidRequest, "Statement %d: %s", i+1, why)
		}
		if ids[s.ID] {
			return nil, refuse(errInvalidRequest, "Two statements have the id %q", s.ID)
		}
		ids[s.ID] = true
	}
	return p, nil
}

// wrong says what is wrong with a statement, "" for nothing.
func (s statement) wrong(bucket string) string {
	b, err := json.Marshal(s)
	switch {
	case err != nil || len(b) > maxStatementSize:
		return "it is too long"
	case s.ID == "" || len(s.ID) > maxStatementID:
		return "an id of 1 to 100 characters is required"
	case s.Effect != "allow" && s.Effect != "deny":
		return "the effect is neither allow nor deny"
	case len(s.User) == 0 || s.User.size() > maxPolicyUsers:
		return "users of 1 to 300 characters in all are required"
	case s.User.has(func(u string) bool { return u != "*" && !strings.HasPrefix(u, "usr-") }):
		return "a user is the ID of one, usr-..., or *"
	case len(s.Action) == 0 || s.Action.size() > maxPolicyActions:
		return "actions of 1 to 500 characters in all are required"
	case s.Action.has(func(a string) bool { return !isAction(a) }):
		return "an action is unknown"
	case s.Resource.has(func(r string) bool { return !validResource(r, bucket) }):
		return "a resource is neither the bucket nor the bucket, a slash and a pattern"
	case len(s.Resource) == 0 && s.Action.has(func(a string) bool { return !isBucketAction(a) }):
		return "an action on objects needs a resource"
	}
	return s.Condition.wrong()
}

func validResource(r, bucket string) bool {
	name, pattern, slash := strings.Cut(r, "/")
	return name == bucket && slash == (pattern != "")
}

func (c *condition) wrong() string {
	if c == nil {
		return ""
	}
	for _, in := range []*refererIn{c.StringLike, c.StringNotLike} {
		if in != nil && len(in.Referer) == 0 {
			return "a condition on strings needs a Referer"
		}
	}
	for _, in := range []*sourceIn{c.IPAddress, c.NotIPAddress} {
		if in != nil && (len(in.SourceIP) == 0 || in.SourceIP.has(func(s string) bool { _, err := parseNetwork(s); return err != nil })) {
			return "a condition on addresses needs a source_ip of networks such as 10.0.0.0/8"
		}
	}
	if c.IsNull != nil && c.IsNull.Referer == nil {
		return "is_null needs a Referer"
	}
	return ""
}
