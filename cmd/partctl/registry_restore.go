package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/datadir"
)

func newRegistryRestore(e *env) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a successor cluster of a backup, offline",
		Long: `Restore makes the registry of a new cluster of a backup, in the data directory of
one node that does not run. The new cluster succeeds the backup's: it has an ID
of its own, and goes on with the nodes and stores of the old one, each of which
follows by "registry adopt". Whatever was acknowledged after the backup is lost;
the parts it names are readable again as soon as enough stores have followed.

All nodes of the cluster must be stopped; restore asks those the directory knows
and refuses if one answers. It reads the whole backup before it touches anything,
and refuses one that is damaged, whose rows contradict each other, or that is of
another cluster than the directory. The old registry is kept beside the new one.
Stopped half-way, the same command goes on. Without --confirm it only shows what
it would do.

With --name, an empty or absent directory becomes that of a new node.`,
		Args: exactly("FILE"),
	}
	t := newTakeover(e, cmd)
	t.asks(cmd)
	cmd.Flags().StringVar(&name, "name", "", "`name` of the node, if the directory is empty")
	cmd.RunE = e.offline(func(ctx context.Context, args []string) error { return t.restore(ctx, args[0], name) })
	return cmd
}

func (t *takeover) restore(ctx context.Context, path, name string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	report, err := t.env.verify(f)
	if err == nil && len(report.Problems) > 0 {
		err = fmt.Errorf("%w: rows of the backup contradict each other: %s", metadata.ErrDamaged, report.Problems[0])
	}
	if err != nil {
		return err
	}
	d, err := t.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	r := t.result(d, report.Cluster, nil)
	done, err := d.FinishRestore(report.BackupInfo)
	if err == nil && done == nil {
		done, err = t.restoreNow(ctx, d, f, report, &r)
	}
	if err != nil {
		return err
	}
	if done != nil {
		r.did(done)
	}
	return t.env.print(r, func(w io.Writer) {
		r.write(w, row("backup", fmt.Sprintf("made %s, log entry %d, %d parts", timestamp(report.Created), report.Index, report.Rows.Parts)))
		if r.Done {
			r.writeNext(w)
			return
		}
		fmt.Fprintf(w, "\nWould make a successor of cluster %s. All that was acknowledged after the backup was made would be lost.\nNothing was done; --confirm %s does it.\n", report.Cluster, report.Cluster)
	})
}

// restoreNow restores a verified backup, if nobody runs and the operator
// confirmed it.
func (t *takeover) restoreNow(ctx context.Context, d *datadir.Directory, f *os.File, report metadata.BackupReport, r *takeoverResult) (*datadir.Successor, error) {
	if err := d.CheckBackup(report.BackupInfo); err != nil {
		return nil, err
	}
	if len(d.Peers()) > 0 {
		secret, err := t.secret()
		if err != nil {
			return nil, err
		}
		silent, err := d.RefuseRunning(ctx, secret)
		if err != nil {
			return nil, err
		}
		*r = t.result(d, report.Cluster, silent)
	}
	if ok, err := t.confirm(report.Cluster); err != nil || !ok {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	progress := t.env.newProgress("restore")
	defer progress.end()
	return d.Restore(report.BackupInfo, f, progress.rows)
}
