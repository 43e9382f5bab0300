package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// devRun is a "partd dev" in this process, spoken to as a program would.
type devRun struct {
	t      *testing.T
	stdin  *io.PipeWriter
	events *json.Decoder
	stop   context.CancelFunc
	status chan int
	stderr *bytes.Buffer
}

// event is the union of what dev prints.
type event struct {
	Event         string    `json:"event"`
	Error         string    `json:"error"`
	AccessKeyID   string    `json:"access_key_id"`
	Node          int       `json:"node"`
	Nodes         []devNode `json:"nodes"`
	FirstRequests []string  `json:"first_requests"`
}

func startDev(t *testing.T, dir string) (*devRun, event) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	d := &devRun{t: t, stdin: stdin, events: json.NewDecoder(bufio.NewReader(stdout)), stop: stop, status: make(chan int, 1), stderr: new(bytes.Buffer)}
	go func() {
		status := run(ctx, []string{"dev", "-o", "json", "--data", dir, "--log-level", "error"}, stdio{in, out, d.stderr}, nil)
		out.Close()
		d.status <- status
	}()
	t.Cleanup(func() { stop(); stdin.Close(); io.Copy(io.Discard, stdout) })
	return d, d.next("ready")
}

func (d *devRun) next(want string) event {
	d.t.Helper()
	var e event
	if err := d.events.Decode(&e); err != nil {
		d.t.Fatalf("waiting for %q: %v\n%s", want, err, d.stderr)
	}
	if e.Event != want {
		d.t.Fatalf("event %+v, want %q", e, want)
	}
	return e
}

func (d *devRun) say(command, want string) event {
	d.t.Helper()
	if _, err := io.WriteString(d.stdin, command+"\n"); err != nil {
		d.t.Fatal(err)
	}
	return d.next(want)
}

func (d *devRun) end() {
	d.t.Helper()
	d.stop()
	if status := <-d.status; status != exitDone {
		d.t.Errorf("dev = %d, want %d\n%s", status, exitDone, d.stderr)
	}
}

var curl = regexp.MustCompile(`^curl (?:-X (\w+) )?(?:-H '[^']*' )?(?:-d '([^']*)' )?'(http://[^']+)'$`)

// perform does what a printed curl command says and returns status and body.
func perform(t *testing.T, command string) (int, string) {
	t.Helper()
	m := curl.FindStringSubmatch(command)
	if m == nil {
		t.Fatalf("cannot read %q", command)
	}
	req, err := http.NewRequestWithContext(t.Context(), m[1], m[3], strings.NewReader(m[2]))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestDevServesItsFirstRequestsAndComesBackTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("starts six nodes twice")
	}
	dir := t.TempDir()
	d, ready := startDev(t, dir)
	for i, want := range []int{http.StatusCreated, http.StatusCreated, http.StatusOK} {
		if status, body := perform(t, ready.FirstRequests[i]); status != want {
			t.Fatalf("%s: %d %s, want %d", ready.FirstRequests[i], status, body, want)
		}
	}
	d.say("stop 2", "stopped")
	if e := d.say("stop 2", "error"); !strings.Contains(e.Error, "stopped") {
		t.Errorf("second stop: %q", e.Error)
	}
	d.say("kill 1", "killed")
	d.stdin.Close() // the end of the input is not the end of the cluster
	if status, body := perform(t, ready.FirstRequests[2]); status != http.StatusOK || body != "hello" {
		t.Errorf("GET with two nodes down = %d %q", status, body)
	}
	d.end()

	d, again := startDev(t, dir)
	if again.AccessKeyID != ready.AccessKeyID || len(again.Nodes) != len(ready.Nodes) {
		t.Errorf("came back as %+v, was %+v", again, ready)
	}
	if status, body := perform(t, again.FirstRequests[2]); status != http.StatusOK || body != "hello" {
		t.Errorf("GET after the restart = %d %q", status, body)
	}
	for _, n := range d.say("status", "status").Nodes {
		if n.State != "running" {
			t.Errorf("%s is %s", n.Name, n.State)
		}
	}
	d.end()
}
