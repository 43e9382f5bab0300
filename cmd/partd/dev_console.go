package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"partstore/internal/embedded"
)

// devConsole obeys the commands a user types while a dev cluster runs.
type devConsole struct {
	cluster *embedded.Cluster
	state   devState
	printer devPrinter
	running []bool // of node i+1
}

func newDevConsole(cluster *embedded.Cluster, state devState, printer devPrinter) *devConsole {
	c := &devConsole{cluster: cluster, state: state, printer: printer, running: make([]bool, state.Nodes)}
	for i := range c.running {
		c.running[i] = true
	}
	return c
}

const devHelp = `stop N    stop node N gracefully
kill N    stop node N abruptly
start N   start node N again
status    list the nodes
help      this list`

// obey executes one command after the other until ctx ends. The end of the
// input is not the end of the cluster.
func (c *devConsole) obey(ctx context.Context, commands <-chan string) {
	for {
		select {
		case <-ctx.Done():
			return
		case line, ok := <-commands:
			if !ok {
				commands = nil
				continue
			}
			if err := c.execute(strings.Fields(line)); err != nil {
				c.printer.failed(err)
			}
		}
	}
}

func (c *devConsole) execute(words []string) error {
	if len(words) == 0 {
		return nil
	}
	switch verb := words[0]; verb {
	case "help":
		c.printer.help(devHelp)
		return nil
	case "status":
		c.printer.status(c.report())
		return nil
	case "stop", "kill", "start":
		n, err := c.number(words[1:])
		if err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		return c.change(verb, n)
	default:
		return fmt.Errorf("unknown command %q; help lists them", verb)
	}
}

// number reads the one argument of a command: the number of a node.
func (c *devConsole) number(args []string) (int, error) {
	if len(args) != 1 {
		return 0, fmt.Errorf("want one number of a node, 1 to %d", c.state.Nodes)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > c.state.Nodes {
		return 0, fmt.Errorf("%q is not the number of a node, 1 to %d", args[0], c.state.Nodes)
	}
	return n, nil
}

func (c *devConsole) change(verb string, n int) error {
	if up := verb == "start"; c.running[n-1] == up {
		return fmt.Errorf("%s %d: node is %s", verb, n, runState(up))
	}
	var event string
	var err error
	switch verb {
	case "stop":
		event, err = "stopped", c.cluster.Stop(n)
	case "kill":
		event, err = "killed", c.cluster.Kill(n)
	case "start":
		event, err = "started", c.cluster.Start(n)
	}
	if err != nil {
		return fmt.Errorf("%s %d: %w", verb, n, err)
	}
	c.running[n-1] = verb == "start"
	c.printer.changed(event, n)
	return nil
}

// report describes the cluster as the console knows it.
func (c *devConsole) report() devReport {
	r := devReport{state: c.state}
	for i, running := range c.running {
		addrs := c.cluster.Addrs(i + 1)
		r.Nodes = append(r.Nodes, devNode{
			Number:   i + 1,
			Name:     fmt.Sprintf("node%d", i+1),
			Endpoint: "http://" + addrs.Client,
			Admin:    "http://" + addrs.Admin,
			State:    runState(running),
		})
	}
	return r
}

func runState(running bool) string {
	if running {
		return "running"
	}
	return "stopped"
}

// firstRequests are commands to copy: make a bucket through one node, put an
// object through a second, get it back through a third.
func (r devReport) firstRequests() []string {
	endpoint := func(i int) string { return r.Nodes[i%len(r.Nodes)].Endpoint }
	url := func(method, endpoint, path string) string {
		return presign(method, endpoint, path, r.state.AccessKeyID, r.state.SecretAccessKey)
	}
	return []string{
		fmt.Sprintf("curl -X PUT '%s'", url(http.MethodPut, endpoint(0), "/first-bucket")),
		fmt.Sprintf("curl -X PUT -H 'Content-Type:' -d 'hello' '%s'", url(http.MethodPut, endpoint(1), "/first-bucket/hello")),
		fmt.Sprintf("curl '%s'", url(http.MethodGet, endpoint(2), "/first-bucket/hello")),
	}
}
