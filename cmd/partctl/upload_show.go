package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/metadata"
	"partstore/node/admin"
)

func newUploadShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "show BUCKET KEY UPLOAD",
		Short: "Show an upload in progress and its parts",
		Args:  exactly("BUCKET", "KEY", "UPLOAD"),
		RunE:  e.runs(e.uploadShow),
	}
}

func (e *env) uploadShow(ctx context.Context, c *admin.Client, args []string) error {
	ref, err := uploadRef(args)
	if err != nil {
		return err
	}
	d, err := c.Upload(ctx, ref)
	if err != nil {
		return err
	}
	return e.print(d, func(w io.Writer) { printUpload(w, d) })
}

// uploadRef reads BUCKET KEY UPLOAD.
func uploadRef(args []string) (metadata.UploadRef, error) {
	id, err := layout.ParseUploadID(args[2])
	if err != nil {
		return metadata.UploadRef{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	return metadata.UploadRef{Bucket: args[0], Key: args[1], ID: id}, nil
}

func printUpload(w io.Writer, d admin.UploadDetail) {
	t := newTable(w)
	t.AppendRow(row("bucket", d.Bucket))
	t.AppendRow(row("key", quoted(d.Key)))
	t.AppendRow(row("upload", d.ID))
	t.AppendRow(row("created", timestamp(d.Created)))
	t.AppendRow(row("size", sizeInParts(d.Size, len(d.Parts))))
	t.Render()
	if len(d.Parts) == 0 {
		return
	}
	fmt.Fprintln(w)
	t = newTable(w, "PART", "SIZE", "ETAG", "MODIFIED", "SCHEME", "GROUP", "ATTEMPT")
	for _, p := range d.Parts {
		t.AppendRow(row(p.Number, size(p.Size), p.ETag, timestamp(p.Modified), p.Scheme, p.Group, p.Attempt))
	}
	t.Render()
}
