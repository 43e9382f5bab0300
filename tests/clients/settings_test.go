package clients

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/qingstor/qingstor-sdk-go/v4/service"

	"partstore/tests/clients/devcluster"
)

// setting is one of a bucket's settings: how it is put from the document of the
// wire, read back, and deleted.
type setting struct {
	name     string
	document string
	put      func(b *service.Bucket, document []byte) error
	get      func(b *service.Bucket) (any, error)
	remove   func(b *service.Bucket) error
}

// putter makes put of a call of the client.
func putter[In, Out any](call func(*service.Bucket, *In) (*Out, error)) func(*service.Bucket, []byte) error {
	return func(b *service.Bucket, document []byte) error {
		in := new(In)
		if err := json.Unmarshal(document, in); err != nil {
			return err
		}
		_, err := call(b, in)
		return err
	}
}

func getter[Out any](call func(*service.Bucket) (*Out, error)) func(*service.Bucket) (any, error) {
	return func(b *service.Bucket) (any, error) { return call(b) }
}

func remover[Out any](call func(*service.Bucket) (*Out, error)) func(*service.Bucket) error {
	return func(b *service.Bucket) error { _, err := call(b); return err }
}

var settings = []setting{
	{
		"cors", `{"cors_rules":[{"allowed_origin":"http://*.example.com","allowed_methods":["GET","PUT"],"allowed_headers":["content-type"],"expose_headers":["ETag"],"max_age_seconds":200}]}`,
		putter((*service.Bucket).PutCORS), getter((*service.Bucket).GetCORS), remover((*service.Bucket).DeleteCORS),
	},
	{
		"policy", `{"statement":[{"id":"allow reading","user":["*"],"action":["get_object"],"effect":"allow","resource":["sdk-settings/public/*"],"condition":{"string_like":{"Referer":["*.example.com"]}}}]}`,
		putter((*service.Bucket).PutPolicy), getter((*service.Bucket).GetPolicy), remover((*service.Bucket).DeletePolicy),
	},
	{
		"lifecycle", `{"rule":[{"id":"old","status":"enabled","filter":{"prefix":"tmp/"},"expiration":{"days":30}},{"id":"uploads","status":"enabled","filter":{"prefix":""},"abort_incomplete_multipart_upload":{"days_after_initiation":7}}]}`,
		putter((*service.Bucket).PutLifecycle), getter((*service.Bucket).GetLifecycle), remover((*service.Bucket).DeleteLifecycle),
	},
	{
		"notification", `{"notifications":[{"id":"new","event_types":["create_object"],"object_filters":["*"],"cloudfunc":"notifier","notify_url":"http://example.com/notify"}]}`,
		putter((*service.Bucket).PutNotification), getter((*service.Bucket).GetNotification), remover((*service.Bucket).DeleteNotification),
	},
	{
		"mirror", `{"source_site":"http://example.com/image/"}`,
		putter((*service.Bucket).PutExternalMirror), getter((*service.Bucket).GetExternalMirror), remover((*service.Bucket).DeleteExternalMirror),
	},
	{
		"logging", `{"target_bucket":"sdk-settings-logs","target_prefix":"log-"}`,
		putter((*service.Bucket).PutLogging), getter((*service.Bucket).GetLogging), remover((*service.Bucket).DeleteLogging),
	},
	{
		"replication", `{"rules":[{"id":"all","status":"enabled","filters":{"prefix":"a/"},"destination":{"bucket":"sdk-settings-copy"},"delete_marker":"enabled","sync_marker":"enabled"}]}`,
		putter((*service.Bucket).PutReplication), getter((*service.Bucket).GetReplication), remover((*service.Bucket).DeleteReplication),
	},
}

// Every setting is read back through other nodes as it was put, and is gone once
// it is deleted.
func (s *officialSDK) settings() {
	s.fresh("sdk-settings-logs")
	s.fresh("sdk-settings-copy")
	b := s.fresh("sdk-settings")
	for _, c := range settings {
		want := s.fieldsOf(json.RawMessage(c.document))
		s.ok(c.put(b(), []byte(c.document)))
		for range s.cluster.Nodes {
			out, err := c.get(b())
			s.ok(err)
			if got := s.fieldsOf(out); !s.contains(got, want) {
				s.Errorf("%s reads as %v, was put as %s", c.name, got, c.document)
			}
		}
		s.ok(c.remove(b()))
		out, err := c.get(b()) // some answer that there is none, some with an empty one
		if err == nil && s.contains(s.fieldsOf(out), want) || err != nil && devcluster.StatusOf(err) != 404 {
			s.Errorf("%s after it was deleted: %v, %v", c.name, s.fieldsOf(out), err)
		}
	}
	s.acl(b)
	s.domains(b)
}

// fieldsOf is a value as JSON knows it.
func (s *officialSDK) fieldsOf(v any) (fields map[string]any) {
	s.Helper()
	text, err := json.Marshal(v)
	s.ok(err)
	s.ok(json.Unmarshal(text, &fields))
	return fields
}

// contains reports whether all fields of want are in got, with the same values.
func (s *officialSDK) contains(got, want map[string]any) bool {
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			return false
		}
	}
	return true
}

// acl opens a bucket to everybody and closes it again.
func (s *officialSDK) acl(b func() *service.Bucket) {
	out, err := b().GetACL()
	s.ok(err)
	owner := out.Owner
	everybody := &service.ACLType{Grantee: &service.GranteeType{Type: service.String("group"), Name: service.String("QS_ALL_USERS")}, Permission: service.String("READ")}
	_, err = b().PutACL(&service.PutBucketACLInput{ACL: []*service.ACLType{everybody}})
	s.ok(err)
	out, err = b().GetACL()
	s.ok(err)
	open := slices.ContainsFunc(out.ACL, func(a *service.ACLType) bool {
		return *a.Permission == "READ" && *a.Grantee.Type == "group" && *a.Grantee.Name == "QS_ALL_USERS"
	})
	if !open || owner == nil || out.Owner == nil || *out.Owner.ID != *owner.ID {
		s.Errorf("ACL reads as %v", s.fieldsOf(out))
	}
}

// domains binds a domain to a bucket and takes it off again.
func (s *officialSDK) domains(b func() *service.Bucket) {
	const domain = "settings.example.com"
	bound := func() bool {
		out, err := b().GetCNAME(&service.GetBucketCNAMEInput{})
		s.ok(err)
		return slices.ContainsFunc(out.CnameRecords, func(r *service.CnameRecordType) bool { return *r.Domain == domain })
	}
	_, err := b().PutCNAME(&service.PutBucketCNAMEInput{Domain: service.String(domain), Type: service.String("normal")})
	s.ok(err)
	if !bound() {
		s.Error("a domain that was bound is not listed")
	}
	_, err = b().DeleteCNAME(&service.DeleteBucketCNAMEInput{Domain: service.String(domain)})
	s.ok(err)
	if bound() {
		s.Error("a domain that was taken off is listed")
	}
}
