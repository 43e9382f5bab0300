package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"
)

// presignLifetime is how long a printed request stays good.
const presignLifetime = 24 * time.Hour

// presign returns a URL that carries its own signature: whoever has it may make
// this one request, without headers of its own, until it expires.
func presign(method, endpoint, path, accessKeyID, secret string) string {
	expires := time.Now().Add(presignLifetime).Unix()
	mac := hmac.New(sha256.New, []byte(secret))
	// No Content-MD5, no Content-Type, no x-qs- headers, no sub-resource.
	fmt.Fprintf(mac, "%s\n\n\n%d\n%s", method, expires, path)
	query := url.Values{
		"access_key_id": {accessKeyID},
		"expires":       {fmt.Sprint(expires)},
		"signature":     {base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	return endpoint + path + "?" + query.Encode()
}
