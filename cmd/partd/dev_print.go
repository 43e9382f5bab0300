package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// devReport describes a dev cluster.
type devReport struct {
	Nodes []devNode `json:"nodes"`
	state devState
}

// devNode describes one node of a dev cluster.
type devNode struct {
	Number   int    `json:"number"`
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	Admin    string `json:"admin"`
	State    string `json:"state"` // running or stopped
}

// devPrinter tells the user what happens, as text or as JSON.
type devPrinter interface {
	ready(r devReport, dir string, kept bool)
	status(r devReport)
	changed(event string, node int)
	failed(err error)
	help(text string)
}

func newDevPrinter(form string, w io.Writer) (devPrinter, error) {
	switch form {
	case "text":
		return devText{w}, nil
	case "json":
		return devJSON{json.NewEncoder(w)}, nil
	default:
		return nil, fmt.Errorf("%w: output %q is neither text nor json", errUsage, form)
	}
}

// devText prints for people.
type devText struct{ w io.Writer }

func (p devText) ready(r devReport, dir string, kept bool) {
	fate := "removed at exit"
	if kept {
		fate = "kept"
	}
	fmt.Fprintf(p.w, "%d nodes, scheme %s, data in %s (%s)\n\n", len(r.Nodes), r.state.Scheme, dir, fate)
	p.status(r)
	fmt.Fprintf(p.w, "\naccess key id      %s\nsecret access key  %s\n", r.state.AccessKeyID, r.state.SecretAccessKey)
	fmt.Fprintf(p.w, "\nFirst requests, good for a day:\n\n")
	for _, command := range r.firstRequests() {
		fmt.Fprintf(p.w, "  %s\n", command)
	}
	fmt.Fprintln(p.w, "\nCommands: stop N, kill N, start N, status, help. Ctrl-C ends the cluster.")
}

func (p devText) status(r devReport) {
	for _, n := range r.Nodes {
		fmt.Fprintf(p.w, "  %-7s %-8s %s  admin %s\n", n.Name, n.State, n.Endpoint, n.Admin)
	}
}

func (p devText) changed(event string, node int) { fmt.Fprintf(p.w, "node%d %s\n", node, event) }
func (p devText) failed(err error)               { fmt.Fprintln(p.w, "error:", err) }
func (p devText) help(text string)               { fmt.Fprintln(p.w, text) }

// devJSON prints one event a line, for programs.
type devJSON struct{ enc *json.Encoder }

func (p devJSON) ready(r devReport, dir string, _ bool) {
	p.enc.Encode(struct {
		Event           string `json:"event"`
		AccessKeyID     string `json:"access_key_id"`
		SecretAccessKey string `json:"secret_access_key"`
		Data            string `json:"data"`
		Scheme          string `json:"scheme"`
		devReport
		FirstRequests []string `json:"first_requests"`
	}{"ready", r.state.AccessKeyID, r.state.SecretAccessKey, dir, r.state.Scheme.String(), r, r.firstRequests()})
}

func (p devJSON) status(r devReport) {
	p.enc.Encode(struct {
		Event string `json:"event"`
		devReport
	}{"status", r})
}

func (p devJSON) changed(event string, node int) {
	p.enc.Encode(struct {
		Event string `json:"event"`
		Node  int    `json:"node"`
	}{event, node})
}

func (p devJSON) failed(err error) {
	p.enc.Encode(struct {
		Event string `json:"event"`
		Error string `json:"error"`
	}{"error", err.Error()})
}

func (p devJSON) help(text string) {
	p.enc.Encode(struct {
		Event string `json:"event"`
		Help  string `json:"help"`
	}{"help", text})
}
