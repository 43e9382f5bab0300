package qingstor

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What is well framed passes as it is and what is not never passes whole,
// wherever the segments end.
func TestFramingDoesNotDependOnSegments(t *testing.T) {
	const good = "PUT /a HTTP/1.1\r\nHost: h\r\ncontent-length:  3 \r\n\r\nabc" +
		"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\na\nc\r\n0\r\nT: v\r\n\r\n" +
		"GET /a HTTP/1.0\r\n\r\n"
	for _, c := range []struct {
		text string
		pass int // bytes at most
	}{
		{good, len(good)},
		{good + "GET /b HTTP/1.1\r\nA: b\n\r\n", len(good) + 21},
		{good + "GET /b HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", len(good) + 65},
	} {
		for cut := range len(c.text) {
			var f framing
			n := f.scan([]byte(c.text[:cut]))
			if n == cut {
				n += f.scan([]byte(c.text[cut:]))
			}
			if n > c.pass || c.pass == len(c.text) && (n < c.pass || f.err != nil || f.inBody()) || c.pass < len(c.text) && f.err == nil {
				t.Fatalf("cut at %d: %d of %d bytes pass, error %v", cut, n, len(c.text), f.err)
			}
		}
	}
}

// pipes is a listener whose one client is the other end of a pipe, with the
// clock of the test.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p.conns; open {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p.conns); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serveOne serves one client and returns its end of the connection.
func serveOne(t *testing.T, h http.HandlerFunc) net.Conn {
	ours, theirs := net.Pipe()
	p := pipes{make(chan net.Conn, 1)}
	p.conns <- theirs
	s := &http.Server{Handler: h}
	done := make(chan error)
	go func() { done <- s.Serve(NewListener(p, time.Minute)) }()
	t.Cleanup(func() {
		ours.Close()
		s.Close()
		<-done
	})
	return ours
}

func TestStalledBodyIsGivenUp(t *testing.T) {
	for name, send := range map[string]string{
		"nothing":             "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
		"a part":              "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
		"in the midst of two": "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, after := time.Now(), time.Duration(0)
				client := serveOne(t, func(w http.ResponseWriter, r *http.Request) {
					_, err := io.Copy(io.Discard, r.Body)
					after = time.Since(began)
					if err == nil {
						t.Error("the body is whole")
					}
					w.WriteHeader(400)
				})
				io.WriteString(client, send)
				resp, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if resp.StatusCode != 400 || !resp.Close {
					t.Errorf("answer %v", resp)
				}
				if after != time.Minute {
					t.Errorf("given up after %v", after)
				}
			})
		})
	}
}

// A client may be as slow as it likes, and as silent as it likes once its body is
// there.
func TestSlowClientsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := serveOne(t, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			time.Sleep(time.Hour)
			if err != nil || r.Context().Err() != nil {
				t.Errorf("body %q, %v, %v", body, err, r.Context().Err())
			}
			w.Header().Set("Content-Length", "20000")
			w.Write(make([]byte, 20000))
		})
		const length = 30
		io.WriteString(client, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n")
		for range length {
			time.Sleep(50 * time.Second)
			io.WriteString(client, "x")
		}
		resp, err := http.ReadResponse(bufio.NewReader(slowReader{client}), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); n != 20000 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// slowReader reads a little every 50 seconds.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(p []byte) (int, error) {
	time.Sleep(50 * time.Second)
	return s.r.Read(p[:min(len(p), 100)])
}

func TestClientThatTakesNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		client := serveOne(t, func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 1<<20))
			ended <- err
		})
		io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if err := <-ended; err == nil {
			t.Error("a client that reads nothing took 1 MiB")
		}
	})
}

// Over TCP, where the kernel takes the first megabytes itself.
func TestTCPClientThatTakesNothingIsGivenUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := NewListener(ln, 100*time.Millisecond).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := io.Copy(struct{ io.Writer }{c}, strings.NewReader(strings.Repeat("x", 256<<20)))
	if err == nil {
		t.Errorf("%d bytes were taken by nobody", n)
	}
}

// Whatever net/http takes for a whole message ends where framing says it does,
// and framing says the same however the bytes are cut.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("PUT /a HTTP/1.1\r\nHost: h\r\ncontent-length:  3 \r\n\r\nabcGET / HTTP/1.0\r\n\r\n"), 7)
	f.Add([]byte("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\na\nc\r\n0\r\nT: v\r\n\r\nGET /b HTTP/1.1\r\n"), 40)
	f.Add([]byte("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 1)
	f.Add([]byte("GET / HTTP/1.1\r\nA: b\n\r\n"), 0)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		frugal(t, len(text), frugalBase, func() { new(framing).scan(text) })
		ends := map[int]bool{}
		var byByte framing
		passed := 0
		for ; passed < len(text) && byByte.scan(text[passed:passed+1]) == 1; passed++ {
			if byByte.state == inHead && byByte.lines == 0 && len(byByte.line) == 0 && !byByte.cr {
				ends[passed+1] = true
			}
		}
		cut = min(max(cut, 0), len(text))
		var inTwo framing
		n := inTwo.scan(text[:cut])
		if n == cut {
			n += inTwo.scan(text[cut:])
		}
		if (inTwo.err == nil) != (byByte.err == nil) || inTwo.inBody() != byByte.inBody() || byByte.err == nil && n != passed {
			t.Fatalf("cut at %d: %d bytes, %v; byte by byte %d, %v", cut, n, inTwo.err, passed, byByte.err)
		}
		r := bytes.NewReader(text[:passed])
		buffered := bufio.NewReader(r)
		for {
			req, err := http.ReadRequest(buffered)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if end := passed - r.Len() - buffered.Buffered(); !ends[end] {
				t.Fatalf("a message ends at %d for net/http, which is no end: %v", end, ends)
			}
		}
	})
}
