// Package devcluster runs "partd dev", a whole cluster in one process, and talks
// to it. A Cluster that Start returned takes requests; after Close its process
// is gone.
package devcluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// closeTimeout bounds an orderly end; after it the process is killed.
const closeTimeout = 30 * time.Second

// Node is one node of the cluster.
type Node struct {
	Number   int    `json:"number"`
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
}

// event is one line of the program's output.
type event struct {
	Event           string `json:"event"`
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	Nodes           []Node `json:"nodes"`
	Node            int    `json:"node"`
	Error           string `json:"error"`
}

// Cluster is a running cluster.
type Cluster struct {
	AccessKeyID, SecretAccessKey string
	Nodes                        []Node

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events *bufio.Scanner
	stderr *tail
}

// Start runs the partd program with "dev", JSON output and the given arguments,
// and waits until the cluster is ready. When ctx ends the program is told to
// end, too.
func Start(ctx context.Context, partd string, args ...string) (_ *Cluster, err error) {
	c := &Cluster{stderr: &tail{}}
	c.cmd = exec.CommandContext(ctx, partd, append([]string{"dev", "-o", "json"}, args...)...)
	c.cmd.Stderr = c.stderr
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = closeTimeout
	// A group of its own, so that Ctrl-C reaches it through us, and in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	c.events = bufio.NewScanner(stdout)
	c.events.Buffer(nil, 1<<20)
	ready, err := c.wait("ready", 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start cluster: %w", err), c.Close())
	}
	c.AccessKeyID, c.SecretAccessKey, c.Nodes = ready.AccessKeyID, ready.SecretAccessKey, ready.Nodes
	return c, nil
}

// wait reads events until the one that is wanted.
func (c *Cluster) wait(name string, node int) (event, error) {
	for c.events.Scan() {
		var e event
		if err := json.Unmarshal(c.events.Bytes(), &e); err != nil {
			return e, fmt.Errorf("event %q: %w", c.events.Text(), err)
		}
		switch {
		case e.Event == "error":
			return e, errors.New(e.Error)
		case e.Event == name && e.Node == node:
			return e, nil
		}
	}
	return event{}, fmt.Errorf("the program ended: %w\n%s", errors.Join(io.ErrUnexpectedEOF, c.events.Err()), c.stderr)
}

// command sends one command and waits for its outcome.
func (c *Cluster) command(verb, done string, node int) error {
	if _, err := fmt.Fprintf(c.stdin, "%s %d\n", verb, node); err != nil {
		return fmt.Errorf("%s node %d: %w", verb, node, err)
	}
	if _, err := c.wait(done, node); err != nil {
		return fmt.Errorf("%s node %d: %w", verb, node, err)
	}
	return nil
}

// Stop ends a node in an orderly way.
func (c *Cluster) Stop(node int) error { return c.command("stop", "stopped", node) }

// Kill ends a node abruptly.
func (c *Cluster) Kill(node int) error { return c.command("kill", "killed", node) }

// StartNode starts a node again.
func (c *Cluster) StartNode(node int) error { return c.command("start", "started", node) }

// Close ends the program and waits for it. It may be called twice.
func (c *Cluster) Close() error {
	if c.cmd.ProcessState != nil {
		return nil
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	kill := time.AfterFunc(closeTimeout, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	for c.events.Scan() {
		// Let it finish what it has to say.
	}
	err := c.cmd.Wait()
	if errors.Is(err, context.Canceled) {
		return nil // ctx told it to end, as it did
	}
	if err != nil {
		return fmt.Errorf("cluster: %w\n%s", err, c.stderr)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text string
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text += string(p)
	if cut := len(t.text) - tailSize; cut > 0 {
		t.text = t.text[cut:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text)
}
