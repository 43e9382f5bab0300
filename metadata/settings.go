package metadata

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"partstore/internal/layout"
)

// Setting names a document that a bucket's owner keeps with the bucket. What
// is in it is the business of the layer above.
type Setting string

// The settings of a bucket.
const (
	SettingACL          Setting = "acl"
	SettingCORS         Setting = "cors"
	SettingPolicy       Setting = "policy"
	SettingLifecycle    Setting = "lifecycle"
	SettingNotification Setting = "notification"
	SettingMirror       Setting = "mirror"
	SettingLogging      Setting = "logging"
	SettingReplication  Setting = "replication"
	SettingVersioning   Setting = "versioning"
)

// MaxSettingSize bounds one document, in bytes.
const MaxSettingSize = 128 << 10

// maxDomains bounds the domains of one bucket.
const maxDomains = 100

// Domain is a host name under which clients reach a bucket.
type Domain struct {
	Name    string // lower case, without port or root dot
	Bucket  string
	Type    string
	Created time.Time
}

func (d *Domain) code(c *coder) {
	c.string(&d.Name, maxNameSize)
	c.string(&d.Bucket, maxNameSize)
	c.string(&d.Type, maxNameSize)
	c.time(&d.Created)
}

// BucketRights is a bucket with the documents that say who may do what in it;
// a document that was never set is nil.
type BucketRights struct {
	Bucket
	ACL, Policy []byte
	CORS        []byte // and what browsers may show to whom
}

func settingsPrefix(bucket string) []byte { return append(rowKey(rowSetting, []byte(bucket)), 0) }
func settingKey(bucket string, s Setting) []byte {
	return append(settingsPrefix(bucket), s...)
}
func domainKey(name string) []byte { return rowKey(rowDomain, []byte(name)) }

func codeSetting(document *[]byte) func(*coder) {
	return func(c *coder) { c.bytes(document, MaxSettingSize) }
}

// changeSetting sets a bucket's document, or removes it if it is empty.
type changeSetting struct {
	Request  layout.RequestID
	Bucket   string
	Setting  Setting
	Document []byte
}

func (*changeSetting) kind() commandKind { return kindChangeSetting }
func (x *changeSetting) code(c *coder) {
	c.fixed(x.Request[:])
	c.string(&x.Bucket, maxNameSize)
	c.string((*string)(&x.Setting), maxNameSize)
	c.bytes(&x.Document, MaxSettingSize)
}

func (x *changeSetting) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if x.Setting == "" {
			return refuse(ErrInvalid), nil
		}
		if found, err := m.has(bucketKey(x.Bucket)); err != nil || !found {
			return refuse(ErrBucketNotFound), err
		}
		key := settingKey(x.Bucket, x.Setting)
		if len(x.Document) == 0 {
			return result{}, m.delete(key)
		}
		return result{}, m.put(key, codeSetting(&x.Document))
	})
}

// bindDomain gives a free domain to a bucket. One that the bucket has is
// changed.
type bindDomain struct {
	Request layout.RequestID
	Domain  Domain
}

func (*bindDomain) kind() commandKind { return kindBindDomain }
func (x *bindDomain) code(c *coder) {
	c.fixed(x.Request[:])
	x.Domain.code(c)
}

func (x *bindDomain) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if x.Domain.Name == "" || strings.IndexByte(x.Domain.Name, 0) >= 0 {
			return refuse(ErrInvalid), nil
		}
		if found, err := m.has(bucketKey(x.Domain.Bucket)); err != nil || !found {
			return refuse(ErrBucketNotFound), err
		}
		var d Domain
		if found, err := m.get(domainKey(x.Domain.Name), d.code); err != nil || found && d.Bucket != x.Domain.Bucket {
			return refuse(ErrDomainTaken), err
		}
		bound, err := domainsOf(m.batch, x.Domain.Bucket)
		if err != nil || len(bound) >= maxDomains && d.Name == "" {
			return refuse(ErrTooManyDomains), err
		}
		return result{}, m.put(domainKey(x.Domain.Name), x.Domain.code)
	})
}

// unbindDomain takes a domain from a bucket; it is done if the bucket does not
// have it.
type unbindDomain struct {
	Request layout.RequestID
	Bucket  string
	Name    string
}

func (*unbindDomain) kind() commandKind { return kindUnbindDomain }
func (x *unbindDomain) code(c *coder) {
	c.fixed(x.Request[:])
	c.string(&x.Bucket, maxNameSize)
	c.string(&x.Name, maxNameSize)
}

func (x *unbindDomain) apply(m *machine) (result, error) {
	return m.once(x.Request, func() (result, error) {
		if found, err := m.has(bucketKey(x.Bucket)); err != nil || !found {
			return refuse(ErrBucketNotFound), err
		}
		var d Domain
		if found, err := m.get(domainKey(x.Name), d.code); err != nil || !found || d.Bucket != x.Bucket {
			return result{}, err
		}
		return result{}, m.delete(domainKey(x.Name))
	})
}

// forgetSettings deletes what a bucket that ends was given.
func (m *machine) forgetSettings(bucket string) error {
	var keys [][]byte
	err := scan(m.batch, settingsPrefix(bucket), func(k, _ []byte) error {
		keys = append(keys, append([]byte(nil), k...))
		return nil
	})
	domains, err2 := domainsOf(m.batch, bucket)
	for _, d := range domains {
		keys = append(keys, domainKey(d.Name))
	}
	err = errors.Join(err, err2)
	for _, key := range keys {
		err = errors.Join(err, m.delete(key))
	}
	return err
}

func domainsOf(rows pebble.Reader, bucket string) (domains []Domain, err error) {
	err = scan(rows, []byte{rowDomain}, func(_, v []byte) error {
		var d Domain
		err := decodeValue(v, d.code)
		if d.Bucket == bucket {
			domains = append(domains, d)
		}
		return err
	})
	return domains, err
}

// ChangeSetting implements Registry.
func (r *Raft) ChangeSetting(ctx context.Context, bucket string, s Setting, document []byte) error {
	_, err := r.propose(ctx, &changeSetting{Request: layout.NewRequestID(), Bucket: bucket, Setting: s, Document: document})
	return err
}

// Setting implements Registry.
func (r *Raft) Setting(ctx context.Context, bucket string, s Setting) (document []byte, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		if err := find(rows, bucketKey(bucket), nil, ErrBucketNotFound); err != nil {
			return err
		}
		_, err := getRow(rows, settingKey(bucket, s), codeSetting(&document))
		return err
	})
	return document, err
}

// BucketRights implements Registry.
func (r *Raft) BucketRights(ctx context.Context, name string) (b BucketRights, err error) {
	look := func(rows pebble.Reader) error {
		b = BucketRights{}
		if err := find(rows, bucketKey(name), b.Bucket.code, ErrBucketNotFound); err != nil {
			return err
		}
		_, err := getRow(rows, settingKey(name, SettingACL), codeSetting(&b.ACL))
		_, err2 := getRow(rows, settingKey(name, SettingPolicy), codeSetting(&b.Policy))
		_, err3 := getRow(rows, settingKey(name, SettingCORS), codeSetting(&b.CORS))
		return errors.Join(err, err2, err3)
	}
	err = r.recent(ctx, ErrBucketNotFound, look)
	return b, err
}

// BucketsWith implements Registry.
func (r *Raft) BucketsWith(ctx context.Context, s Setting) (documents map[string][]byte, err error) {
	documents = map[string][]byte{}
	err = r.read(ctx, func(rows pebble.Reader) error {
		return scan(rows, []byte{rowSetting}, func(k, v []byte) error {
			bucket, name, _ := strings.Cut(string(k[1:]), "\x00")
			if Setting(name) != s {
				return nil
			}
			var document []byte
			err := decodeValue(v, codeSetting(&document))
			documents[bucket] = document
			return err
		})
	})
	return documents, err
}

// BindDomain implements Registry.
func (r *Raft) BindDomain(ctx context.Context, d Domain) error {
	_, err := r.propose(ctx, &bindDomain{Request: layout.NewRequestID(), Domain: d})
	return err
}

// UnbindDomain implements Registry.
func (r *Raft) UnbindDomain(ctx context.Context, bucket, name string) error {
	_, err := r.propose(ctx, &unbindDomain{Request: layout.NewRequestID(), Bucket: bucket, Name: name})
	return err
}

// Domains implements Registry.
func (r *Raft) Domains(ctx context.Context, bucket string) (domains []Domain, err error) {
	err = r.read(ctx, func(rows pebble.Reader) error {
		if err := find(rows, bucketKey(bucket), nil, ErrBucketNotFound); err != nil {
			return err
		}
		domains, err = domainsOf(rows, bucket)
		return err
	})
	return domains, err
}

// DomainBucket implements Registry.
func (r *Raft) DomainBucket(ctx context.Context, name string) (bucket string, err error) {
	var d Domain
	err = r.recent(ctx, nil, func(rows pebble.Reader) error {
		_, err := getRow(rows, domainKey(name), d.code)
		return err
	})
	return d.Bucket, err
}
