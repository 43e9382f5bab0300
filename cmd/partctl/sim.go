package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/spf13/cobra"

	"partstore/internal/layout"
	"partstore/internal/simulation"
)

func newSim(e *env) *cobra.Command {
	in := simulation.Input{}
	var scheme, capacity, stored, bandwidth string
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "How a fleet of any size would fare, without a cluster",
		Long: `Sim makes up a fleet of equal stores and places groups on it with the functions
a cluster uses. It says how evenly the slots lie, what moves when one node of a
hundred comes or goes, and, for random zones, racks and nodes that die at once, how
many groups are lost and how long the busiest node has to heal the others. Placement
knows zones and nodes, not racks: here a rack is so many nodes of a zone.
A cluster of today has at most 4096 groups.

Nothing is asked of any node. The same --seed gives the same answer.`,
		Example: "  partctl sim --nodes 60 --zones 3 --stores 12 --groups 4096 --scheme 8+3",
		Args:    exactly(),
		RunE: e.offline(func(ctx context.Context, _ []string) (err error) {
			if in.Scheme, err = layout.ParseScheme(scheme); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			for _, f := range []struct {
				text string
				to   *int64
			}{{capacity, &in.StoreCapacity}, {stored, &in.StoreBytes}, {bandwidth, &in.NodeBandwidth}} {
				n, ok := parseBytes(strings.TrimSuffix(f.text, "/s"))
				if !ok {
					return fmt.Errorf("%w: %q is no number of bytes", errUsage, f.text)
				}
				*f.to = int64(n)
			}
			if in.Seed == 0 {
				in.Seed = rand.Uint64()
			}
			return e.sim(ctx, in)
		}),
	}
	f := cmd.Flags()
	f.IntVar(&in.Zones, "zones", 100, "so many zones")
	f.IntVar(&in.Nodes, "nodes", 10_000, "so many nodes in all, dealt to the zones in turn")
	f.IntVar(&in.StoresPerNode, "stores", 12, "so many stores on each node")
	f.IntVar(&in.Groups, "groups", 1_000_000, "so many placement groups")
	f.IntVar(&in.RackNodes, "rack", 20, "so many nodes of a zone die with a rack")
	f.IntVar(&in.Draws, "draws", 3, "so many zones, racks and hundredths of the nodes die, each by itself")
	f.Uint64Var(&in.Seed, "seed", 0, "repeat the run that printed this seed; 0 picks one")
	f.StringVar(&scheme, "scheme", "4+2", "`DATA+PARITY` of the groups")
	f.StringVar(&capacity, "capacity", "16TiB", "`bytes` that fit on a store")
	f.StringVar(&stored, "stored", "8TiB", "`bytes` of chunks on a store")
	f.StringVar(&bandwidth, "bandwidth", "1GiB/s", "`bytes` a second that a node gets, and as many that it sends, to heal")
	return cmd
}

func (e *env) sim(ctx context.Context, in simulation.Input) error {
	if err := in.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	p := e.newProgress("sim")
	r, err := simulation.Run(ctx, in, func(doing string) { p.say("%-60s", doing) })
	p.end()
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) { simTable(w, r) })
}

func simTable(w io.Writer, r simulation.Result) {
	fmt.Fprintf(w, "Seed %d: %d nodes in %d zones, %d stores of %s, %d groups %s\n", r.Seed, r.Nodes, r.Zones, r.Stores, size(r.StoreCapacity), r.Groups, r.Scheme)
	fmt.Fprintf(w, "A store has %s of chunks; a node heals with %s a second; a rack is %d nodes of a zone\n\n", size(r.StoreBytes), size(r.NodeBandwidth), r.RackNodes)
	t := newTable(w, "SLOTS ON STORES", "MEAN", "LEAST", "MOST", "DEVIATION")
	for _, s := range []struct {
		name string
		simulation.Spread
	}{{"as drawn", r.Drawn}, {"balanced", r.Balanced}, {"one node of 100 more", r.Grown.Spread}, {"one node of 100 less", r.Shrunk.Spread}} {
		t.AppendRow(row(s.name, fmt.Sprintf("%.2f", s.Mean), percent(s.Min), percent(s.Max), percent(s.Deviation)))
	}
	t.Render()
	fmt.Fprintln(w)
	t = newTable(w, "CAPACITY", "NODES", "SLOTS MOVED", "SHARE", "BYTES MOVED", "STUCK")
	for _, m := range []struct {
		sign string
		simulation.Movement
	}{{"+", r.Grown}, {"-", r.Shrunk}} {
		t.AppendRow(row(m.sign+"1 %", m.Nodes, m.Slots, fmt.Sprintf("%.0f", m.Share), size(m.Bytes), m.Stuck))
	}
	t.Render()
	fmt.Fprintln(w)
	t = newTable(w, "DIES", "NODES", "SLOTS GONE", "GROUPS LOST", "WITHOUT MARGIN", "OTHERS HIT", "STUCK", "HEALED IN", "BUSIEST NODE")
	for _, f := range r.Failures {
		t.AppendRow(row(f.Kind, f.Nodes, f.Slots, f.Lost, f.AtRisk, f.Reduced, f.Stuck, seconds(f.Seconds), size(f.Busiest)))
	}
	t.Render()
}

func percent(p float64) string { return fmt.Sprintf("%.2f %%", p) }
