package qingstor

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image"
	"image/png"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// aPicture is a PNG that is opaque and black.
func aPicture(t *testing.T, w, h int) string {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := 3; i < len(m.Pix); i += 4 {
		m.Pix[i] = 0xff
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// processing is a request for an action on /mybucket/picture.
func processing(action string) request {
	return request{method: "GET", target: "/mybucket/picture?image&action=" + url.QueryEscape(action)}
}

func pictureServer(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/picture", body: aPicture(t, 40, 30)}, 201)
	return s
}

// sizeOf is the size of the picture that an answer is.
func sizeOf(t *testing.T, a answer) image.Point {
	t.Helper()
	c, err := png.DecodeConfig(strings.NewReader(a.body))
	if err != nil {
		t.Fatalf("%.50q: %v", a.body, err)
	}
	return image.Pt(c.Width, c.Height)
}

func TestProcessImage(t *testing.T) {
	s := pictureServer(t)
	a := s.must(t, processing("resize:w_20|rotate:a_90"), 200)
	if got := sizeOf(t, a); got != image.Pt(15, 20) {
		t.Errorf("size %v", got)
	}
	if h := a.header; h.Get("Content-Type") != "image/png" || h.Get("Last-Modified") != testNow.Format(http.TimeFormat) || h["Etag"] != nil || h["Accept-Ranges"] != nil {
		t.Errorf("headers %v", h)
	}
	a = s.must(t, processing("info"), 200)
	if want := `{"width":40,"height":30,"alpha":false,"type":"png","space":"srgb"}`; strings.TrimSpace(a.body) != want || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("info %s %v", a.body, a.header)
	}
	r := processing("rotate:a_90")
	r.target += "&response-content-type=x/y"
	if got := s.must(t, r, 200).header.Get("Content-Type"); got != "x/y" {
		t.Errorf("Content-Type %q", got)
	}
	r.unsigned = true
	s.set(t, "acl", grantTo(everybody, "READ"))
	s.refuses(t, r, 403, "permission_denied")
	if got := sizeOf(t, s.must(t, processing("rotate:a_90").with(func(r *request) { r.unsigned = true }), 200)); got != image.Pt(30, 40) {
		t.Errorf("for everybody size %v", got)
	}
	since := processing("info").with(func(r *request) {
		r.header = append(r.header, "If-Modified-Since: "+testNow.Format(http.TimeFormat))
	})
	if a := s.must(t, since, 304); a.body != "" {
		t.Errorf("304 with %q", a.body)
	}
	s.refuses(t, processing("info").with(func(r *request) { r.header = append(r.header, `If-Match: "x"`) }), 412, "precondition_failed")
}

func TestProcessImageRefuses(t *testing.T) {
	s := pictureServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/text", body: "a text"}, 201)
	s.must(t, request{method: "PUT", target: "/mybucket/empty"}, 201)
	s.must(t, request{method: "PUT", target: "/mybucket/large", body: strings.Repeat("x", maxPictureSource+1)}, 201)
	s.must(t, request{method: "PUT", target: "/mybucket/sealed", body: aPicture(t, 4, 3)}.own(keyX), 201)
	on := func(key, action string) request {
		return request{method: "GET", target: "/mybucket/" + key + "?image&action=" + action}
	}
	for _, r := range []request{
		on("text", "info"), on("empty", "info"), on("picture", ""), on("picture", "blur"), on("picture", "crop:l_40"),
		on("picture", "resize:w_65535,h_65535"), {method: "GET", target: "/mybucket/picture?image"},
	} {
		s.refuses(t, r, 400, "invalid_argument")
	}
	for key, why := range map[string]string{"large": "more than", "sealed": "encrypted"} {
		if a := s.must(t, on(key, "info"), 400); a.code() != "invalid_argument" || !strings.Contains(a.body, why) {
			t.Errorf("%s: %v", key, a)
		}
	}
	s.refuses(t, on("absent", "info"), 404, "object_not_exists")
	s.refuses(t, request{method: "HEAD", target: "/mybucket/picture?image&action=info"}, 405, "method_not_allowed")
	s.with(func() { s.cut = true })
	if a := s.do(t, on("picture", "rotate:a_90")); a.status < 500 {
		t.Errorf("half a picture was read: %v", a.status)
	}
}

func TestProcessImageSaves(t *testing.T) {
	s := pictureServer(t)
	save := func(bucket string) request { return processing("resize:w_8|save:b_" + bucket + ",k_a/b c") }
	if got := sizeOf(t, s.must(t, save(testBucket), 200)); got != image.Pt(8, 6) {
		t.Errorf("answered size %v", got)
	}
	saved := s.must(t, request{method: "GET", target: "/mybucket/a/b%20c"}, 200)
	if got := sizeOf(t, saved); got != image.Pt(8, 6) || saved.header.Get("Content-Type") != "image/png" {
		t.Errorf("saved size %v, %s", got, saved.header.Get("Content-Type"))
	}
	s.refuses(t, save("missing-bucket"), 404, "bucket_not_exists")
	s.refuses(t, save("x"), 404, "bucket_not_exists")
	s.refuses(t, processing("save:b_mybucket,k_"+strings.Repeat("k", maxKeyBytes+1)), 400, "invalid_object_name")

	// Who may read may not write.
	s.must(t, request{method: "DELETE", target: "/mybucket/a/b%20c"}, 204)
	stranger := save(testBucket).with(func(r *request) { r.accessKey = otherKey })
	s.set(t, "acl", grantTo(aStranger, "READ"))
	s.refuses(t, stranger, 403, "permission_denied")
	// Nor may who was given a presigned URL, though its owner may.
	presigned := processing("info").presigned(testNow.Add(time.Hour))
	s.must(t, presigned, 200)
	presigned.target = strings.Replace(presigned.target, "action=info", "action=save:b_mybucket,k_a/b%20c", 1)
	s.refuses(t, presigned, 403, "permission_denied")
	s.refuses(t, request{method: "GET", target: "/mybucket/a/b%20c"}, 404, "object_not_exists")

	s.set(t, "acl", grantTo(everybody, "FULL_CONTROL"))
	s.must(t, stranger, 200)
	s.must(t, presigned, 200)
}

func TestProcessImageStamps(t *testing.T) {
	s := pictureServer(t)
	s.must(t, request{method: "PUT", target: "/mybucket/dir/a+b%20%25.png", body: aPicture(t, 2, 2)}, 201)
	s.must(t, request{method: "PUT", target: "/mybucket?cname", body: `{"domain":"img.example.com"}`}, 200)
	stamped := func(u string) request {
		return processing("watermark_image:u_" + base64.RawStdEncoding.EncodeToString([]byte(u)))
	}
	for _, u := range []string{
		"http://pek3a.qs.test/mybucket/dir/a+b%20%25.png", "https://qs.test:8443/mybucket/dir/a%2Bb%20%25.png", "http://mybucket.pek3a.qs.test/dir/a+b%20%25.png?x=y",
		"http://img.example.com/dir/a+b%20%25.png",
	} {
		s.must(t, stamped(u), 200)
	}
	byAddress := stamped("http://10.1.2.3:80/mybucket/dir/a+b%20%25.png")
	s.refuses(t, byAddress, 400, "invalid_argument")
	s.must(t, byAddress.with(func(r *request) { r.host = "10.1.2.3:80" }), 200)
	for _, u := range []string{"http://example.com/mybucket/dir/a+b%20%25.png", "//qs.test/mybucket/picture", "/mybucket/picture", "ftp://qs.test/mybucket/picture", "http://qs.test/%zz"} {
		s.refuses(t, stamped(u), 400, "invalid_argument")
	}
	s.refuses(t, stamped("http://qs.test/mybucket/absent"), 404, "object_not_exists")
	s.refuses(t, stamped("http://qs.test/missing-bucket/picture"), 404, "bucket_not_exists")
	s.refuses(t, stamped("http://qs.test/"), 404, "bucket_not_exists")
	s.refuses(t, stamped("http://qs.test/mybucket"), 400, "invalid_object_name")

	// A watermark shows nobody what he may not read.
	s.set(t, "policy", `{"statement":[{"id":"1","user":"*","action":"get_object","effect":"allow","resource":"mybucket/picture"}]}`)
	secret, open := stamped("http://qs.test/mybucket/dir/a+b%20%25.png"), stamped("http://qs.test/mybucket/picture")
	for _, as := range []func(*request){func(r *request) { r.unsigned = true }, func(r *request) { r.accessKey = otherKey }} {
		s.refuses(t, secret.with(as), 403, "permission_denied")
		s.must(t, open.with(as), 200)
	}
	s.must(t, secret, 200)
	s.refuses(t, secret.presigned(testNow.Add(time.Hour)), 403, "permission_denied")
	s.must(t, open.presigned(testNow.Add(time.Hour)), 200)
}

// Pictures are processed a few at a time. Others wait, no more than so many.
func TestPicturesWait(t *testing.T) {
	s := pictureServer(t)
	d := s.handler.pictures
	d.patience = time.Hour
	if err := d.work.Acquire(t.Context(), maxPictures); err != nil {
		t.Fatal(err)
	}
	status := make(chan int, 1)
	go func() {
		a, _ := s.exchange(processing("info").with(func(r *request) { r.header = []string{"Connection: close"} }).text(), "GET")
		status <- a.status
	}()
	waiting := func(want int32) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); d.queued.Load() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d pictures wait, want %d", d.queued.Load(), want)
			}
		}
	}
	waiting(1)
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(processing("info").text())); err != nil {
		t.Fatal(err)
	}
	waiting(2)
	conn.Close()
	waiting(1) // who has left does not
	d.queued.Add(maxPicturesQueued - 1)
	s.refuses(t, processing("info"), 503, "service_unavailable")
	d.queued.Add(1 - maxPicturesQueued)
	select {
	case got := <-status:
		t.Fatalf("a picture that had to wait is answered %d", got)
	default:
	}
	d.work.Release(maxPictures)
	if got := <-status; got != 200 {
		t.Errorf("after it has waited a picture is answered %d", got)
	}
	if d.queued.Load() != 0 || !d.work.TryAcquire(maxPictures) || !d.sent.TryAcquire(maxPicturesSent) {
		t.Error("something is not given back")
	}
}

// A picture that takes too long makes room for others.
func TestPicturesTakeAMinute(t *testing.T) {
	s := pictureServer(t)
	d := s.handler.pictures
	if d.longest != time.Minute {
		t.Errorf("a picture may take %s", d.longest)
	}
	d.longest = 0
	s.refuses(t, processing("rotate:a_90"), 503, "service_unavailable")
	if !d.work.TryAcquire(maxPictures) {
		t.Error("no room is made")
	}
}

func TestPicturePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDarkroom()
		for range maxPictures {
			if _, err := d.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if _, err := d.enter(t.Context()); !errors.Is(err, errPicturesBusy) || time.Since(began) != picturePatience {
			t.Errorf("enter = %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("enter = %v", err)
		}
	})
}
