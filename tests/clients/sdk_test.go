package clients

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qingstor/qingstor-sdk-go/v4/client/upload"
	"github.com/qingstor/qingstor-sdk-go/v4/service"

	"partstore/tests/clients/devcluster"
)

// officialSDK is the official client at every node of one cluster. Each call
// goes through the next node.
type officialSDK struct {
	*testing.T
	cluster *devcluster.Cluster
	calls   int
}

// Every operation that the official client has and the server has, too.
func TestOfficialSDK(t *testing.T) {
	s := &officialSDK{T: t, cluster: startCluster(t)}
	for _, test := range []struct {
		name string
		run  func(*officialSDK)
	}{
		{"buckets", (*officialSDK).buckets},
		{"objects", (*officialSDK).objects},
		{"odd keys", (*officialSDK).oddKeys},
		{"conditions", (*officialSDK).conditions},
		{"copy and move", (*officialSDK).copyAndMove},
		{"listing", (*officialSDK).listing},
		{"multipart", (*officialSDK).multipart},
		{"copied parts", (*officialSDK).copiedParts},
		{"delete multiple", (*officialSDK).deleteMultiple},
		{"appends", (*officialSDK).appends},
		{"upload manager", (*officialSDK).uploadManager},
		{"presigned", (*officialSDK).presigned},
		{"settings", (*officialSDK).settings},
		{"pictures", (*officialSDK).pictures},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(&officialSDK{T: t, cluster: s.cluster}) })
	}
}

// at is the client of a bucket at the next node.
func (s *officialSDK) at(bucket string) *service.Bucket {
	s.Helper()
	s.calls++
	b, err := s.cluster.Bucket(s.cluster.Nodes[s.calls%len(s.cluster.Nodes)], bucket)
	if err != nil {
		s.Fatal(err)
	}
	return b
}

// fresh makes a bucket of the subtest's own and returns how to get at it.
func (s *officialSDK) fresh(name string) func() *service.Bucket {
	s.Helper()
	if _, err := s.at(name).Put(); err != nil {
		s.Fatalf("create %s: %v", name, err)
	}
	return func() *service.Bucket { s.Helper(); return s.at(name) }
}

func (s *officialSDK) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// refused makes sure that an error is the one the client should hear of.
func (s *officialSDK) refused(err error, status int, code string) {
	s.Helper()
	if devcluster.StatusOf(err) != status || devcluster.CodeOf(err) != code {
		s.Errorf("got %v, want %d %s", err, status, code)
	}
}

func (s *officialSDK) put(b *service.Bucket, key string, body []byte) {
	s.Helper()
	_, err := b.PutObject(key, &service.PutObjectInput{Body: bytes.NewReader(body), ContentLength: service.Int64(int64(len(body)))})
	s.ok(err)
}

// has makes sure that an object has exactly this payload.
func (s *officialSDK) has(b *service.Bucket, key string, want []byte) {
	s.Helper()
	out, err := b.GetObject(key, nil)
	if err != nil {
		s.Fatalf("get %q: %v", key, err)
	}
	got, err := io.ReadAll(out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil || !bytes.Equal(got, want) {
		s.Errorf("%q has %d bytes, %v; want %d", key, len(got), err, len(want))
	}
}

func (s *officialSDK) buckets() {
	b := s.fresh("sdk-buckets")
	_, err := b().Put()
	s.refused(err, 409, "bucket_already_exists")
	_, err = b().Head()
	s.ok(err)
	_, err = s.at("sdk-missing").Head()
	s.refused(err, 404, "")
	svc, err := s.cluster.Service(s.cluster.Nodes[0])
	s.ok(err)
	list, err := svc.ListBuckets(nil)
	s.ok(err)
	i := slices.IndexFunc(list.Buckets, func(x *service.BucketType) bool { return *x.Name == "sdk-buckets" })
	if i < 0 || *list.Count != len(list.Buckets) || *list.Buckets[i].Location == "" || list.Buckets[i].Created == nil || *list.Buckets[i].URL == "" {
		s.Errorf("list: %+v", list)
	}
	page, err := svc.ListBuckets(&service.ListBucketsInput{Limit: service.Int(1), Offset: service.Int(1 << 20)})
	s.ok(err)
	if *page.Count != *list.Count || len(page.Buckets) != 0 {
		s.Errorf("a page beyond the end: %+v", page)
	}
	s.statistics(b, 0, 0)
	s.put(b(), "one", []byte("12345"))
	s.put(b(), "two", nil)
	s.statistics(b, 2, 5)
	_, err = b().Delete()
	s.refused(err, 409, "bucket_not_empty")
	for _, key := range []string{"one", "two", "never was"} {
		_, err = b().DeleteObject(key)
		s.ok(err)
	}
	s.statistics(b, 0, 0)
	pending, err := b().InitiateMultipartUpload("pending", nil)
	s.ok(err)
	_, err = b().Delete()
	s.refused(err, 409, "bucket_not_empty")
	_, err = b().AbortMultipartUpload("pending", &service.AbortMultipartUploadInput{UploadID: pending.UploadID})
	s.ok(err)
	_, err = b().Delete()
	s.ok(err)
	_, err = b().Delete()
	s.refused(err, 404, "bucket_not_exists")
	_, err = b().ListObjects(nil)
	s.refused(err, 404, "bucket_not_exists")
}

func (s *officialSDK) statistics(b func() *service.Bucket, count, size int64) {
	s.Helper()
	out, err := b().GetStatistics()
	s.ok(err)
	if *out.Count != count || *out.Size != size || *out.Status != "active" || out.Created == nil || *out.Name == "" || *out.Location == "" {
		s.Errorf("statistics %+v: %d objects of %d bytes; want %d of %d", out, *out.Count, *out.Size, count, size)
	}
}

func (s *officialSDK) objects() {
	b := s.fresh("sdk-objects")
	body := randomBytes(rand.New(rand.NewPCG(1, 1)), 300<<10)
	sum := md5.Sum(body)
	hexSum := hex.EncodeToString(sum[:])
	put, err := b().PutObject("object", &service.PutObjectInput{
		Body: bytes.NewReader(body), ContentLength: service.Int64(int64(len(body))), ContentMD5: &hexSum, // as the official scenarios do
		ContentType: service.String("image/png"), CacheControl: service.String("no-cache"),
		XQSMetaData: &map[string]string{"x-qs-meta-color": "blue", "x-qs-meta-size.of_it": "XL"}, XQSStorageClass: service.String("STANDARD_IA"),
	})
	s.ok(err)
	if *put.ETag != `"`+hexSum+`"` {
		s.Errorf("ETag %s", *put.ETag)
	}
	head, err := b().HeadObject("object", nil)
	s.ok(err)
	meta := *head.XQSMetaData
	if *head.ContentLength != int64(len(body)) || *head.ContentType != "image/png" || *head.ETag != *put.ETag || head.LastModified == nil ||
		*head.XQSStorageClass != "STANDARD_IA" || meta["x-qs-meta-color"] != "blue" || meta["x-qs-meta-size.of_it"] != "XL" {
		s.Errorf("head: %+v %v", head, meta)
	}
	s.has(b(), "object", body)
	part, err := b().GetObject("object", &service.GetObjectInput{Range: service.String("bytes=1000-1999"), ResponseContentType: service.String("video/mp4; charset=utf8")})
	s.ok(err)
	got, err := io.ReadAll(part.Body)
	s.ok(err)
	if !bytes.Equal(got, body[1000:2000]) || *part.StatusCode != 206 || *part.ContentType != "video/mp4; charset=utf8" || *part.ContentRange != fmt.Sprintf("bytes 1000-1999/%d", len(body)) {
		s.Errorf("range: %d bytes, %+v", len(got), part)
	}
	_, err = b().GetObject("object", &service.GetObjectInput{Range: service.String("bytes=999999999-")})
	s.refused(err, 416, "invalid_range")
	_, err = b().PutObject("object", &service.PutObjectInput{Body: strings.NewReader("other"), ContentMD5: &hexSum})
	s.refused(err, 400, "bad_digest")
	_, err = b().PutObject("empty", nil)
	s.ok(err)
	s.has(b(), "empty", nil)
	_, err = b().OptionsObject("object", &service.OptionsObjectInput{Origin: service.String("qingcloud.com"), AccessControlRequestMethod: service.String("GET")})
	s.ok(err)
	_, err = b().HeadObject("missing", nil)
	s.refused(err, 404, "")
	_, err = b().GetObject("missing", nil)
	s.refused(err, 404, "object_not_exists")
}

// oddKeys are keys of every class that clients or servers have got wrong. Each
// is an object of its own.
func oddKeys() map[string]string {
	return map[string]string{
		"slashes":             "a//b///c",
		"leading slash":       "/a",
		"only slashes":        "//",
		"trailing slash":      "directory/",
		"dots":                "./a/../b/.",
		"dot dot":             "..",
		"hidden":              ".hidden",
		"percent":             "100%",
		"percent encoded":     "%41%2F%zz%",
		"plus":                "a+b c",
		"quotes":              `"double" 'single' ` + "`back`",
		"signs":               "!@#$%^&*()`~",
		"more signs":          `<>?:"{}|_+,./;'[]\-=`,
		"question":            "a?uploads&upload_id=1",
		"hash":                "a#b",
		"backslash":           `a\b`,
		"Chinese":             "中文测试",
		"emoji":               "😀👩‍👩‍👧‍👦🏳️‍🌈",
		"right to left":       "שלום/مرحبا",
		"combining":           "e\u0301 and \u00e9",
		"blank":               " ",
		"blanks around":       " a b ",
		"tab and line":        "a\tb\nc",
		"unit separator":      "a\x1fb",
		"zero byte":           "a\x00b",
		"not a character":     "\ufffe\uffff",
		"1023 bytes":          strings.Repeat("長", 341),
		"1023 bytes, slashes": strings.Repeat("a/", 511) + "a",
	}
}

func (s *officialSDK) oddKeys() {
	b := s.fresh("sdk-odd-keys")
	var keys []string
	for name, key := range oddKeys() {
		s.Run(name, func(t *testing.T) {
			s := &officialSDK{T: t, cluster: s.cluster}
			b := func() *service.Bucket { return s.at("sdk-odd-keys") }
			s.put(b(), key, []byte("payload of "+name))
			s.has(b(), key, []byte("payload of "+name))
			head, err := b().HeadObject(key, nil)
			s.ok(err)
			if *head.ContentLength != int64(len("payload of "+name)) {
				s.Errorf("head: %d bytes", *head.ContentLength)
			}
			list, err := b().ListObjects(&service.ListObjectsInput{Prefix: &key})
			s.ok(err)
			if !slices.ContainsFunc(list.Keys, func(k *service.KeyType) bool { return *k.Key == key }) {
				s.Errorf("%q is not listed", key)
			}
			s.uploadKey(b, key, name)
		})
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var listed []string
	list, err := b().ListObjects(&service.ListObjectsInput{Limit: service.Int(1000)})
	s.ok(err)
	for _, k := range list.Keys {
		listed = append(listed, *k.Key)
	}
	if !slices.Equal(listed, keys) {
		s.Errorf("listed %q, want %q", listed, keys)
	}
	for _, key := range keys {
		_, err := b().DeleteObject(key)
		s.ok(err)
		_, err = b().HeadObject(key, nil)
		s.refused(err, 404, "")
	}
}

// uploadKey puts the same key by a multipart upload, which names it otherwise.
func (s *officialSDK) uploadKey(b func() *service.Bucket, key, name string) {
	s.Helper()
	out, err := b().InitiateMultipartUpload(key, nil)
	s.ok(err)
	if *out.Key != key {
		s.Errorf("initiated %q", *out.Key)
	}
	s.part(b(), key, out.UploadID, 0, []byte("uploaded "+name))
	uploads, err := b().ListMultipartUploads(&service.ListMultipartUploadsInput{Prefix: &key})
	s.ok(err)
	if !slices.ContainsFunc(uploads.Uploads, func(u *service.UploadsType) bool { return *u.Key == key && *u.UploadID == *out.UploadID }) {
		s.Errorf("upload of %q is not listed", key)
	}
	s.complete(b(), key, out.UploadID, nil, 0)
	s.has(b(), key, []byte("uploaded "+name))
}

func (s *officialSDK) part(b *service.Bucket, key string, id *string, number int, body []byte) {
	s.Helper()
	_, err := b.UploadMultipart(key, &service.UploadMultipartInput{
		UploadID: id, PartNumber: &number, Body: bytes.NewReader(body), ContentLength: service.Int64(int64(len(body))),
	})
	s.ok(err)
}

func (s *officialSDK) complete(b *service.Bucket, key string, id, etag *string, numbers ...int) {
	s.Helper()
	in := &service.CompleteMultipartUploadInput{UploadID: id, ETag: etag}
	for _, n := range numbers {
		in.ObjectParts = append(in.ObjectParts, &service.ObjectPartType{PartNumber: service.Int(n)})
	}
	_, err := b.CompleteMultipartUpload(key, in)
	s.ok(err)
}

func (s *officialSDK) conditions() {
	b := s.fresh("sdk-conditions")
	put, err := b().PutObject("object", &service.PutObjectInput{Body: strings.NewReader("payload")})
	s.ok(err)
	head, err := b().HeadObject("object", nil)
	s.ok(err)
	before, other := head.LastModified.Add(-time.Hour), service.String(`"other"`)
	for name, tc := range map[string]struct {
		in     service.GetObjectInput
		status int
	}{
		"match":            {service.GetObjectInput{IfMatch: put.ETag}, 200},
		"another match":    {service.GetObjectInput{IfMatch: other}, 412},
		"none match":       {service.GetObjectInput{IfNoneMatch: put.ETag}, 304},
		"no other match":   {service.GetObjectInput{IfNoneMatch: other}, 200},
		"modified":         {service.GetObjectInput{IfModifiedSince: &before}, 200},
		"not modified":     {service.GetObjectInput{IfModifiedSince: head.LastModified}, 304},
		"unmodified":       {service.GetObjectInput{IfUnmodifiedSince: head.LastModified}, 200},
		"modified, though": {service.GetObjectInput{IfUnmodifiedSince: &before}, 412},
		"match first":      {service.GetObjectInput{IfMatch: put.ETag, IfUnmodifiedSince: &before}, 200},
		"none match first": {service.GetObjectInput{IfNoneMatch: other, IfModifiedSince: head.LastModified}, 200},
	} {
		out, err := b().GetObject("object", &tc.in)
		status := devcluster.StatusOf(err)
		if err == nil {
			status = *out.StatusCode
			s.ok(out.Body.Close())
		}
		if status != tc.status {
			s.Errorf("%s: %d, %v; want %d", name, status, err, tc.status)
		}
	}
}

func (s *officialSDK) copyAndMove() {
	b, other := s.fresh("sdk-copies"), s.fresh("sdk-copies-too")
	body := randomBytes(rand.New(rand.NewPCG(2, 2)), 6<<20)
	for name, key := range oddKeys() {
		if strings.ContainsAny(key, "\n\x00\x1f\t") || strings.TrimSpace(key) != key {
			continue // what no header can carry as it is
		}
		target := key[:min(len(key), 900)]
		target = strings.ToValidUTF8(target, "")
		s.put(b(), key, body[:len(name)])
		_, err := other().PutObject(target+" copy", &service.PutObjectInput{XQSCopySource: service.String("/sdk-copies/" + key)})
		if err != nil {
			s.Errorf("copy %q: %v", key, err)
			continue
		}
		s.has(other(), target+" copy", body[:len(name)])
		_, err = b().PutObject(target+" moved", &service.PutObjectInput{XQSMoveSource: service.String("/sdk-copies/" + key)})
		s.ok(err)
		s.has(b(), target+" moved", body[:len(name)])
		_, err = b().HeadObject(key, nil)
		s.refused(err, 404, "")
	}
	s.put(b(), "large", body)
	_, err := b().PutObject("large", &service.PutObjectInput{
		XQSCopySource: service.String("/sdk-copies/large"), XQSMetadataDirective: service.String("REPLACE"),
		XQSMetaData: &map[string]string{"x-qs-meta-color": "red"}, ContentType: service.String("image/gif"),
	})
	s.ok(err)
	_, err = other().PutObject("large", &service.PutObjectInput{XQSCopySource: service.String("/sdk-copies/large")})
	s.ok(err)
	_, err = b().DeleteObject("large") // the copy keeps what it names
	s.ok(err)
	s.has(other(), "large", body)
	head, err := other().HeadObject("large", nil)
	s.ok(err)
	if (*head.XQSMetaData)["x-qs-meta-color"] != "red" || *head.ContentType != "image/gif" {
		s.Errorf("copied headers: %+v", head)
	}
	_, err = b().PutObject("x", &service.PutObjectInput{XQSCopySource: service.String("/sdk-copies/missing")})
	s.refused(err, 404, "object_not_exists")
	_, err = b().PutObject("x", &service.PutObjectInput{XQSCopySource: service.String("/sdk-copies-too/large"), XQSCopySourceIfNoneMatch: head.ETag})
	s.refused(err, 412, "precondition_failed")
}

func (s *officialSDK) listing() {
	b := s.fresh("sdk-listing")
	var want []string
	for i := range 4 {
		for j := range 3 {
			want = append(want, fmt.Sprintf("d%d/f%d", i, j))
		}
		want = append(want, fmt.Sprintf("top%d", i))
	}
	for _, key := range want {
		s.put(b(), key, []byte(key))
	}
	slices.Sort(want)
	list := func(prefix, delimiter string, limit int) (entries []string) {
		marker := ""
		for range 100 {
			page, err := b().ListObjects(&service.ListObjectsInput{Prefix: &prefix, Delimiter: &delimiter, Limit: &limit, Marker: &marker})
			s.ok(err)
			var here []string
			for _, k := range page.Keys {
				here = append(here, *k.Key)
				if k.Modified == nil || *k.Modified == 0 || *k.Etag == "" || *k.Size != int64(len(*k.Key)) {
					s.Errorf("entry %+v", k)
				}
			}
			for _, p := range page.CommonPrefixes {
				here = append(here, *p)
			}
			slices.Sort(here)
			if entries = append(entries, here...); len(here) > limit {
				s.Errorf("%d entries, limit %d", len(here), limit)
			}
			if marker = *page.NextMarker; (marker != "") != *page.HasMore {
				s.Errorf("next %q, more %t", marker, *page.HasMore)
			}
			if marker == "" {
				return entries
			}
		}
		s.Fatal("the listing does not end")
		return nil
	}
	if got := list("", "", 4); !slices.Equal(got, want) {
		s.Errorf("listed %q", got)
	}
	if got := list("", "/", 3); !slices.Equal(got, []string{"d0/", "d1/", "d2/", "d3/", "top0", "top1", "top2", "top3"}) {
		s.Errorf("listed %q", got)
	}
	if got := list("d1/", "/", 2); !slices.Equal(got, []string{"d1/f0", "d1/f1", "d1/f2"}) {
		s.Errorf("listed %q", got)
	}
}

// multipart is the flow of the official scenarios: the entries of List Parts go
// back in Complete, with an ETag of the client's own; then Abort and Delete.
func (s *officialSDK) multipart() {
	b := s.fresh("sdk-multipart")
	body := randomBytes(rand.New(rand.NewPCG(3, 3)), 12<<20)
	out, err := b().InitiateMultipartUpload("large", &service.InitiateMultipartUploadInput{
		ContentType: service.String("text/plain"), XQSMetaData: &map[string]string{"x-qs-meta-a": "b"},
	})
	s.ok(err)
	list := func() *service.ListMultipartOutput {
		parts, err := b().ListMultipart("large", &service.ListMultipartInput{UploadID: out.UploadID})
		s.ok(err)
		return parts
	}
	if got := list(); *got.Count != 0 || len(got.ObjectParts) != 0 {
		s.Errorf("parts before the first: %+v", got)
	}
	s.part(b(), "large", out.UploadID, 0, body[:5<<20])
	s.part(b(), "large", out.UploadID, 1, []byte("to be replaced"))
	s.part(b(), "large", out.UploadID, 1, body[5<<20:9<<20])
	s.part(b(), "large", out.UploadID, 2, body[9<<20:])
	parts := list()
	if *parts.Count != 3 || *parts.ObjectParts[1].Size != 4<<20 || parts.ObjectParts[0].Created == nil {
		s.Errorf("parts: %+v", parts)
	}
	uploads, err := b().ListMultipartUploads(&service.ListMultipartUploadsInput{Prefix: service.String("lar")})
	s.ok(err)
	if len(uploads.Uploads) != 1 || *uploads.Uploads[0].UploadID != *out.UploadID || *uploads.HasMore || *uploads.NextKeyMarker != "" {
		s.Errorf("uploads: %+v", uploads)
	}
	own := service.String(`"4072783b8efb99a9e5817067d68f61c6"`) // not the MD5 of anything here
	for range 2 {                                               // a client that did not hear the first answer
		_, err = b().CompleteMultipartUpload("large", &service.CompleteMultipartUploadInput{
			UploadID: out.UploadID, ObjectParts: parts.ObjectParts, ETag: own,
		})
		s.ok(err)
	}
	s.has(b(), "large", body)
	head, err := b().HeadObject("large", nil)
	s.ok(err)
	if *head.ETag != *own || *head.ContentType != "text/plain" || (*head.XQSMetaData)["x-qs-meta-a"] != "b" {
		s.Errorf("head: %+v", head)
	}
	_, err = b().AbortMultipartUpload("large", &service.AbortMultipartUploadInput{UploadID: out.UploadID})
	s.ok(err)
	s.has(b(), "large", body)
	_, err = b().ListMultipart("large", &service.ListMultipartInput{UploadID: out.UploadID})
	s.refused(err, 404, "upload_not_exists")
	_, err = b().DeleteObject("large")
	s.ok(err)
}

func (s *officialSDK) copiedParts() {
	b := s.fresh("sdk-copied-parts")
	body := randomBytes(rand.New(rand.NewPCG(4, 4)), 11<<20)
	s.put(b(), "source", body)
	out, err := b().InitiateMultipartUpload("target", nil)
	s.ok(err)
	var want []byte
	for n, span := range [][2]int{{1, 5 << 20}, {0, 4<<20 - 1}, {7 << 20, 11<<20 - 1}} {
		copied, err := b().UploadMultipart("target", &service.UploadMultipartInput{
			UploadID: out.UploadID, PartNumber: service.Int(n), XQSCopySource: service.String("/sdk-copied-parts/source"),
			XQSCopyRange: service.String(fmt.Sprintf("bytes=%d-%d", span[0], span[1])),
		})
		s.ok(err)
		if got := service.StringValue(copied.XQSContentCopyRange); got != fmt.Sprintf("bytes %d-%d/%d", span[0], span[1], len(body)) {
			s.Errorf("copied range %q", got)
		}
		want = append(want, body[span[0]:span[1]+1]...)
	}
	s.complete(b(), "target", out.UploadID, nil, 0, 1, 2)
	s.has(b(), "target", want)
}

func (s *officialSDK) deleteMultiple() {
	b := s.fresh("sdk-delete-many")
	in := &service.DeleteMultipleObjectsInput{}
	for i := range 300 {
		key := fmt.Sprintf("key %d", i)
		if i%3 > 0 {
			s.put(b(), key, nil)
		}
		in.Objects = append(in.Objects, &service.KeyType{Key: &key})
	}
	out, err := b().DeleteMultipleObjects(in)
	s.ok(err)
	if len(out.Deleted) != 300 || len(out.Errors) != 0 {
		s.Errorf("%d deleted, %d errors", len(out.Deleted), len(out.Errors))
	}
	s.statistics(b, 0, 0)
}

func (s *officialSDK) uploadManager() {
	b := s.fresh("sdk-upload-manager")
	for _, size := range []int{0, 1, 4<<20 - 1, 4 << 20, 4<<20 + 1, 8 << 20, 9 << 20} {
		body := randomBytes(rand.New(rand.NewPCG(5, uint64(size))), size)
		path := filepath.Join(s.TempDir(), "file")
		s.ok(os.WriteFile(path, body, 0o600))
		f, err := os.Open(path)
		s.ok(err)
		key := fmt.Sprint("object of ", size)
		s.ok(upload.Init(b(), 4<<20).Upload(f, key))
		_ = f.Close() // the client has closed it, perhaps
		s.has(b(), key, body)
	}
}

func (s *officialSDK) presigned() {
	b := s.fresh("sdk-presigned")
	s.put(b(), "an object+", []byte("payload"))
	req, _, err := b().GetObjectRequest("an object+", &service.GetObjectInput{ResponseContentDisposition: service.String(`attachment; filename="中 +.txt"`)})
	s.ok(err)
	s.ok(req.Build())
	s.ok(req.SignQuery(60))
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, req.HTTPRequest.URL.String(), nil)
	s.ok(err)
	res, err := http.DefaultClient.Do(get)
	s.ok(err)
	got, err := io.ReadAll(res.Body)
	s.ok(errors.Join(err, res.Body.Close()))
	if res.StatusCode != 200 || string(got) != "payload" || res.Header.Get("Content-Disposition") != `attachment; filename="中 +.txt"` {
		s.Errorf("%d %q %v", res.StatusCode, got, res.Header)
	}
	put, _, err := b().PutObjectRequest("put by URL", &service.PutObjectInput{})
	s.ok(err)
	s.ok(put.Build())
	s.ok(put.SignQuery(60))
	send, err := http.NewRequestWithContext(ctx, http.MethodPut, put.HTTPRequest.URL.String(), strings.NewReader("by URL"))
	s.ok(err)
	res, err = http.DefaultClient.Do(send)
	s.ok(err)
	s.ok(res.Body.Close())
	if res.StatusCode != 201 {
		s.Errorf("PUT by URL: %d", res.StatusCode)
	}
	s.has(b(), "put by URL", []byte("by URL"))
}

func (s *officialSDK) appends() {
	b := s.fresh("sdk-appends")
	var want []byte
	for i, size := range []int{0, 5, 300 << 10, 0, 5 << 20, 1} {
		body := randomBytes(rand.New(rand.NewPCG(6, uint64(i))), size)
		at := int64(len(want))
		out, err := b().AppendObject("log", &service.AppendObjectInput{Position: &at, Body: bytes.NewReader(body), ContentLength: service.Int64(int64(size))})
		s.ok(err)
		if want = append(want, body...); *out.XQSNextAppendPosition != int64(len(want)) {
			s.Errorf("next position %d, want %d", *out.XQSNextAppendPosition, len(want))
		}
		s.has(b(), "log", want)
	}
	head, err := b().HeadObject("log", nil)
	s.ok(err)
	if *head.XQSObjectType != "appendable" || *head.XQSNextAppendPosition != int64(len(want)) {
		s.Errorf("head: %+v", head)
	}
	_, err = b().AppendObject("log", &service.AppendObjectInput{Position: service.Int64(3), Body: strings.NewReader("x")})
	s.refused(err, 400, "invalid_argument")
	_, err = b().PutObject("copy", &service.PutObjectInput{XQSCopySource: service.String("/sdk-appends/log")})
	s.ok(err)
	_, err = b().PutObject("moved", &service.PutObjectInput{XQSMoveSource: service.String("/sdk-appends/log")})
	s.ok(err)
	at := int64(len(want))
	_, err = b().AppendObject("moved", &service.AppendObjectInput{Position: &at, Body: strings.NewReader("more")})
	s.ok(err)
	s.has(b(), "copy", want)
	s.has(b(), "moved", append(want, "more"...))
	_, err = b().AppendObject("copy", &service.AppendObjectInput{Position: &at, Body: strings.NewReader("x")})
	s.refused(err, 400, "invalid_object_state")
}
