package qingstor

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Bounds of CORS rules.
const (
	maxCORSRules  = 100
	maxCORSTexts  = 100
	defaultMaxAge = 5 // seconds
)

type cors struct {
	Rules []corsRule `json:"cors_rules"`
	Vary  string     `json:"resp_vary,omitempty"`
}

type corsRule struct {
	Origin  string   `json:"allowed_origin"`
	Methods []string `json:"allowed_methods"`
	Headers []string `json:"allowed_headers,omitempty"`
	Expose  []string `json:"expose_headers,omitempty"`
	MaxAge  *int     `json:"max_age_seconds,omitempty"`
}

// rule finds the first rule that allows a request.
func (l cors) rule(origin, method string, headers []string) (corsRule, bool) {
	for _, r := range l.Rules {
		headersAllowed := !slices.ContainsFunc(headers, func(h string) bool {
			return !slices.ContainsFunc(r.Headers, func(pattern string) bool { return like(strings.ToLower(pattern), h) })
		})
		if like(r.Origin, origin) && (slices.Contains(r.Methods, "*") || slices.Contains(r.Methods, method)) && headersAllowed {
			return r, true
		}
	}
	return corsRule{}, false
}

// decorate tells browsers what scripts of the request's origin may see of the
// answer, errors too. Without a rule it says nothing, and they see nothing.
func (c *call) decorate() error {
	origin := c.r.Header.Get("Origin")
	if origin == "" || len(c.bucket.CORS) == 0 {
		return nil
	}
	l, err := readStored[cors](c.bucket.CORS)
	if err != nil {
		return err
	}
	method, headers := c.r.Method, []string(nil)
	preflight := method == http.MethodOptions
	if preflight {
		method = c.r.Header.Get("Access-Control-Request-Method")
		headers = splitHeaderList(c.r.Header.Get("Access-Control-Request-Headers"))
	}
	out := c.w.Header()
	if vary := strings.ToLower(l.Vary); vary == "enabled" || vary == "enable" {
		out.Set("Vary", "Origin")
	}
	r, ok := l.rule(origin, method, headers)
	if !ok {
		return nil
	}
	if out.Set("Access-Control-Allow-Origin", origin); r.Origin == "*" {
		out.Set("Access-Control-Allow-Origin", "*")
	}
	if len(r.Expose) > 0 {
		out.Set("Access-Control-Expose-Headers", strings.Join(r.Expose, ", "))
	}
	if preflight {
		r.answerPreflight(out, headers)
	}
	return nil
}

func (r corsRule) answerPreflight(out http.Header, headers []string) {
	methods := r.Methods
	if slices.Contains(methods, "*") {
		methods = corsMethods
	}
	out.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	if len(headers) > 0 {
		out.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	}
	age := defaultMaxAge
	if r.MaxAge != nil {
		age = *r.MaxAge
	}
	out.Set("Access-Control-Max-Age", strconv.Itoa(age))
}

var corsMethods = []string{"GET", "PUT", "POST", "DELETE", "HEAD"}

// splitHeaderList reads names separated by commas, in lower case.
func splitHeaderList(s string) (names []string) {
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// answerOptions answers a preflight: always 200, with Allow headers only where
// a rule matches. They are there by now.
func (c *call) answerOptions(context.Context) error { return c.empty(http.StatusOK) }

func checkCORS(_ *call, text []byte) (any, error) {
	l, err := readBody[cors](text)
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(l.Vary) {
	case "", "enabled", "enable", "disabled", "disable":
	default:
		return nil, refuse(errInvalidRequest, "The member resp_vary is neither enabled nor disabled")
	}
	if len(l.Rules) == 0 || len(l.Rules) > maxCORSRules {
		return nil, refuse(errInvalidRequest, "There are 1 to %d CORS rules", maxCORSRules)
	}
	for i, r := range l.Rules {
		if why := r.wrong(); why != "" {
			return nil, refuse(errInvalidRequest, "CORS rule %d: %s", i+1, why)
		}
	}
	return l, nil
}

func (r corsRule) wrong() string {
	tooMany := max(len(r.Methods), len(r.Headers), len(r.Expose)) > maxCORSTexts
	switch {
	case r.Origin == "" || !headerSafe(r.Origin):
		return "an allowed_origin is required"
	case tooMany:
		return "a list is too long"
	case len(r.Methods) == 0 || slices.ContainsFunc(r.Methods, func(m string) bool { return m != "*" && !slices.Contains(corsMethods, m) }):
		return "the allowed_methods are of GET, PUT, POST, DELETE, HEAD and *"
	case slices.ContainsFunc(append(slices.Clone(r.Headers), r.Expose...), func(h string) bool { return h == "" || !headerSafe(h) }):
		return "a header name is not valid"
	case r.MaxAge != nil && *r.MaxAge < 0:
		return "max_age_seconds is negative"
	}
	return ""
}

// headerSafe reports whether a text may stand in a header.
func headerSafe(s string) bool {
	return len(s) <= maxHeader && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' })
}
