package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/internal/testrand"
)

// listings walks lists of objects, uploads and parts, each page through another
// node, while others change what lies in between.
type listings struct {
	*testcluster.Cluster
	steady  []string            // keys that are there throughout, in order
	uploads map[string][]string // upload IDs that are, by key
	upload  string              // of the key "parts", with the even parts
	parts   int
}

// What is there throughout is in every list once and in order, whatever comes
// and goes beside it.
func TestListingsAreCompleteUnderWrites(t *testing.T) {
	l := &listings{Cluster: start(t), uploads: map[string][]string{}, parts: 40}
	l.plant()
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { l.churn(ctx, w) })
	}
	rng := testrand.New(t)
	for range 40 {
		limit := 1 + rng.IntN(30)
		l.walkObjects(rng, limit)
		l.walkUploads(rng, limit)
		l.walkParts(rng, limit)
	}
	stop()
	writers.Wait()
}

// plant makes the steady ones: keys with directories between them, and beside
// each other two uploads of each key of a few.
func (l *listings) plant() {
	l.T.Helper()
	for i := range 120 {
		l.steady = append(l.steady, fmt.Sprintf("d%02d/%03d/steady", i/10, i))
	}
	for i, key := range l.steady {
		l.Must(l.Client(i%6+1).PutObject(l.T.Context(), bucket, key, strings.NewReader("x"), 1))
		if i%4 > 0 {
			continue
		}
		for range 2 {
			id, err := l.Client(i%6+1).Initiate(l.T.Context(), bucket, key)
			l.Must(err)
			l.uploads[key] = append(l.uploads[key], id)
		}
	}
	var err error
	l.upload, err = l.Client(1).Initiate(l.T.Context(), bucket, "parts")
	l.Must(err)
	for n := 0; n < l.parts; n += 2 {
		l.put(l.T.Context(), n)
	}
}

func (l *listings) put(ctx context.Context, number int) {
	body := payload(uint64(number), 100)
	_, err := l.Client(number%6+1).PutPart(ctx, bucket, "parts", l.upload, number, bytes.NewReader(body), int64(len(body)))
	if err != nil && ctx.Err() == nil {
		l.T.Errorf("put part %d: %v", number, err)
	}
}

// churn makes and deletes neighbours of the steady ones, and replaces parts.
func (l *listings) churn(ctx context.Context, w int) {
	for i := w; ctx.Err() == nil; i++ {
		key := l.steady[i*7%len(l.steady)] + []string{"", "/below"}[i%2] + fmt.Sprint("-passing", w)
		at := l.Client(i%6 + 1)
		id, err := at.Initiate(ctx, bucket, key)
		if err == nil {
			err = at.PutObject(ctx, bucket, key, strings.NewReader("y"), 1)
		}
		l.put(ctx, i%l.parts)
		if err == nil {
			err = at.Abort(ctx, bucket, key, id)
		}
		if err == nil {
			err = at.DeleteObject(ctx, bucket, key)
		}
		if err != nil && ctx.Err() == nil {
			l.T.Errorf("churn: %v", err)
		}
	}
}

// page asks the next node for one page.
func (l *listings) page(rng *rand.Rand, key string, query url.Values, page any) {
	l.T.Helper()
	resp, err := l.Client(rng.IntN(6)+1).Do(l.T.Context(), qsclient.Request{Method: http.MethodGet, Bucket: bucket, Key: key, Query: query})
	l.Must(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		l.T.Fatalf("list %v: status %d", query, resp.StatusCode)
	}
	l.Must(json.NewDecoder(resp.Body).Decode(page))
}

func (l *listings) walkObjects(rng *rand.Rand, limit int) {
	l.T.Helper()
	for _, delimiter := range []string{"", "/"} {
		var all []string
		for marker := ""; ; {
			var page struct {
				Keys           []struct{ Key string }
				CommonPrefixes []string `json:"common_prefixes"`
				NextMarker     string   `json:"next_marker"`
			}
			l.page(rng, "", url.Values{"limit": {strconv.Itoa(limit)}, "delimiter": {delimiter}, "marker": {marker}}, &page)
			found := page.CommonPrefixes
			for _, k := range page.Keys {
				found = append(found, k.Key)
			}
			slices.Sort(found)
			all = append(all, found...)
			if page.NextMarker == "" {
				break
			}
			if page.NextMarker <= marker {
				l.T.Fatalf("objects by %d: after %q comes %q", limit, marker, page.NextMarker)
			}
			marker = page.NextMarker
		}
		var want []string
		for _, key := range l.steady {
			if delimiter != "" {
				key = key[:strings.Index(key, delimiter)+1]
			}
			want = append(want, key)
		}
		l.holds(fmt.Sprintf("objects by %d, delimiter %q", limit, delimiter), all, slices.Compact(want))
	}
}

func (l *listings) walkUploads(rng *rand.Rand, limit int) {
	l.T.Helper()
	ids := map[string][]string{}
	var all []string
	for key, id := "", ""; ; {
		var page struct {
			Uploads []struct {
				Key string
				ID  string `json:"upload_id"`
			}
			NextKey string `json:"next_key_marker"`
			NextID  string `json:"next_upload_id_marker"`
		}
		query := url.Values{"uploads": {""}, "limit": {strconv.Itoa(limit)}, "key_marker": {key}, "upload_id_marker": {id}}
		l.page(rng, "", query, &page)
		for _, u := range page.Uploads {
			if len(ids[u.Key]) == 0 {
				all = append(all, u.Key)
			}
			ids[u.Key] = append(ids[u.Key], u.ID)
		}
		if page.NextKey == "" {
			break
		}
		if page.NextKey < key || page.NextKey == key && page.NextID == id {
			l.T.Fatalf("uploads by %d: after %q %s comes %q %s", limit, key, id, page.NextKey, page.NextID)
		}
		key, id = page.NextKey, page.NextID
	}
	var want []string
	for _, key := range l.steady {
		if len(l.uploads[key]) == 0 {
			continue
		}
		want = append(want, key)
		if !slices.Equal(ids[key], l.uploads[key]) {
			l.T.Errorf("uploads by %d: %s has %v, want %v", limit, key, ids[key], l.uploads[key])
		}
	}
	l.holds(fmt.Sprintf("uploads by %d", limit), all, want)
}

func (l *listings) walkParts(rng *rand.Rand, limit int) {
	l.T.Helper()
	var all, want []string
	for after := -1; ; {
		page, err := l.Client(rng.IntN(6)+1).ListParts(l.T.Context(), bucket, "parts", l.upload, after, limit)
		l.Must(err)
		if len(page.Parts) == 0 {
			break
		}
		for _, p := range page.Parts {
			all = append(all, fmt.Sprintf("%05d", p.Number))
			after = p.Number
		}
	}
	for n := 0; n < l.parts; n += 2 {
		want = append(want, fmt.Sprintf("%05d", n))
	}
	l.holds(fmt.Sprintf("parts by %d", limit), all, want)
}

// holds makes sure that a list is in order, has nothing twice, and all that is
// wanted.
func (l *listings) holds(what string, all, want []string) {
	l.T.Helper()
	for i := 1; i < len(all); i++ {
		if all[i] <= all[i-1] {
			l.T.Errorf("%s: %q after %q", what, all[i], all[i-1])
		}
	}
	for _, w := range want {
		if _, found := slices.BinarySearch(all, w); !found {
			l.T.Errorf("%s: %q is missing", what, w)
		}
	}
}

var listedFlag = flag.Int("list.objects", 100_000, "objects of BenchmarkListOverHTTP")

// A page of a thousand common prefixes, and one of a thousand keys, as a client
// gets it. The objects are copies of one.
func BenchmarkListOverHTTP(b *testing.B) {
	const leaves = 50
	c := testcluster.Start(b, 3, smallScheme)
	c.Must(c.Client(1).CreateBucket(b.Context(), bucket))
	c.Must(c.Client(1).PutObject(b.Context(), bucket, "source", strings.NewReader("x"), 1))
	var next atomic.Int64
	var copiers sync.WaitGroup
	for w := range 64 {
		copiers.Go(func() {
			for i := next.Add(1) - 1; i < int64(*listedFlag) && !b.Failed(); i = next.Add(1) - 1 {
				resp, err := c.Client(w%3+1).Do(b.Context(), qsclient.Request{
					Method: http.MethodPut, Bucket: bucket, Key: fmt.Sprintf("tree%06d/leaf%06d", i/leaves, i%leaves),
					Header: http.Header{"X-Qs-Copy-Source": {"/" + bucket + "/source"}},
				})
				if err != nil {
					b.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusCreated {
					b.Errorf("copy: status %d", resp.StatusCode)
				}
			}
		})
	}
	copiers.Wait()
	for name, query := range map[string]url.Values{
		"prefixes": {"limit": {"1000"}, "delimiter": {"/"}, "marker": {"tree000100/"}},
		"keys":     {"limit": {"1000"}, "marker": {"tree000100/"}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				resp, err := c.Client(2).Do(b.Context(), qsclient.Request{Method: http.MethodGet, Bucket: bucket, Query: query})
				c.Must(err)
				var page struct {
					Keys           []struct{ Key string }
					CommonPrefixes []string `json:"common_prefixes"`
				}
				c.Must(json.NewDecoder(resp.Body).Decode(&page))
				c.Must(resp.Body.Close())
				if n := len(page.Keys) + len(page.CommonPrefixes); n != 1000 {
					b.Fatalf("a page of %d", n)
				}
			}
		})
	}
}
