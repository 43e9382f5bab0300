package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"partstore/internal/testcluster"
	"partstore/node"
)

// hostile is what one client does to a connection: it returns when it has had
// enough, or the node has.
type hostile func(t *testing.T, i int, conn net.Conn)

// lasts waits until the node ends the connection.
func lasts(t *testing.T, conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(testcluster.Patience))
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		t.Error("the node holds a connection for ever")
	}
}

// drip sends a byte now and then until the node answers, or ends the connection.
func drip(t *testing.T, conn net.Conn, text string) {
	for began := time.Now(); time.Since(began) < testcluster.Patience; {
		if _, err := conn.Write([]byte(text[:1])); err != nil {
			return
		}
		text = text[1:] + text[:1]
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
			return
		}
	}
	t.Error("the node waits for a head for ever")
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// Clients that hold connections, send nonsense or leave in the middle cost a
// node nothing once they are gone, and meanwhile it serves the others.
func TestHostileClientsLeaveNothing(t *testing.T) {
	c := start(t, func(cfg *node.Config) { cfg.StallTimeout = 5 * time.Second })
	body := payload(1, 300_000)
	c.Must(c.Client(1).PutObject(t.Context(), bucket, "object", bytes.NewReader(body), int64(len(body))))
	addr := strings.TrimPrefix(c.Client(1).Endpoint, "http://")
	head := func(method, more string) string {
		return method + " /" + bucket + "/object HTTP/1.1\r\nHost: " + addr + "\r\n" + more
	}
	attacks := map[string]hostile{
		"a head that never ends": func(t *testing.T, _ int, conn net.Conn) {
			drip(t, conn, head("GET", "X-A: "+strings.Repeat("a", 1000)))
		},
		"nothing at all":        func(t *testing.T, _ int, conn net.Conn) { lasts(t, conn) },
		"a header of 1 MB":      refused(head("GET", "X-A: "+strings.Repeat("a", 1<<20)+"\r\n\r\n"), 431),
		"a thousand headers":    refused(head("GET", strings.Repeat("X-A: "+strings.Repeat("a", 100)+"\r\n", 1000)+"\r\n"), 431),
		"a length and a coding": refused(head("PUT", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
		"a bare LF":             refused(head("GET", "X-A: b\nX-B: c\r\n\r\n"), 400),
		"a negative length":     refused(head("PUT", "Content-Length: -1\r\n\r\n"), 400),
		"an unsigned slow body": refused(head("PUT", "Content-Length: 100000\r\n\r\nabc"), 403),
		"gone in the middle": func(_ *testing.T, i int, conn net.Conn) {
			leave(conn, head("PUT", "Content-Length: 10\r\n\r\n0123"), i)
		},
		"gone before the answer":   func(_ *testing.T, _ int, conn net.Conn) { leave(conn, head("GET", "\r\n"), -1) },
		"gone after half a header": func(_ *testing.T, _ int, conn net.Conn) { leave(conn, "GET /", -1) },
	}
	const each = 150 // connections of each kind
	look := func() {
		got, err := read(t.Context(), c.Client(1), "object", "")
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("another client: %d bytes, %v", len(got), err)
		}
	}
	for range 100 {
		look() // until pools and connections are there
	}
	goroutines, heap := resting()
	t.Logf("%d goroutines, %d KiB of heap before", goroutines, heap>>10)
	var wg sync.WaitGroup
	for name, attack := range attacks {
		for i := range each {
			wg.Go(func() {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				defer conn.Close()
				attack(t, i, conn)
			})
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var took []time.Duration
	var others sync.WaitGroup
	others.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			look()
			took = append(took, time.Since(began))
		}
	})
	wg.Wait()
	stop()
	others.Wait()
	slices.Sort(took)
	t.Logf("another client meanwhile: %d reads, p99 %v", len(took), took[len(took)*99/100])
	c.Eventually("goroutines and heap are as they were", func() bool {
		now, held := resting()
		if now > goroutines+each/2 || held > heap+8<<20 {
			t.Logf("%d goroutines, %d KiB of heap", now, held>>10)
			return false
		}
		return true
	})
}

// resting is how many goroutines there are, and how much they hold.
func resting() (goroutines int, heap uint64) {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// refused sends a text and wants one answer, and the end of the connection.
func refused(text string, status int) hostile {
	return func(t *testing.T, _ int, conn net.Conn) {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { _, _ = io.WriteString(conn, text) }) // who is refused early may find it closed
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return // the answer was lost with what we were still sending
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%.40q...: status %d, want %d", text[strings.Index(text, "\r\n"):], resp.StatusCode, status)
		}
		if _, err := r.ReadByte(); err == nil {
			t.Errorf("%.40q...: something follows", text)
		}
		conn.Close()
	}
}

// leave sends the beginning of a text and is gone; all of it if at is negative.
func leave(conn net.Conn, text string, at int) {
	if at >= 0 {
		text = text[:1+at*7%len(text)]
	}
	_, _ = fmt.Fprint(conn, text)
}
