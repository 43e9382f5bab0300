package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeServer keeps uploads and objects in memory and breaks promises on demand.
type fakeServer struct {
	mu      sync.Mutex
	uploads map[string]map[int][]byte
	objects map[string][]byte
	serial  int
	faults  atomic.Int64 // how often fault may still strike

	// fault sees every request first; true means it has answered.
	fault func(w http.ResponseWriter, r *http.Request) bool
	// alter changes the body of a GET.
	alter func([]byte) []byte
}

func startFake(t *testing.T, f *fakeServer) string {
	t.Helper()
	f.uploads, f.objects = map[string]map[int][]byte{}, map[string][]byte{}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

// fail answers with an error as the real server words it.
func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Qs-Request-Id", "feedfeedfeedfeed")
	body := fmt.Sprintf(`{"code":%q}`, code)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.fault != nil && f.fault(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key, q := r.URL.Path, r.URL.Query()
	parts, open := f.uploads[q.Get("upload_id")]
	switch {
	case strings.Count(key, "/") == 1:
		w.WriteHeader(http.StatusCreated)
	case q.Has("uploads"):
		f.serial++
		id := fmt.Sprintf("%032x", f.serial)
		f.uploads[id] = map[int][]byte{}
		json.NewEncoder(w).Encode(map[string]string{"upload_id": id})
	case q.Has("upload_id") && r.Method == http.MethodDelete:
		delete(f.uploads, q.Get("upload_id"))
		w.WriteHeader(http.StatusNoContent)
	case q.Has("upload_id") && !open:
		fail(w, http.StatusNotFound, "upload_not_exists")
	case q.Has("part_number"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		number, _ := strconv.Atoi(q.Get("part_number")) // the harness sends numbers
		parts[number] = body
		sum := md5.Sum(body)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.WriteHeader(http.StatusCreated)
	case q.Has("upload_id") && r.Method == http.MethodGet:
		f.list(w, parts, q.Get("part_number_marker"))
	case q.Has("upload_id"):
		f.complete(w, r, parts, key)
		delete(f.uploads, q.Get("upload_id"))
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.get(w, r, key)
	}
}

func (f *fakeServer) list(w http.ResponseWriter, parts map[int][]byte, marker string) {
	after := -1
	if marker != "" {
		after, _ = strconv.Atoi(marker)
	}
	type item struct {
		Number int    `json:"part_number"`
		Size   int    `json:"size"`
		ETag   string `json:"etag"`
	}
	list := []item{}
	for n, body := range parts {
		if n > after {
			sum := md5.Sum(body)
			list = append(list, item{n, len(body), hex.EncodeToString(sum[:])})
		}
	}
	slices.SortFunc(list, func(a, b item) int { return a.Number - b.Number })
	json.NewEncoder(w).Encode(map[string]any{"count": len(parts), "object_parts": list[:min(len(list), pageLimit)]})
}

func (f *fakeServer) complete(w http.ResponseWriter, r *http.Request, parts map[int][]byte, key string) {
	var body struct {
		Parts []struct {
			Number int `json:"part_number"`
		} `json:"object_parts"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		fail(w, http.StatusBadRequest, "invalid_json")
		return
	}
	var whole []byte
	for _, p := range body.Parts {
		part, ok := parts[p.Number]
		if !ok {
			fail(w, http.StatusBadRequest, "invalid_argument")
			return
		}
		whole = append(whole, part...)
	}
	f.objects[key] = whole
	w.WriteHeader(http.StatusCreated)
}

func (f *fakeServer) get(w http.ResponseWriter, r *http.Request, key string) {
	body, ok := f.objects[key]
	if !ok {
		fail(w, http.StatusNotFound, "object_not_exists")
		return
	}
	status := http.StatusOK
	if r.Header.Get("Range") != "" {
		var from, to int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
			fail(w, http.StatusRequestedRangeNotSatisfiable, "invalid_range")
			return
		}
		body, status = body[from:to+1], http.StatusPartialContent
	}
	if f.alter != nil && len(body) > 0 && f.faults.Add(-1) >= 0 {
		body = f.alter(bytes.Clone(body))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Qs-Request-Id", "feedfeedfeedfeed")
	w.WriteHeader(status)
	w.Write(body)
}
