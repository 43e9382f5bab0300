package main

import (
	"context"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"partstore/metadata"
	"partstore/node/admin"
)

func newRepairPause(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "pause",
		Short: "Have no node rebuild anything",
		Long: `Pause has every node stop healing before its next chunk, until "repair resume".
It is recorded in the registry, and so outlives restarts. Reads and writes go on,
and the margin of parts that lack a chunk stays as low as it is.`,
		Args: exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			return e.changeRepair(ctx, c, metadata.RepairPause, 0, "Healing is paused on all nodes.")
		}),
	}
}

func newRepairResume(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "End a pause",
		Args:  exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			return e.changeRepair(ctx, c, metadata.RepairResume, 0, "Healing goes on.")
		}),
	}
}

func newRepairThrottle(e *env) *cobra.Command {
	var total bool
	var atOnce uint64
	cmd := &cobra.Command{
		Use:   "throttle BYTES/s | --at-once N",
		Short: "Bound what is moved to heal, or made at once",
		Long: `Throttle bounds how many bytes a second each node moves to heal, what it reads
for that included, in place of its heal_bandwidth. With --total it bounds what
all nodes move together: each that holds slots gets an equal share, and moves no
more than that and its own bound. KiB, MiB and GiB are understood; the least is
64KiB/s.

With --at-once it bounds how many chunks are made at the same time on all nodes
together: each that holds slots makes as many as its equal share, rounded down,
and one at least, so N is no less than there are such nodes. A part that is
widened counts as one.

0 takes a bound back.`,
		Example: "  partctl repair throttle 20MiB/s\n  partctl repair throttle --total 100MiB/s\n  partctl repair throttle --at-once 24",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed(atOnceFlag) {
				return exactly()(cmd, args)
			}
			return exactly("BYTES/s")(cmd, args)
		},
		RunE: e.runs(func(ctx context.Context, c *admin.Client, args []string) error {
			if len(args) == 0 {
				text := fmt.Sprintf("All nodes together make at most %d chunks at once.", atOnce)
				if atOnce == 0 {
					text = "How many chunks are made at once is bounded no more."
				}
				return e.changeRepair(ctx, c, metadata.RepairAtOnce, atOnce, text)
			}
			n, err := parseRate(args[0])
			if err != nil {
				return err
			}
			if total {
				text := fmt.Sprintf("All nodes together move at most %s a second to heal.", size(int64(n)))
				if n == 0 {
					text = "What all nodes move together is bounded no more."
				}
				return e.changeRepair(ctx, c, metadata.RepairThrottleTotal, n, text)
			}
			text := fmt.Sprintf("Each node moves at most %s a second to heal.", size(int64(n)))
			if n == 0 {
				text = "Each node heals as fast as it is configured to."
			}
			return e.changeRepair(ctx, c, metadata.RepairThrottle, n, text)
		}),
	}
	cmd.Flags().BoolVar(&total, "total", false, "bound all nodes together")
	cmd.Flags().Uint64Var(&atOnce, atOnceFlag, 0, "bound how many chunks all nodes make at once")
	cmd.MarkFlagsMutuallyExclusive("total", atOnceFlag)
	return cmd
}

const atOnceFlag = "at-once"

func (e *env) changeRepair(ctx context.Context, c *admin.Client, verb metadata.RepairVerb, limit uint64, text string) error {
	if err := c.ChangeRepair(ctx, verb, limit); err != nil {
		return err
	}
	return e.printDone("repair "+verb.String(), text)
}

// parseRate reads bytes a second.
func parseRate(s string) (uint64, error) {
	n, ok := parseBytes(strings.TrimSuffix(s, "/s"))
	if !ok || n > metadata.MaxRepairBandwidth || n > 0 && n < metadata.MinRepairBandwidth {
		return 0, fmt.Errorf("%w: %q is no number of bytes a second from 64KiB/s to %s, and not 0", errUsage, s, size(metadata.MaxRepairBandwidth))
	}
	return n, nil
}

// parseBytes reads a number of bytes, perhaps with a unit.
func parseBytes(s string) (n uint64, ok bool) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if number, found := strings.CutSuffix(s, unit); found {
			s, shift = number, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n << shift, err == nil && bits.Len64(n)+shift <= 63
}
