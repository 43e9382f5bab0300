package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newRegistryBackup(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the registry",
		Long: `Backup writes all rows of the registry to a new file, as they are at one instant
of this call, while the cluster goes on. Any node may be asked. The file is
verified as it comes in and gets its name only once it is whole and on stable
storage. It holds records only, not the parts' data.`,
		Args: exactly("FILE"),
		RunE: e.runs(e.registryBackup),
	}
}

func (e *env) registryBackup(ctx context.Context, c *admin.Client, args []string) error {
	path := args[0]
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%w: %s exists", errUsage, path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".partial-*")
	if err != nil {
		return err
	}
	report, err := e.receiveBackup(ctx, c, f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), path) // unlike a rename, it replaces nothing
	}
	if err := errors.Join(err, os.Remove(f.Name())); err != nil {
		return err
	}
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return err
	}
	return e.printBackup(path, report)
}

// receiveBackup verifies what it writes.
func (e *env) receiveBackup(ctx context.Context, c *admin.Client, f *os.File) (report metadata.BackupReport, err error) {
	r, w := io.Pipe()
	verified := make(chan struct{})
	go func() {
		defer close(verified)
		progress := e.newProgress("backup")
		report, err = metadata.VerifyBackup(r, progress.rows)
		progress.end()
		r.CloseWithError(err) // nil: nothing comes after the end
	}()
	received := c.RegistryBackup(ctx, io.MultiWriter(f, w))
	w.CloseWithError(received)
	<-verified
	if received != nil {
		return report, received
	}
	return report, errors.Join(err, f.Sync())
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
