package cluster

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/node"
)

// What comes with a customer's key is read back whole and by range on every
// node, and neither it nor the key is in any file of any node.
func TestCustomerKeysLeaveNothingInTheClear(t *testing.T) {
	var dirs []string
	c := testcluster.Start(t, 4, layout.Scheme{Data: 2, Parity: 2}, func(cfg *node.Config) { dirs = append(dirs, cfg.DataDir) })
	ctx := t.Context()
	c.Must(c.Client(1).CreateBucket(ctx, bucket))
	key := bytes.Repeat([]byte("customer"), 4)
	sum := md5.Sum(key)
	header := http.Header{
		"X-Qs-Encryption-Customer-Algorithm": {"AES256"},
		"X-Qs-Encryption-Customer-Key":       {base64.StdEncoding.EncodeToString(key)},
		"X-Qs-Encryption-Customer-Key-Md5":   {base64.StdEncoding.EncodeToString(sum[:])},
	}
	do := func(i int, want int, r qsclient.Request, extra ...string) []byte {
		t.Helper()
		r.Header = header.Clone()
		for n := 0; n+1 < len(extra); n += 2 {
			r.Header.Set(extra[n], extra[n+1])
		}
		resp, err := c.Client(i).Do(ctx, r)
		c.Must(err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		c.Must(err)
		if resp.StatusCode != want {
			t.Fatalf("%s %s on node %d = %d %s, want %d", r.Method, r.Key, i, resp.StatusCode, body, want)
		}
		return body
	}
	const marker = "this is the payload nobody may see. "
	payload := bytes.Repeat([]byte(marker), 1_000_000/len(marker))
	put := func(i int, k string, q url.Values, body []byte) {
		t.Helper()
		do(i, 201, qsclient.Request{Method: "PUT", Bucket: bucket, Key: k, Query: q, Body: bytes.NewReader(body), Size: int64(len(body))})
	}
	put(1, "whole", nil, payload)
	put(2, "small", nil, payload[:100])
	put(3, "empty", nil, nil)
	large := bytes.Repeat(payload[:999_936], 5) // a multiple of the marker
	started := do(4, 200, qsclient.Request{Method: "POST", Bucket: bucket, Key: "parts", Query: url.Values{"uploads": {""}}})
	var id string
	_, rest, _ := bytes.Cut(started, []byte(`"upload_id":"`))
	id = string(rest[:32])
	for n, part := range [][]byte{large, payload[:77_777]} {
		put(1+n, "parts", url.Values{"upload_id": {id}, "part_number": {fmt.Sprint(n)}}, part)
	}
	complete := []byte(`{"object_parts":[{"part_number":0},{"part_number":1}]}`)
	do(3, 201, qsclient.Request{Method: "POST", Bucket: bucket, Key: "parts", Query: url.Values{"upload_id": {id}}, Body: bytes.NewReader(complete), Size: int64(len(complete))})

	want := map[string][]byte{"whole": payload, "small": payload[:100], "empty": nil, "parts": append(bytes.Clone(large), payload[:77_777]...)}
	for i := 1; i <= c.Nodes; i++ {
		for k, all := range want {
			if got := do(i, 200, qsclient.Request{Method: "GET", Bucket: bucket, Key: k}); !bytes.Equal(got, all) {
				t.Errorf("node %d: %s has %d bytes, want %d", i, k, len(got), len(all))
			}
		}
		for _, span := range [][2]int{{0, 0}, {65_535, 65_536}, {131_072, 400_000}, {len(large) - 10, len(large) + 10}, {len(large), len(large) + 70_000}} {
			r := qsclient.Request{Method: "GET", Bucket: bucket, Key: "parts"}
			got := do(i, 206, r, "Range", fmt.Sprintf("bytes=%d-%d", span[0], span[1]))
			if !bytes.Equal(got, want["parts"][span[0]:span[1]+1]) {
				t.Errorf("node %d: range %v has %d bytes that differ", i, span, len(got))
			}
		}
	}
	c.Must(c.Close())
	secrets := map[string][]byte{"the payload": []byte(marker), "the key": key, "the key's base64": []byte(header.Get("X-Qs-Encryption-Customer-Key"))}
	files := 0
	for _, dir := range dirs {
		c.Must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			files++
			b, err := os.ReadFile(path)
			for what, secret := range secrets {
				if bytes.Contains(b, secret) {
					t.Errorf("%s is in %s", what, path)
				}
			}
			return err
		}))
	}
	if files < 4*c.Nodes {
		t.Errorf("only %d files looked at", files)
	}
}
