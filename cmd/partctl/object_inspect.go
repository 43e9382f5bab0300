package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newObjectInspect(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect BUCKET KEY",
		Short: "Read every chunk of an object and report its state",
		Long: `Inspect has every chunk of every part of an object read in full and verified,
so it takes as long as reading the object one and a half times. It exits 3
unless all chunks are ok.

State of a chunk:
  ok           every block was read and verified
  missing      its node says it has no such chunk
  corrupt      a checksum fails
  unavailable  its node could not be asked
  not-written  it was not durable when the part was committed, and is not there`,
		Args: exactly("BUCKET", "KEY"),
		RunE: e.runs(e.objectInspect),
	}
}

func (e *env) objectInspect(ctx context.Context, c *admin.Client, args []string) error {
	r, err := c.InspectObject(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	if err := e.print(r, func(w io.Writer) { printObject(w, r) }); err != nil {
		return err
	}
	if r.State != admin.PartWhole {
		return errDegraded
	}
	return nil
}

func printObject(w io.Writer, r admin.ObjectReport) {
	t := newTable(w)
	t.AppendRow(row("bucket", r.Bucket))
	t.AppendRow(row("key", quoted(r.Key)))
	t.AppendRow(row("id", r.ID))
	t.AppendRow(row("size", sizeInParts(r.Size, len(r.Parts))))
	t.AppendRow(row("etag", r.ETag))
	t.AppendRow(row("modified", timestamp(r.Modified)))
	t.AppendRow(row("state", r.State))
	t.Render()
	for _, p := range r.Parts {
		fmt.Fprintf(w, "\npart %d: %s, %s, etag %s, modified %s, scheme %s, group %d, attempt %s\n",
			p.Number, p.State, size(p.Size), p.ETag, timestamp(p.Modified), p.Scheme, p.Group, p.Attempt)
		printChunks(w, p.Chunks)
	}
}

func printChunks(w io.Writer, chunks []admin.ChunkReport) {
	if len(chunks) == 0 {
		return
	}
	t := newTable(w, "  CHUNK", "SLOT", "NODE", "STORE", "STATE", "")
	for _, c := range chunks {
		t.AppendRow(row("  "+strconv.Itoa(c.Index), c.Slot, c.Node.Name, c.Store, c.State, c.Detail))
	}
	t.Render()
}
