package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"partstore/chunkstore"
	"partstore/internal/vfs"
)

// errDamaged reports that what was inspected is not sound.
var errDamaged = errors.New("damage was found")

func newInspect() *cobra.Command {
	verify := false
	cmd := &cobra.Command{
		Use:   "inspect STORE|SEGMENT",
		Short: "Show what a store on this machine holds",
		Long: `Inspect shows what lies in the directory of a store, or in one of its segments:
every chunk, and those that died after the segment was sealed. It reads only, needs no running node, and does not
disturb one. With --verify it reads every byte of the chunks and exits with 1 if
any is damaged.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: inspect takes one directory of a store, or one segment", errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return inspect(cmd.OutOrStdout(), name, verify)
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "read every byte")
	return cmd
}

func inspect(out io.Writer, name string, verify bool) error {
	damaged := 0
	store, err := chunkstore.Inspect(vfs.OS{}, name, verify, func(s chunkstore.InspectedSegment) error {
		if s.Damaged {
			damaged++
		}
		for _, c := range s.Chunks {
			if c.Err != nil {
				damaged++
			}
		}
		return printSegment(out, s)
	})
	if err != nil {
		return err
	}
	damaged += store.DamagedTombstones
	_, err = fmt.Fprintf(out, "store %s of cluster %s: %d tombstones, %d damaged\n",
		store.ID, store.Cluster, store.Tombstones, store.DamagedTombstones)
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%w: %d", errDamaged, damaged)
	}
	return err
}

func printSegment(out io.Writer, s chunkstore.InspectedSegment) error {
	state := "growing or cut short"
	switch {
	case s.Damaged:
		state = "damaged"
	case s.Sealed:
		state = "sealed"
	}
	fmt.Fprintf(out, "segment %s: %s, %d bytes, %d allocated, %d records\n", s.Name, state, s.Size, s.Allocated, len(s.Chunks))
	for _, c := range s.Chunks {
		fate := ""
		switch {
		case c.Dead:
			fate = " dead"
		case c.Err != nil:
			fate = " DAMAGED: " + c.Err.Error()
		}
		_, err := fmt.Fprintf(out, "  at %d: chunk %s, %d bytes, label %d, pieces %d, sequence %d%s\n",
			c.Offset, c.ID, c.Size, c.LabelSize, c.Pieces, c.Sequence, fate)
		if err != nil {
			return err
		}
	}
	return nil
}
