package qingstor

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"net/http"
	"strings"
	"time"
)

// maxSkew is how far a client's clock may be from ours.
const maxSkew = 15 * time.Minute

// claim is who a request says it comes from, and the proof.
type claim struct {
	accessKeyID string
	mac         []byte
	date        string // what the date line of the string to sign holds
	expired     bool   // the clock differs too much, or the URL is out of date
}

// authenticate finds out who calls; nobody is an answer too.
func (c *call) authenticate(ctx context.Context) error {
	cl, err := readClaim(c.r.Header, c.query, c.Now())
	if err != nil || cl == nil {
		return err
	}
	credential, ok, err := c.Keys.Credential(ctx, cl.accessKeyID)
	if err != nil {
		return err
	}
	s := signable{method: c.r.Method, header: c.r.Header, date: cl.date, addr: c.addr, query: c.query}
	switch {
	case !ok:
		return errInvalidAccessKeyID
	case cl.expired:
		return errRequestExpired
	case !s.signedBy(credential.Secret, cl.mac):
		return errSignatureNotMatched
	}
	c.caller = &credential
	return nil
}

// readClaim reads the claim of a request, nil if it makes none. Two claims are
// refused: whoever made the one did not know of the other.
func readClaim(h http.Header, q query, now time.Time) (*claim, error) {
	values, header := h["Authorization"]
	presigned := q.has("access_key_id") || q.has("expires") || q.has("signature")
	switch {
	case header && presigned:
		return nil, refuse(errInvalidArgument, "The request is signed both in its Authorization header and in its query")
	case header:
		return headerClaim(values[0], h, now)
	case presigned:
		return queryClaim(q, now)
	}
	return nil, nil
}

// headerClaim reads "QS access_key_id:signature" and the clock beside it.
func headerClaim(authorization string, h http.Header, now time.Time) (*claim, error) {
	id, mac, err := parseAuthorization(authorization)
	if err != nil {
		return nil, err
	}
	cl := &claim{accessKeyID: id, mac: mac}
	clock := h.Get("X-Qs-Date")
	if clock == "" {
		clock = h.Get("Date")
		cl.date = clock
	}
	sent, ok := parseClock(clock)
	cl.expired = !ok || now.Sub(sent).Abs() > maxSkew
	return cl, nil
}

// parseClock reads the one form of a date that clients sign. A date that says
// the same in another way, or that contradicts its own weekday, is none.
func parseClock(s string) (time.Time, bool) {
	t, err := time.Parse(http.TimeFormat, s)
	return t, err == nil && t.Format(http.TimeFormat) == s
}

func parseAuthorization(s string) (accessKeyID string, mac []byte, err error) {
	rest, ok1 := strings.CutPrefix(s, "QS ")
	id, signature, ok2 := strings.Cut(rest, ":")
	mac, ok3 := parseMAC(signature)
	if !ok1 || !ok2 || !ok3 || id == "" {
		return "", nil, refuse(errSignatureNotMatched, "The Authorization header is not of the form QS access_key_id:signature")
	}
	return id, mac, nil
}

// queryClaim reads the three parameters of a presigned URL. Nothing limits how
// far ahead it may expire, and the Date header does not count.
func queryClaim(q query, now time.Time) (*claim, error) {
	id, expires, signature := q.get("access_key_id"), q.get("expires"), q.get("signature")
	if id == "" || expires == "" || signature == "" {
		return nil, refuse(errInvalidArgument, "A presigned URL needs access_key_id, expires and signature")
	}
	until, ok := decimal[int64](expires, math.MaxInt64)
	if !ok {
		return nil, refuse(errInvalidArgument, "The parameter expires is not a decimal number: %q", expires)
	}
	// Careless clients leave the plus of base64 as it is, which reads as blank.
	mac, ok := parseMAC(strings.ReplaceAll(signature, " ", "+"))
	if !ok {
		return nil, refuse(errSignatureNotMatched, "The parameter signature is not a signature")
	}
	return &claim{accessKeyID: id, mac: mac, date: expires, expired: now.Unix() > until}, nil
}

func parseMAC(s string) (mac []byte, ok bool) {
	mac, err := base64.StdEncoding.Strict().DecodeString(s)
	return mac, err == nil && len(mac) == sha256.Size
}
