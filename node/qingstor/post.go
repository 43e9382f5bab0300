package qingstor

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
)

// postObject takes a file from a browser's form. Who sends it is in the form
// itself, so rights are judged when its fields are known.
func (c *call) postObject(ctx context.Context) error {
	payload, err := c.body.payload()
	if err != nil {
		return err
	}
	if payload.MD5 != nil {
		return refuse(errInvalidArgument, "Content-MD5 would be of the form, not of the file")
	}
	f, err := readForm(c.r.Header.Get("Content-Type"), c.body)
	if err != nil {
		return err
	}
	if err := c.authenticateForm(ctx, f); err != nil {
		return err
	}
	key, err := f.key()
	if err != nil {
		return err
	}
	if err := c.may(c.bucket, key, "post_object", writer); err != nil {
		return err
	}
	header, err := f.header()
	if err != nil {
		return err
	}
	headers, err := readHeaders(header)
	if err != nil {
		return err
	}
	redirect, err := redirectTarget(f.fields["redirect"])
	if err != nil {
		return err
	}
	object, err := c.Data.PutObject(ctx, c.bucket.Name, key, headers, Payload{Body: f.file, Size: -1})
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoted(object.ETag))
	if redirect == nil {
		return c.empty(http.StatusCreated)
	}
	q := redirect.Query()
	for name, value := range map[string]string{"status": "201", "code": "created", "message": "Object created", "request_id": c.id} {
		q.Set(name, value)
	}
	redirect.RawQuery = q.Encode()
	c.w.Header().Set("Location", redirect.String())
	return c.empty(http.StatusFound)
}

// authenticateForm finds out who sends a form: whoever signed its policy. A form
// without one is sent by whoever signed the request, or nobody.
func (c *call) authenticateForm(ctx context.Context, f *form) error {
	if !f.signed() {
		return nil
	}
	if c.caller != nil {
		return refuse(errInvalidArgument, "Both the request and the form are signed")
	}
	id, policy, signature := f.fields["access_key_id"], f.fields["policy"], f.fields["signature"]
	if id == "" || policy == "" || signature == "" {
		return refuse(errInvalidArgument, "A signed form needs access_key_id, policy and signature")
	}
	credential, ok, err := c.Keys.Credential(ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		return errInvalidAccessKeyID
	}
	mac, ok := parseMAC(signature)
	h := hmac.New(sha256.New, []byte(credential.Secret))
	h.Write([]byte(policy))
	if !ok || !hmac.Equal(h.Sum(nil), mac) {
		return errSignatureNotMatched
	}
	text, err := base64.StdEncoding.DecodeString(policy)
	if err != nil {
		return refuse(errFormPolicyViolated, "The policy is not base64")
	}
	c.caller = &credential
	return f.obeys(text)
}

// redirectTarget reads where a browser is to go afterwards, nil if nowhere.
func redirectTarget(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, refuse(errInvalidArgument, "The field redirect is not an http URL")
	}
	return u, nil
}
