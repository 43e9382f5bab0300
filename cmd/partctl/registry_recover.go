package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/datadir"
)

func newRegistryRecover(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Make a successor cluster of the one copy that is left, offline",
		Long: `Recover is for a registry that has lost its quorum for good: more than half of its
voters are gone, and with them nobody can tell what they acknowledged last. It
makes the registry of a new cluster of the copy in the data directory of one node
that does not run. The new cluster succeeds the old one: it has an ID of its own,
and goes on with nodes and stores, each of which follows by "registry adopt".

What may be lost: everything that was acknowledged and had not reached this copy.
Look at the copies of all nodes that are left, by recover without --confirm on
each, and take the one with the highest term of the last entry, and of those the
one with the highest last entry. Entries beyond the last one known to be
committed are kept; a client that was told of no outcome may find either.

It is refused while there is a quorum, or can be one: if a member answers that
reads the registry, or so many voters that this node, once started, would make
them a majority. Members are asked at the addresses the node has seen last.
Those that cannot be asked are shown: make sure that they are gone. It is refused
for a copy that is damaged. The copy is kept beside the new registry, unchanged.
Stopped half-way, the same command goes on.`,
		Args: exactly(),
	}
	t := newTakeover(e, cmd)
	t.asks(cmd)
	cmd.RunE = e.offline(func(ctx context.Context, _ []string) error { return t.recover(ctx) })
	return cmd
}

// recoverResult is a takeoverResult with what is known of the copy; of a
// recovery that was finished later that is nothing.
type recoverResult struct {
	takeoverResult
	Copy *copyReport `json:"copy"`
}

type copyReport struct {
	Committed    uint64              `json:"committed_index"` // known to be
	Last         uint64              `json:"last_index"`
	LastTerm     uint64              `json:"last_term"`
	RegistryTime layout.RegistryTime `json:"registry_time_ms"`
	Written      time.Time           `json:"written"`
	Members      int                 `json:"members"`
	Voters       int                 `json:"voters"`
}

func (t *takeover) recover(ctx context.Context) (err error) {
	d, err := t.open("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	r := recoverResult{takeoverResult: t.result(d, d.Identity().Cluster, nil)}
	done, err := d.FinishRecover()
	if err == nil && done == nil {
		done, err = t.recoverNow(ctx, d, &r)
	}
	if err != nil {
		return err
	}
	if done != nil {
		r.did(done)
	}
	return t.env.print(r, func(w io.Writer) { r.write(w) })
}

// recoverNow recovers the copy in d, if there is no quorum and the operator
// confirmed it.
func (t *takeover) recoverNow(ctx context.Context, d *datadir.Directory, r *recoverResult) (done *datadir.Successor, err error) {
	secret, err := t.secret()
	if err != nil {
		return nil, err
	}
	s, err := d.Survivor(secret)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	silent, err := d.AskOthers(ctx, s)
	if err != nil {
		return nil, err
	}
	cluster := d.Identity().Cluster
	r.takeoverResult, r.Copy = t.result(d, cluster, silent), newCopyReport(s.Report())
	if ok, err := t.confirm(cluster); err != nil || !ok {
		return nil, err
	}
	progress := t.env.newProgress("recover")
	defer progress.end()
	return d.Recover(s, progress.rows)
}

func newCopyReport(s metadata.SurvivorReport) *copyReport {
	c := &copyReport{Committed: s.Committed, Last: s.Last, LastTerm: s.LastTerm, RegistryTime: s.Time, Written: s.Written, Members: len(s.Members)}
	for _, m := range s.Members {
		if m.Voter {
			c.Voters++
		}
	}
	return c
}

func (r *recoverResult) write(w io.Writer) {
	c := r.Copy
	if c == nil {
		r.takeoverResult.write(w)
		r.writeNext(w)
		return
	}
	r.takeoverResult.write(w,
		row("copy", fmt.Sprintf("%d members, %d of them voters", c.Members, c.Voters)),
		row("last entry", fmt.Sprintf("%d of term %d; known to be committed: up to %d", c.Last, c.LastTerm, c.Committed)),
		row("registry time", time.Duration(c.RegistryTime)*time.Millisecond),
		row("written", fmt.Sprintf("%s, %s ago", timestamp(c.Written), time.Since(c.Written).Round(time.Second))),
	)
	if r.Done {
		r.writeNext(w)
		return
	}
	fmt.Fprintf(w, "\nWould make a successor of cluster %s of this copy. What was acknowledged after entry %d would be lost.\nNothing was done; --confirm %s does it.\n",
		r.Predecessor, c.Last, r.Predecessor)
}
