package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// s3Page is how many parts fakeS3 lists at a time, whatever it is asked for.
const s3Page = 2

// fakeS3 keeps uploads and objects as fakeServer does and speaks S3. It refuses
// what is not signed as S3 wants it.
type fakeS3 struct {
	t *testing.T
	fakeServer
}

func startFakeS3(t *testing.T, f *fakeS3) string {
	t.Helper()
	f.t, f.uploads, f.objects = t, map[string]map[int][]byte{}, map[string][]byte{}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

func failS3(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amz-Request-Id", "feedfeedfeedfeed")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if wrong := checkSigned(r, body); wrong != "" {
		f.t.Errorf("%s %s: %s", r.Method, r.URL, wrong)
		failS3(w, http.StatusForbidden, "SignatureDoesNotMatch")
		return
	}
	if f.fault != nil && f.fault(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key, q := r.URL.Path, r.URL.Query()
	id := q.Get("uploadId")
	parts, open := f.uploads[id]
	switch {
	case strings.Count(key, "/") == 1:
		failS3(w, http.StatusConflict, "BucketAlreadyOwnedByYou")
	case q.Has("uploads"):
		f.serial++
		id := fmt.Sprintf("%032x", f.serial)
		f.uploads[id] = map[int][]byte{}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case id != "" && !open:
		failS3(w, http.StatusNotFound, "NoSuchUpload")
	case id != "" && r.Method == http.MethodDelete:
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case q.Has("partNumber"):
		f.putPart(w, parts, q.Get("partNumber"), body)
	case id != "" && r.Method == http.MethodGet:
		f.listParts(w, parts, q.Get("part-number-marker"))
	case id != "":
		f.complete(w, parts, key, body)
		delete(f.uploads, id)
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case f.objects[key] == nil:
		failS3(w, http.StatusNotFound, "NoSuchKey")
	default:
		f.get(w, r, key)
	}
}

// checkSigned signs the request again and says what is wrong with its signature.
func checkSigned(r *http.Request, body []byte) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ := strings.Cut(rest, ",")
	sum := r.Header.Get("X-Amz-Content-Sha256")
	if want := sha256.Sum256(body); sum != "UNSIGNED-PAYLOAD" && sum != hex.EncodeToString(want[:]) {
		return "the sum of the body is " + sum
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return err.Error()
	}
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.RequestURI, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	for name, values := range r.Header {
		if slices.Contains(strings.Split(signed, ";"), strings.ToLower(name)) {
			again.Header[name] = values
		}
	}
	credentials := aws.Credentials{AccessKeyID: "ID", SecretAccessKey: "hidden-secret"}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(r.Context(), credentials, again, sum, "s3", "nowhere-1", at); err != nil {
		return err.Error()
	}
	if got, want := r.Header.Get("Authorization"), again.Header.Get("Authorization"); got != want {
		return fmt.Sprintf("signed %q, want %q", got, want)
	}
	return ""
}

func (f *fakeS3) putPart(w http.ResponseWriter, parts map[int][]byte, number string, body []byte) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 10_000 {
		failS3(w, http.StatusBadRequest, "InvalidArgument")
		return
	}
	parts[n] = body
	sum := md5.Sum(body)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
}

func (f *fakeS3) listParts(w http.ResponseWriter, parts map[int][]byte, marker string) {
	after, _ := strconv.Atoi(marker) // "" is 0
	var numbers []int
	for n := range parts {
		if n > after {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	truncated := len(numbers) > s3Page
	numbers = numbers[:min(len(numbers), s3Page)]
	fmt.Fprintf(w, "<ListPartsResult><IsTruncated>%v</IsTruncated>", truncated)
	for _, n := range numbers {
		sum := md5.Sum(parts[n])
		fmt.Fprintf(w, "<NextPartNumberMarker>%d</NextPartNumberMarker>", n)
		fmt.Fprintf(w, "<Part><PartNumber>%d</PartNumber><Size>%d</Size><ETag>&quot;%x&quot;</ETag></Part>", n, len(parts[n]), sum)
	}
	io.WriteString(w, "</ListPartsResult>")
}

func (f *fakeS3) complete(w http.ResponseWriter, parts map[int][]byte, key string, body []byte) {
	var list struct {
		Part []struct{ PartNumber int }
	}
	if err := xml.Unmarshal(body, &list); err != nil {
		failS3(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	whole := []byte{}
	for _, p := range list.Part {
		part, ok := parts[p.PartNumber]
		if !ok {
			failS3(w, http.StatusBadRequest, "InvalidPart")
			return
		}
		whole = append(whole, part...)
	}
	f.objects[key] = whole
	io.WriteString(w, "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
}

func s3Load(t *testing.T, url string, args ...string) (status int, r report, stderr string) {
	t.Helper()
	return partload(t, url, append([]string{"--dialect", "s3", "--region", "nowhere-1"}, args...)...)
}

func TestEveryWorkloadPassesOnAGoodS3Store(t *testing.T) {
	for name := range workloads {
		t.Run(name, func(t *testing.T) {
			f := &fakeS3{}
			status, r, stderr := s3Load(t, startFakeS3(t, f), "--workload", name, "--ops", "50", "--clients", "4",
				"--part-size", "0:1,1:1,7000:2", "--parts", "5")
			if status != 0 || r.Errors != 0 || r.Failed != 0 || r.Dialect != "s3" {
				t.Fatalf("status %d, report %+v, stderr %q", status, r, stderr)
			}
			if len(f.uploads) != 0 || len(f.objects) != 0 {
				t.Errorf("left behind: %d uploads, %d objects", len(f.uploads), len(f.objects))
			}
		})
	}
}

func TestBrokenPromisesOfAnS3StoreAreFound(t *testing.T) {
	known := func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Query().Get("uploadId"), "00000000000000000000000000")
	}
	for name, tc := range map[string]struct {
		kind string
		set  func(f *fakeS3)
	}{
		"flipped bit": {kindWrongBytes, func(f *fakeS3) {
			f.alter = func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
		}},
		"404 for a known upload": {kindFalse404, func(f *fakeS3) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !known(r) || r.Method != http.MethodGet || f.faults.Add(-1) < 0 {
					return false
				}
				failS3(w, http.StatusNotFound, "NoSuchUpload")
				return true
			}
		}},
		"part missing from the list": {kindLostPart, func(f *fakeS3) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !known(r) || r.Method != http.MethodGet {
					return false
				}
				io.WriteString(w, "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>")
				return true
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeS3{}
			tc.set(f)
			f.faults.Store(1)
			status, r, stderr := s3Load(t, startFakeS3(t, f), "--ops", "60", "--clients", "2", "--part-size", "3000")
			if status != 1 || r.Findings[tc.kind] == 0 {
				t.Errorf("status %d, findings %v, stderr %q; want status 1 and %s", status, r.Findings, stderr, tc.kind)
			}
		})
	}
}

// TestS3ErrorsAreTriedAgainByUs: the library must not hide how often.
func TestS3ErrorsAreTriedAgainByUs(t *testing.T) {
	f := &fakeS3{}
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !r.URL.Query().Has("partNumber") || f.faults.Add(-1) < 0 {
			return false
		}
		failS3(w, http.StatusServiceUnavailable, "SlowDown")
		return true
	}
	f.faults.Store(3)
	status, r, stderr := s3Load(t, startFakeS3(t, f), "--workload", "put", "--ops", "20", "--clients", "1", "--part-size", "100")
	if n := r.Operations["put_part"].Errors["503 SlowDown"]; status != 0 || n != 3 {
		t.Errorf("status %d, %d errors, stderr %q; want 0 and 3", status, n, stderr)
	}
}
