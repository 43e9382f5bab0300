package qingstor

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"partstore/metadata"
)

// call is one request on its way through the checks. Operations are its
// methods; by the time one runs, every field is filled in.
type call struct {
	*handler
	w    *response
	r    *http.Request
	id   string // request ID
	body *requestBody

	addr   address
	query  query
	route  *route
	caller *Credential           // nil: anonymous
	bucket metadata.BucketRights // zero for service operations and bucket creation
}

// run is the order of checks.
func (c *call) run(ctx context.Context) error {
	if err := inOrder(ctx, c.parse, c.authenticate, c.findBucket); err != nil {
		return err
	}
	if c.redirectProbe() {
		return nil
	}
	if err := inOrder(ctx, c.authorise, c.validate); err != nil {
		return err
	}
	return c.route.serve(c, ctx)
}

func inOrder(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// parse reads the request line and finds the route.
func (c *call) parse(ctx context.Context) (err error) {
	if err := checkRepeats(c.r.Header); err != nil {
		return err
	}
	path, rawQuery := splitTarget(c.r.RequestURI)
	host := normalHost(c.r.Host)
	bound, err := c.boundBucket(ctx, host)
	if err != nil {
		return err
	}
	if c.addr, err = locate(host, path, c.bases, c.Zone, bound); err != nil {
		return err
	}
	if c.query, err = parseQuery(rawQuery); err != nil {
		return err
	}
	if c.route, err = dispatch(c.r.Method, c.addr.level, c.query, c.r.Header); err != nil {
		return err
	}
	return c.checkSources()
}

// findBucket makes a missing bucket the first thing a known caller hears of.
func (c *call) findBucket(ctx context.Context) (err error) {
	if c.addr.level == serviceLevel || c.route.access == creator {
		return nil
	}
	err = metadata.ErrBucketNotFound
	if validBucketName(c.addr.bucket) { // others cannot exist
		// Good enough here: every operation asks the registry again for what it
		// is about, and a bucket that is gone shows there.
		c.bucket, err = c.Registry.BucketRights(ctx, c.addr.bucket)
	}
	if c.r.Method == http.MethodOptions && errors.Is(err, metadata.ErrBucketNotFound) {
		return nil // a preflight is always answered 200; no rule matches it
	}
	if err != nil {
		return err
	}
	return c.decorate()
}

// validate refuses what is wrong for every operation alike.
func (c *call) validate(context.Context) error {
	if c.addr.level == objectLevel {
		if err := checkKey(c.addr.key); err != nil {
			return err
		}
	}
	if c.route.serve == nil {
		return errNotImplemented
	}
	return c.checkKeyUse()
}

func (c *call) op() string {
	if c.route == nil {
		return "unknown"
	}
	return c.route.op
}

// scheme is how the client reached us, as far as this process can tell.
func (c *call) scheme() string {
	if c.r.TLS != nil {
		return "https"
	}
	return "http"
}

// checkRepeats refuses a second copy of a header that decides who is asking or
// for what: two readers might pick different ones.
func checkRepeats(h http.Header) error {
	for _, name := range []string{
		"Authorization", "Date", "X-Qs-Date", "Content-Md5", "Content-Type", "Range",
		copySource, moveSource, fetchSource,
	} {
		if len(h[name]) > 1 {
			return refuse(errInvalidArgument, "The header %s is given more than once", strings.ToLower(name))
		}
	}
	return nil
}
