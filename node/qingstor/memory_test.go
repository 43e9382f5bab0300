package qingstor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"partstore/internal/layout"
	"partstore/metadata"
)

// memory is a whole store in one map: a Registry and Data that keep their
// promises without a cluster. What the dialect does not call is left out.
type memory struct {
	metadata.Registry // nil; the cluster's own methods

	mu         sync.Mutex
	broken     error // answered by every method while set
	deleteErr  error // answered by DeleteObject while set
	rangeErr   error // answered by Range while set
	cut        bool  // Range readers fail half way
	now        time.Time
	copies     int    // made by CopyObject
	beforeCopy func() // called by CopyObject
	buckets    map[string]metadata.Bucket
	objects    map[string]map[string]memoryObject // bucket, key
	uploads    []*memoryUpload                    // in order of creation
	settings   map[settingOf][]byte
	domains    map[string]metadata.Domain
}

type memoryObject struct {
	metadata.Object
	bytes []byte
}

type memoryUpload struct {
	metadata.Upload
	parts map[layout.PartNumber]memoryPart
}

type memoryPart struct {
	metadata.Part
	bytes []byte
}

func newMemory(now time.Time) *memory {
	return &memory{now: now, buckets: map[string]metadata.Bucket{}, objects: map[string]map[string]memoryObject{},
		settings: map[settingOf][]byte{}, domains: map[string]metadata.Domain{}}
}

type settingOf struct {
	bucket  string
	setting metadata.Setting
}

// with changes or looks at the store while nobody else does.
func (m *memory) with(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// enter locks, and refuses if the store is broken or the bucket is missing.
func (m *memory) enter(bucket string) (leave func(), err error) {
	m.mu.Lock()
	_, ok := m.buckets[bucket]
	switch {
	case m.broken != nil:
		err = m.broken
	case bucket != "" && !ok:
		err = metadata.ErrBucketNotFound
	}
	return m.mu.Unlock, err
}

func (m *memory) CreateBucket(_ context.Context, b metadata.Bucket) error {
	leave, err := m.enter("")
	defer leave()
	if _, ok := m.buckets[b.Name]; ok && err == nil {
		return metadata.ErrBucketExists
	}
	m.buckets[b.Name], m.objects[b.Name] = b, map[string]memoryObject{}
	return err
}

func (m *memory) DeleteBucket(_ context.Context, name string) error {
	leave, err := m.enter(name)
	defer leave()
	if err != nil {
		return err
	}
	if len(m.objects[name]) > 0 || slices.ContainsFunc(m.uploads, func(u *memoryUpload) bool { return u.Bucket == name }) {
		return metadata.ErrBucketNotEmpty
	}
	delete(m.buckets, name)
	return nil
}

func (m *memory) BucketRights(_ context.Context, name string) (metadata.BucketRights, error) {
	leave, err := m.enter(name)
	defer leave()
	return metadata.BucketRights{
		Bucket: m.buckets[name],
		ACL:    m.settings[settingOf{name, metadata.SettingACL}],
		Policy: m.settings[settingOf{name, metadata.SettingPolicy}],
		CORS:   m.settings[settingOf{name, metadata.SettingCORS}],
	}, err
}

func (m *memory) ChangeSetting(_ context.Context, bucket string, s metadata.Setting, document []byte) error {
	leave, err := m.enter(bucket)
	defer leave()
	if err == nil {
		m.settings[settingOf{bucket, s}] = document
	}
	return err
}

func (m *memory) Setting(_ context.Context, bucket string, s metadata.Setting) ([]byte, error) {
	leave, err := m.enter(bucket)
	defer leave()
	return m.settings[settingOf{bucket, s}], err
}

func (m *memory) BindDomain(_ context.Context, d metadata.Domain) error {
	leave, err := m.enter(d.Bucket)
	defer leave()
	if of, ok := m.domains[d.Name]; ok && of.Bucket != d.Bucket {
		return cmp.Or(err, metadata.ErrDomainTaken)
	}
	if err == nil {
		m.domains[d.Name] = d
	}
	return err
}

func (m *memory) UnbindDomain(_ context.Context, bucket, name string) error {
	leave, err := m.enter(bucket)
	defer leave()
	if err == nil && m.domains[name].Bucket == bucket {
		delete(m.domains, name)
	}
	return err
}

func (m *memory) Domains(_ context.Context, bucket string) (list []metadata.Domain, err error) {
	leave, err := m.enter(bucket)
	defer leave()
	for _, d := range m.domains {
		if d.Bucket == bucket {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b metadata.Domain) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}

func (m *memory) DomainBucket(_ context.Context, name string) (string, error) {
	leave, err := m.enter("")
	defer leave()
	return m.domains[name].Bucket, err
}

func (m *memory) Bucket(_ context.Context, name string) (metadata.Bucket, error) {
	leave, err := m.enter(name)
	defer leave()
	return m.buckets[name], err
}

func (m *memory) Buckets(_ context.Context, owner string, offset, limit int) ([]metadata.Bucket, int, error) {
	leave, err := m.enter("")
	defer leave()
	var own []metadata.Bucket
	for _, b := range m.buckets {
		if b.Owner == owner {
			own = append(own, b)
		}
	}
	slices.SortFunc(own, func(a, b metadata.Bucket) int { return cmp.Compare(a.Name, b.Name) })
	from := min(offset, len(own))
	return own[from:min(from+limit, len(own))], len(own), err
}

func (m *memory) CreateUpload(_ context.Context, u metadata.Upload) error {
	leave, err := m.enter(u.Bucket)
	defer leave()
	if err == nil {
		m.uploads = append(m.uploads, &memoryUpload{Upload: u, parts: map[layout.PartNumber]memoryPart{}})
	}
	return err
}

func (m *memory) UploadOpen(_ context.Context, ref metadata.UploadRef) (metadata.Upload, error) {
	leave, err := m.enter(ref.Bucket)
	defer leave()
	if err != nil {
		return metadata.Upload{}, err
	}
	u, err := m.upload(ref)
	if err != nil {
		return metadata.Upload{}, err
	}
	return u.Upload, nil
}

// upload finds an open upload; the caller has entered.
func (m *memory) upload(ref metadata.UploadRef) (*memoryUpload, error) {
	for _, u := range m.uploads {
		if u.UploadRef == ref {
			return u, nil
		}
	}
	return nil, metadata.ErrUploadNotFound
}

func (m *memory) drop(ref metadata.UploadRef) {
	m.uploads = slices.DeleteFunc(m.uploads, func(u *memoryUpload) bool { return u.UploadRef == ref })
}

func (m *memory) Parts(_ context.Context, ref metadata.UploadRef, after, limit int) (metadata.PartPage, error) {
	leave, err := m.enter(ref.Bucket)
	defer leave()
	if err != nil {
		return metadata.PartPage{}, err
	}
	u, err := m.upload(ref)
	if err != nil {
		return metadata.PartPage{}, err
	}
	page := metadata.PartPage{Total: len(u.parts)}
	for n := after + 1; n <= int(layout.MaxPartNumber) && len(page.Parts) < limit; n++ {
		if p, ok := u.parts[layout.PartNumber(n)]; ok {
			page.Parts = append(page.Parts, p.Part)
		}
	}
	return page, nil
}

func (m *memory) CompleteUpload(_ context.Context, c metadata.CompleteUpload) (metadata.Object, error) {
	leave, err := m.enter(c.Bucket)
	defer leave()
	if err != nil {
		return metadata.Object{}, err
	}
	u, err := m.upload(c.UploadRef)
	if err != nil {
		return metadata.Object{}, err
	}
	var payload, sums []byte
	for i, want := range c.Parts {
		p, ok := u.parts[want.Number]
		switch {
		case !ok:
			return metadata.Object{}, metadata.ErrPartNotFound
		case want.ETag != nil && *want.ETag != p.ETag:
			return metadata.Object{}, metadata.ErrPartMismatch
		case i < len(c.Parts)-1 && p.Size < metadata.MinPartSize:
			return metadata.Object{}, metadata.ErrPartTooSmall
		}
		payload, sums = append(payload, p.bytes...), append(sums, p.ETag[:]...)
	}
	etag := c.ETag
	if etag == "" {
		sum := md5.Sum(sums)
		etag = fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:]), len(c.Parts))
	}
	headers := metadata.Headers{}
	for _, h := range []metadata.Headers{u.Headers, c.Headers} {
		for name, value := range h {
			headers[name] = value
		}
	}
	m.drop(c.UploadRef)
	return m.store(c.Bucket, c.Key, etag, headers, payload), nil
}

// store keeps an object; the caller has entered.
func (m *memory) store(bucket, key, etag string, headers metadata.Headers, payload []byte) metadata.Object {
	o := metadata.Object{
		Bucket: bucket, Key: key, Size: int64(len(payload)), ETag: etag, Modified: m.now, Headers: headers,
	}
	m.objects[bucket][key] = memoryObject{o, payload}
	return o
}

func (m *memory) AbortUpload(_ context.Context, ref metadata.UploadRef) error {
	leave, err := m.enter(ref.Bucket)
	defer leave()
	if err == nil {
		m.drop(ref)
	}
	return err
}

func (m *memory) Object(_ context.Context, bucket, key string) (metadata.Object, error) {
	o, err := m.object(bucket, key)
	return o.Object, err
}

func (m *memory) object(bucket, key string) (memoryObject, error) {
	leave, err := m.enter(bucket)
	defer leave()
	o, ok := m.objects[bucket][key]
	if err == nil && !ok {
		err = metadata.ErrObjectNotFound
	}
	return o, err
}

func (m *memory) DeleteObject(_ context.Context, bucket, key string) error {
	leave, err := m.enter(bucket)
	defer leave()
	if err == nil {
		err = m.deleteErr
	}
	if err == nil {
		delete(m.objects[bucket], key)
	}
	return err
}

func (m *memory) Usage(_ context.Context, bucket string) (u metadata.Usage, err error) {
	leave, err := m.enter(bucket)
	defer leave()
	for _, o := range m.objects[bucket] {
		u.Objects, u.Bytes = u.Objects+1, u.Bytes+o.Size
	}
	return u, err
}

func (m *memory) CopyObject(_ context.Context, c metadata.CopyObject) (metadata.Object, error) {
	if f := m.beforeCopy; f != nil {
		f()
	}
	leave, err := m.enter(c.Bucket)
	defer leave()
	if err != nil {
		return metadata.Object{}, err
	}
	o, ok := m.objects[c.Source.Bucket][c.Source.Key]
	if !ok || !reflect.DeepEqual(o.Object, c.Source) {
		return metadata.Object{}, metadata.ErrObjectChanged
	}
	if c.Move {
		delete(m.objects[c.Source.Bucket], c.Source.Key)
	}
	m.copies++
	o.Bucket, o.Key, o.Headers, o.Modified = c.Bucket, c.Key, c.Headers, c.Modified
	m.objects[c.Bucket][c.Key] = o
	return o.Object, nil
}

func (m *memory) Objects(_ context.Context, bucket string, q metadata.ListQuery) (metadata.ObjectPage, error) {
	leave, err := m.enter(bucket)
	defer leave()
	if err != nil {
		return metadata.ObjectPage{}, err
	}
	var page metadata.ObjectPage
	var keys []string
	for key := range m.objects[bucket] {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	page.Next = grouped(keys, q, func(key string) bool { return false }, func(key string) {
		page.Objects = append(page.Objects, m.objects[bucket][key].Object)
	}, &page.CommonPrefixes)
	return page, nil
}

func (m *memory) Uploads(_ context.Context, bucket string, q metadata.ListQuery, afterID string) (metadata.UploadPage, error) {
	leave, err := m.enter(bucket)
	defer leave()
	if err != nil {
		return metadata.UploadPage{}, err
	}
	var page metadata.UploadPage
	ups := slices.DeleteFunc(slices.Clone(m.uploads), func(u *memoryUpload) bool { return u.Bucket != bucket })
	slices.SortStableFunc(ups, func(a, b *memoryUpload) int { return cmp.Compare(a.Key, b.Key) })
	var keys []string
	for _, u := range ups {
		keys = append(keys, u.Key)
	}
	passed := false // the upload afterID names
	i := -1
	page.NextKey = grouped(keys, q, func(key string) bool {
		return key == q.Marker && afterID != "" && passed
	}, func(key string) {
		page.Uploads = append(page.Uploads, ups[i].Upload)
	}, &page.CommonPrefixes, func() {
		if i >= 0 && ups[i].ID.String() == afterID {
			passed = true
		}
		i++
	})
	if n := len(page.Uploads); page.NextKey != "" && n > 0 && page.Uploads[n-1].Key == page.NextKey {
		page.NextID = page.Uploads[n-1].ID.String()
	}
	return page, nil
}

// grouped walks sorted keys as a listing does: emit is called for keys, common
// prefixes are appended once each. anyway lets a key through that the marker
// would stop; step runs before each key. The result is the next marker.
func grouped(keys []string, q metadata.ListQuery, anyway func(string) bool, emit func(string), prefixes *[]string, step ...func()) (next string) {
	count, last := 0, ""
	for _, key := range keys {
		for _, f := range step {
			f()
		}
		rest, ok := strings.CutPrefix(key, q.Prefix)
		if !ok {
			continue
		}
		name, group := key, false
		if at := strings.Index(rest, q.Delimiter); q.Delimiter != "" && at >= 0 {
			name, group = q.Prefix+rest[:at+len(q.Delimiter)], true
		}
		if name <= q.Marker && !anyway(name) || group && name == last {
			continue
		}
		if count == q.Limit {
			return last
		}
		count, last = count+1, name
		if group {
			*prefixes = append(*prefixes, name)
		} else {
			emit(key)
		}
	}
	return ""
}

// memoryData is the Data side of memory.
type memoryData struct{ *memory }

func (m memoryData) PutPart(_ context.Context, ref metadata.UploadRef, number layout.PartNumber, p Payload) (metadata.ETag, error) {
	find := func() (*memoryUpload, error) {
		leave, err := m.enter(ref.Bucket)
		defer leave()
		if err != nil {
			return nil, err
		}
		return m.upload(ref)
	}
	text, etag, err := readPayload(p)
	if err != nil {
		return metadata.ETag{}, err
	}
	u, err := find()
	if err != nil {
		return metadata.ETag{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	part := metadata.Part{Number: number, Size: int64(len(text)), ETag: etag, Modified: m.now}
	u.parts[number] = memoryPart{part, text}
	return etag, nil
}

func (m memoryData) PutObject(_ context.Context, bucket, key string, headers metadata.Headers, p Payload) (metadata.Object, error) {
	leave, err := m.enter(bucket)
	leave()
	if err != nil {
		return metadata.Object{}, err
	}
	text, etag, err := readPayload(p)
	if err != nil {
		return metadata.Object{}, err
	}
	leave, err = m.enter(bucket)
	defer leave()
	if err != nil {
		return metadata.Object{}, err
	}
	return m.store(bucket, key, hexETag(etag), headers, text), nil
}

func (m memoryData) AppendObject(_ context.Context, bucket, key string, position int64, headers metadata.Headers, p Payload) (metadata.Object, error) {
	text, etag, err := readPayload(p)
	if err != nil {
		return metadata.Object{}, err
	}
	leave, err := m.enter(bucket)
	defer leave()
	if err != nil {
		return metadata.Object{}, err
	}
	o, ok := m.objects[bucket][key]
	switch {
	case ok && !o.Appendable:
		return metadata.Object{}, metadata.ErrNotAppendable
	case o.Size != position:
		return metadata.Object{}, metadata.ErrPosition
	case o.Parts == 3:
		return metadata.Object{}, ErrTooManyParts
	case ok:
		headers = o.Headers
	}
	o.Object = m.store(bucket, key, hexETag(etag)+"-1", headers, append(o.bytes, text...))
	o.Appendable, o.bytes = true, append(o.bytes, text...)
	m.objects[bucket][key] = o
	return o.Object, nil
}

func readPayload(p Payload) ([]byte, metadata.ETag, error) {
	text, err := io.ReadAll(p.Body)
	if err != nil {
		return nil, metadata.ETag{}, fmt.Errorf("read payload: %w", err)
	}
	sum := metadata.ETag(md5.Sum(text))
	if p.MD5 != nil && *p.MD5 != sum {
		return nil, metadata.ETag{}, ErrBadDigest
	}
	return scrambled(text, p.Key), sum, nil
}

// scrambled is bytes that only the key makes sense of; it is its own inverse.
func scrambled(b []byte, key *CustomerKey) []byte {
	if key == nil {
		return b
	}
	b = bytes.Clone(b)
	for i := range b {
		b[i] ^= key[0]
	}
	return b
}

func (m memoryData) OpenObject(_ context.Context, bucket, key string) (Object, error) {
	o, err := m.object(bucket, key)
	if err != nil {
		return nil, err
	}
	return &memoryReader{memoryObject: o, m: m.memory}, nil
}

type memoryReader struct {
	memoryObject
	m   *memory
	key *CustomerKey
}

func (r *memoryReader) Unlock(key *CustomerKey) { r.key = key }

func (r *memoryReader) Info() metadata.Object { return r.Object }

func (r *memoryReader) Range(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if r.m.rangeErr != nil {
		return nil, r.m.rangeErr
	}
	whole := scrambled(r.bytes[offset:offset+length], r.key)
	if r.m.cut {
		return io.NopCloser(io.MultiReader(bytes.NewReader(whole[:length/2]), failingReader{})), nil
	}
	return io.NopCloser(bytes.NewReader(whole)), nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("too few shards half way") }
