package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"partstore/node/admin"
)

func newUploadAbort(e *env) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "abort BUCKET KEY UPLOAD",
		Short: "Abort an upload and give up its parts",
		Long: `Abort ends an upload in progress. Its parts are gone for good and its ID is
unknown from then on. Without --yes it only shows what would be lost.`,
		Args: exactly("BUCKET", "KEY", "UPLOAD"),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			return e.uploadAbort(ctx, c, args, yes)
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

// abortResult is what abort did, or would do.
type abortResult struct {
	Aborted bool `json:"aborted"`
	admin.UploadDetail
}

func (e *env) uploadAbort(ctx context.Context, c *admin.Client, args []string, yes bool) error {
	ref, err := uploadRef(args)
	if err != nil {
		return err
	}
	d, err := c.Upload(ctx, ref)
	if err != nil {
		return err
	}
	if yes {
		if err := c.AbortUpload(ctx, ref); err != nil {
			return err
		}
	}
	return e.print(abortResult{yes, d}, func(w io.Writer) {
		printUpload(w, d)
		if yes {
			fmt.Fprintln(w, "\nAborted.")
			return
		}
		fmt.Fprintf(w, "\nWould abort this upload and give up %s. Nothing was done; --yes does it.\n",
			sizeInParts(d.Size, len(d.Parts)))
	})
}
