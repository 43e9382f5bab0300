package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newUploadList(e *env) *cobra.Command {
	var q admin.UploadQuery
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List uploads in progress by bucket, key and age",
		Args:  exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			return e.uploadList(ctx, c, q)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Bucket, "bucket", "", "only this `bucket`")
	flags.StringVar(&q.Prefix, "prefix", "", "only keys that begin with `prefix`")
	flags.IntVar(&q.Limit, "limit", admin.DefaultUploadLimit, fmt.Sprintf("at most `n` uploads, 1 to %d", admin.MaxUploadLimit))
	flags.StringVar(&q.AfterKey, "after-key", "", "continue after this `key`; needs --bucket")
	flags.StringVar(&q.AfterID, "after-id", "", "continue after this upload `ID` of --after-key")
	return cmd
}

func (e *env) uploadList(ctx context.Context, c *admin.Client, q admin.UploadQuery) error {
	if q.Limit < 1 || q.Limit > admin.MaxUploadLimit {
		return fmt.Errorf("%w: limit %d is not within 1 to %d", errUsage, q.Limit, admin.MaxUploadLimit)
	}
	l, err := c.Uploads(ctx, q)
	if err != nil {
		return err
	}
	return e.print(l, func(w io.Writer) {
		t := newTable(w, "BUCKET", "KEY", "UPLOAD", "CREATED")
		for _, u := range l.Uploads {
			t.AppendRow(row(u.Bucket, quoted(u.Key), u.ID, timestamp(u.Created)))
		}
		t.Render()
		if n := len(l.Uploads); l.More && n > 0 {
			last := l.Uploads[n-1]
			fmt.Fprintf(w, "\nThere are more: --bucket %s --after-key %s --after-id %s\n", last.Bucket, quoted(last.Key), last.ID)
		}
	})
}
