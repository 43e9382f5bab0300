package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/node/datadir"
)

// takeover is what the commands share that take a data directory over into a
// successor cluster: flags, confirmation, and what they print.
type takeover struct {
	env        *env
	dir        string
	secretFile string
	confirmed  string
}

const (
	dataDirEnv    = "PARTSTORE_DATA_DIR"
	secretEnv     = "PARTSTORE_CLUSTER_SECRET"
	secretFileEnv = "PARTSTORE_CLUSTER_SECRET_FILE"
)

func newTakeover(e *env, cmd *cobra.Command) *takeover {
	t := &takeover{env: e}
	cmd.Flags().StringVar(&t.dir, "data-dir", "", "data `directory` of a node that does not run; also "+dataDirEnv)
	return t
}

// asks adds the flags of a command that asks other nodes and wants to be
// confirmed.
func (t *takeover) asks(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.secretFile, "cluster-secret-file", "", "`path` of a file that holds the cluster secret; also "+secretFileEnv+", or "+secretEnv+", the secret itself")
	cmd.Flags().StringVar(&t.confirmed, "confirm", "", "do it; the `ID` of the cluster that is succeeded, as the command shows it")
}

// open takes up the directory.
func (t *takeover) open(name string) (*datadir.Directory, error) {
	if t.dir == "" {
		t.dir = t.env.getenv(dataDirEnv)
	}
	if t.dir == "" {
		return nil, fmt.Errorf("%w: --data-dir is required", errUsage)
	}
	return datadir.Open(t.dir, name)
}

// secret is what nodes know each other by.
func (t *takeover) secret() (string, error) {
	path := t.secretFile
	if path == "" {
		path = t.env.getenv(secretFileEnv)
	}
	if path != "" {
		b, err := os.ReadFile(path)
		return strings.TrimSuffix(string(b), "\n"), err
	}
	if s := t.env.getenv(secretEnv); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%w: the other nodes must be asked, which takes --cluster-secret-file", errUsage)
}

// confirm reports whether the operator has named the cluster that is to be
// succeeded.
func (t *takeover) confirm(cluster layout.ClusterID) (bool, error) {
	if t.confirmed != "" && t.confirmed != cluster.String() {
		return false, fmt.Errorf("%w: --confirm names cluster %q; what would be succeeded is %s", errUsage, t.confirmed, cluster)
	}
	return t.confirmed != "", nil
}

// takeoverResult is what a takeover did, or would do.
type takeoverResult struct {
	Done        bool              `json:"done"`
	Directory   string            `json:"directory"`
	Node        layout.NodeID     `json:"node_id"`
	Name        string            `json:"name"`
	Predecessor layout.ClusterID  `json:"predecessor_id"`
	Successor   *layout.ClusterID `json:"successor_id"` // null: nothing was done
	NotAsked    []silentNode      `json:"not_asked"`
}

// silentNode is a node that could not be asked.
type silentNode struct {
	Node    layout.NodeID `json:"node_id"`
	Name    string        `json:"name"`
	Address string        `json:"address"`
	Why     string        `json:"why"`
}

func (t *takeover) result(d *datadir.Directory, predecessor layout.ClusterID, silent []datadir.Silence) takeoverResult {
	r := takeoverResult{Directory: t.dir, Node: d.Identity().Node, Name: d.Identity().Name, Predecessor: predecessor, NotAsked: []silentNode{}}
	for _, s := range silent {
		r.NotAsked = append(r.NotAsked, silentNode{s.Node, s.Name, s.Addr, s.Err.Error()})
	}
	return r
}

func (r *takeoverResult) did(s *datadir.Successor) {
	r.Done, r.Successor = true, &s.Cluster
}

// write shows it to people; more adds rows to the table.
func (r *takeoverResult) write(w io.Writer, more ...table.Row) {
	t := newTable(w)
	t.AppendRow(row("directory", r.Directory))
	t.AppendRow(row("node", fmt.Sprintf("%s (%s)", r.Name, r.Node)))
	t.AppendRow(row("cluster", r.Predecessor))
	t.AppendRows(more)
	if r.Done {
		t.AppendRow(row("successor", *r.Successor))
	}
	t.Render()
	if !r.Done && len(r.NotAsked) > 0 {
		fmt.Fprintln(w, "\nThese nodes could not be asked; make sure that they do not run:")
		for _, s := range r.NotAsked {
			fmt.Fprintf(w, "  %s (%s): %s\n", or(s.Name), s.Node, s.Why)
		}
	}
}

// writeNext says how the other nodes follow.
func (r *takeoverResult) writeNext(w io.Writer) {
	fmt.Fprintf(w, `
Done. Before any node starts, on every other node of the cluster:
  partctl registry adopt --data-dir DIR %s %s
`, r.Predecessor, *r.Successor)
}
