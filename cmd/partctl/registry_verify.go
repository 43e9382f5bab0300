package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/metadata"
)

func newRegistryVerify(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a backup of the registry",
		Long: `Verify reads a backup to its end: every checksum, every row, and what rows say
of each other. It asks no node. It exits 1 if the file is damaged or no backup,
and 3 if its rows contradict each other.`,
		Args: exactly("FILE"),
		RunE: e.offline(e.registryVerify),
	}
}

func (e *env) registryVerify(_ context.Context, args []string) (err error) {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	report, err := e.verify(f)
	if err != nil {
		return err
	}
	return e.printBackup(args[0], report)
}

func (e *env) verify(backup io.Reader) (metadata.BackupReport, error) {
	progress := e.newProgress("verify")
	defer progress.end()
	return metadata.VerifyBackup(backup, progress.rows)
}

// backupReport is what backup and verify print.
type backupReport struct {
	File         string              `json:"file"`
	Bytes        int64               `json:"bytes"`
	Cluster      layout.ClusterID    `json:"cluster_id"`
	Created      time.Time           `json:"created"`
	Index        uint64              `json:"log_index"`
	RegistryTime layout.RegistryTime `json:"registry_time_ms"`
	Rows         metadata.RowCounts  `json:"rows"`
	Problems     []string            `json:"problems"`
}

func (e *env) printBackup(path string, r metadata.BackupReport) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	b := backupReport{path, info.Size(), r.Cluster, r.Created, r.Index, r.Time, r.Rows, append([]string{}, r.Problems...)}
	err = e.print(b, func(w io.Writer) {
		t := newTable(w)
		t.AppendRow(row("file", b.File))
		t.AppendRow(row("size", size(b.Bytes)))
		t.AppendRow(row("cluster", b.Cluster))
		t.AppendRow(row("made", timestamp(b.Created)))
		t.AppendRow(row("includes", fmt.Sprintf("log entry %d, registry time %s", b.Index, time.Duration(b.RegistryTime)*time.Millisecond)))
		t.Render()
		fmt.Fprintln(w)
		printRows(w, b.Rows)
		for i, p := range b.Problems {
			if i == 0 {
				fmt.Fprintln(w, "\nRows contradict each other:")
			}
			fmt.Fprintln(w, "  "+p)
		}
	})
	if err == nil && len(b.Problems) > 0 {
		return errDegraded
	}
	return err
}
