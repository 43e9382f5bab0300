package cluster

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node"
	"partstore/node/admin"
)

// narrowParts are what a test stored while two of six nodes were away.
type narrowParts struct {
	*testcluster.Cluster
	here    []int // the nodes that were not
	objects map[string][]byte
	headers map[string]http.Header // to read them with
	etags   map[string]string
}

// do sends a request through a node that is there, and comes back on 503.
func (s *narrowParts) do(r qsclient.Request, body []byte, want int) (answer []byte, h http.Header) {
	s.T.Helper()
	s.Await(r.Method+" "+r.Key, func() error {
		if body != nil {
			r.Body, r.Size = bytes.NewReader(body), int64(len(body))
		}
		resp, err := s.Client(s.here[len(s.objects)%len(s.here)]).Do(s.T.Context(), r)
		s.Must(err)
		defer resp.Body.Close()
		answer, err = io.ReadAll(resp.Body)
		s.Must(err)
		if resp.StatusCode == http.StatusServiceUnavailable {
			return fmt.Errorf("503: %s", answer)
		}
		if resp.StatusCode != want {
			s.T.Fatalf("%s %s = %d %s, want %d", r.Method, r.Key, resp.StatusCode, answer, want)
		}
		h = resp.Header
		return nil
	})
	return answer, h
}

func (s *narrowParts) put(key string, body []byte, h http.Header) {
	s.T.Helper()
	s.do(qsclient.Request{Method: "PUT", Bucket: bucket, Key: key, Header: h}, body, http.StatusCreated)
	s.objects[key], s.headers[key] = body, h
}

// check reads everything through a node, and compares ETags with those of before.
func (s *narrowParts) check(through int) {
	s.T.Helper()
	for key, want := range s.objects {
		resp, err := s.Client(through).Do(s.T.Context(), qsclient.Request{Method: "GET", Bucket: bucket, Key: key, Header: s.headers[key]})
		s.Must(err, key)
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // all that there is was read
		etag := resp.Header.Get("ETag")
		if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
			s.T.Fatalf("%s through node %d: %d, %d bytes, want %d: %v\n%s", key, through, resp.StatusCode, len(got), len(want), err, s.Describe())
		}
		if was := s.etags[key]; was != "" && was != etag {
			s.T.Errorf("%s has ETag %s, had %s", key, etag, was)
		}
		s.etags[key] = etag
	}
}

// fill stores something in every way there is, and returns what completes the
// upload that is open still.
func (s *narrowParts) fill() (complete func()) {
	customer := bytes.Repeat([]byte("customer"), 4)
	sum := md5.Sum(customer)
	s.put("small", payload(1, 1000), nil)
	s.put("large", payload(2, 3<<20+7), nil)
	s.put("sealed", payload(3, 1<<20+1), http.Header{
		"X-Qs-Encryption-Customer-Algorithm": {"AES256"},
		"X-Qs-Encryption-Customer-Key":       {base64.StdEncoding.EncodeToString(customer)},
		"X-Qs-Encryption-Customer-Key-Md5":   {base64.StdEncoding.EncodeToString(sum[:])},
	})
	s.do(qsclient.Request{Method: "PUT", Bucket: bucket, Key: "copy", Header: http.Header{"X-Qs-Copy-Source": {"/" + bucket + "/large"}}}, nil, http.StatusCreated)
	s.objects["copy"] = s.objects["large"]
	for _, size := range []int{200_000, 300_000} {
		body := payload(uint64(size), size)
		q := url.Values{"append": {""}, "position": {fmt.Sprint(len(s.objects["appended"]))}}
		s.do(qsclient.Request{Method: "POST", Bucket: bucket, Key: "appended", Query: q}, body, http.StatusOK)
		s.objects["appended"] = append(s.objects["appended"], body...)
	}
	s.upload("parts")()
	return s.upload("open")
}

// upload sends the parts of an upload and returns what completes it.
func (s *narrowParts) upload(key string) (complete func()) {
	var id string
	s.Await("initiate "+key, func() (err error) {
		id, err = s.Client(s.here[0]).Initiate(s.T.Context(), bucket, key)
		return err
	})
	var body, list []byte
	for n, size := range []int{4 << 20, 5<<20 + 1, 100_000} {
		part := payload(uint64(10+n), size)
		q := url.Values{"upload_id": {id}, "part_number": {fmt.Sprint(n)}}
		s.do(qsclient.Request{Method: "PUT", Bucket: bucket, Key: key, Query: q}, part, http.StatusCreated)
		body, list = append(body, part...), fmt.Appendf(append(list, ','), `{"part_number":%d}`, n)
	}
	return func() {
		q := url.Values{"upload_id": {id}}
		s.do(qsclient.Request{Method: "POST", Bucket: bucket, Key: key, Query: q}, fmt.Appendf(nil, `{"object_parts":[%s]}`, list[1:]), http.StatusCreated)
		s.objects[key] = body
	}
}

// parts are those of an object.
func (s *narrowParts) parts(key string) []admin.PartReport {
	s.T.Helper()
	report, err := adminOf(s.Cluster, s.here[0]).InspectObject(s.T.Context(), bucket, key)
	s.Must(err)
	return report.Parts
}

func isNarrow(p admin.PartReport) bool {
	return (layout.Layout{Scheme: p.Scheme, Size: p.Size}).Narrow(scheme)
}

// heals adds up what the nodes say of narrow parts.
func (s *narrowParts) heals() (narrow, widened int) {
	nodes, err := adminOf(s.Cluster, s.here[0]).Nodes(s.T.Context())
	s.Must(err)
	for _, n := range nodes.Nodes {
		if n.Heal != nil {
			narrow, widened = narrow+n.Heal.Narrow, widened+n.Heal.AllWidened
		}
	}
	return narrow, widened
}

// What was taken while two of six nodes were away, in every way there is to store
// something, gets the full scheme once they are back: the bytes and ETags stay, the
// chunks it had are freed, and any two stores may be removed.
func TestPartsTakenWithoutTwoNodesAreWidened(t *testing.T) {
	rnd := testrand.New(t)
	c := start(t, eagerly, func(cfg *node.Config) { cfg.HealInterval = 100 * time.Millisecond })
	away := rnd.Perm(6)[:2]
	s := &narrowParts{Cluster: c, here: others(6, away[0]+1, away[1]+1), objects: map[string][]byte{}, headers: map[string]http.Header{}, etags: map[string]string{}}
	for _, i := range away {
		c.Must(c.Kill(i + 1))
	}
	complete := s.fill()
	s.check(s.here[1])
	old := map[layout.AttemptID]bool{}
	for key := range s.objects {
		for _, p := range s.parts(key) {
			if old[p.Attempt] = true; key == "small" {
				delete(old, p.Attempt)
			} else if !isNarrow(p) {
				t.Errorf("%s was taken without two nodes and has scheme %s", key, p.Scheme)
			}
		}
	}
	c.Eventually("the nodes count the narrow parts", func() bool {
		narrow, _ := s.heals()
		return narrow > 0
	})
	for _, i := range away {
		c.Must(c.Start(i + 1))
	}
	c.WaitReady()
	c.Await("all parts are widened", func() error {
		for key := range s.objects {
			for _, p := range s.parts(key) {
				if isNarrow(p) || old[p.Attempt] || p.State != admin.PartWhole {
					return fmt.Errorf("%s is %s and has scheme %s", key, p.State, p.Scheme)
				}
			}
		}
		if narrow, widened := s.heals(); narrow > 0 || widened < len(old)+2 { // two of the open upload
			return fmt.Errorf("%d parts are narrow, %d widened, %d were narrow", narrow, widened, len(old)+2)
		}
		return nil
	})
	complete()
	if parts := s.parts("open"); isNarrow(parts[0]) || isNarrow(parts[1]) {
		t.Errorf("parts of the upload that was open: %+v", parts)
	}
	waitUntilFreed(c, s.here[0])
	changeRepair(c, 1, metadata.RepairPause) // removal is undone below
	pairs(func(i, j, other int) {
		undoI, undoJ := remove(t, c, i), remove(t, c, j)
		s.check(other)
		undoI()
		undoJ()
	})
	for id := range stored(c) {
		if old[id.Attempt] {
			t.Errorf("chunk %s is there, of a part that was widened", id)
		}
	}
}
