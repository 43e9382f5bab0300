package qingstor

import (
	"net"
	"net/http"
)

// redirectProbe answers clients that ask, unsigned and without naming a zone,
// where a bucket is. They read the zone off the Location header by counting
// labels and follow no redirect. It reports whether the request was such a
// question.
func (c *call) redirectProbe() (done bool) {
	global := c.caller == nil && c.addr.level == bucketLevel && c.addr.base != ""
	if !global || c.route.op != "head_bucket" && c.route.op != "list_objects" {
		return false
	}
	if isIP(c.addr.base) {
		return false // no label can stand before an address
	}
	host := c.zoneHost(c.addr.base)
	status, location := http.StatusMovedPermanently, c.scheme()+"://"+host+"/"+c.addr.bucket
	if c.addr.virtualHost {
		status, location = http.StatusTemporaryRedirect, c.scheme()+"://"+c.addr.bucket+"."+host+"/"
	}
	c.w.Header().Set("Location", location)
	_ = c.empty(status)
	return true
}

// zoneHost is where the zone is below a base domain, with the port the client
// came by.
func (c *call) zoneHost(base string) string {
	host := c.Zone + "." + base
	if _, port, err := net.SplitHostPort(c.r.Host); err == nil && port != "" {
		host = net.JoinHostPort(host, port)
	}
	return host
}
