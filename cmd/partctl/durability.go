package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"partstore/internal/durability"
	"partstore/internal/layout"
	"partstore/node/admin"
)

// whatIf is what an operator supposes; zero: as it is.
type whatIf struct {
	schemes       []string
	groups, zones int
	healTime      time.Duration
	detect        time.Duration
	scrubAge      time.Duration
	driveFailures float64
	zoneFailures  float64
	damage        float64
}

func newDurability(e *env) *cobra.Command {
	w := whatIf{}
	cmd := &cobra.Command{
		Use:   "durability",
		Short: "How likely data is lost in a year",
		Long: `Durability computes, for the scheme of large parts, for that of small ones, and
for every --scheme, how likely some part is lost within a year. Groups, zones,
the time to heal a drive and the age of what scrubs have read are those of the
cluster, unless flags suppose others. How often drives and zones die and chunks
go bad unnoticed it cannot know: set the flags. docs/durability.md has the
formula and what it leaves out.`,
		Example: "  partctl durability --drive-failures 0.04 --scheme 8+3 --heal-time 12h",
		Args:    exactly(),
		RunE: e.runs(func(ctx context.Context, c *admin.Client, _ []string) error {
			return e.durability(ctx, c, w)
		}),
	}
	f := cmd.Flags()
	f.StringSliceVar(&w.schemes, "scheme", nil, "also for `DATA+PARITY`")
	f.IntVar(&w.groups, "groups", 0, "suppose so many placement groups")
	f.IntVar(&w.zones, "zones", 0, "suppose so many zones")
	f.DurationVar(&w.healTime, "heal-time", 0, "suppose that a drive is healed in this `time`")
	f.DurationVar(&w.detect, "detect", 10*time.Minute, "`time` until a dead drive begins to be healed")
	f.DurationVar(&w.scrubAge, "scrub-age", 0, "suppose that the oldest chunk was read that long ago")
	f.Float64Var(&w.driveFailures, "drive-failures", 0.02, "how often a drive dies in a year")
	f.Float64Var(&w.zoneFailures, "zone-failures", 0, "how often a zone dies for good in a year")
	f.Float64Var(&w.damage, "damage", 1e-7, "share of chunks that go bad unnoticed in a year")
	return cmd
}

// durabilityReport is the answer to "durability".
type durabilityReport struct {
	Groups          int     `json:"groups"`
	Zones           int     `json:"zones"`
	HealSeconds     float64 `json:"heal_seconds"` // detection included
	HealSource      string  `json:"heal_source"`  // given, measured, or supposed
	ScrubAgeSeconds float64 `json:"scrub_age_seconds"`
	ChunksInSlot    float64 `json:"chunks_in_slot"`
	DriveFailures   float64 `json:"drive_failures_a_year"`
	ZoneFailures    float64 `json:"zone_failures_a_year"`
	Damage          float64 `json:"damage_a_year"`

	Schemes []schemeLoss `json:"schemes"`
}

type schemeLoss struct {
	Scheme     string  `json:"scheme"`
	LossAYear  float64 `json:"loss_a_year"`
	GroupYears float64 `json:"mean_years_of_a_group"`
}

func (e *env) durability(ctx context.Context, c *admin.Client, w whatIf) error {
	if w.groups < 0 || w.zones < 0 || w.healTime < 0 || w.detect < 0 || w.scrubAge < 0 || w.driveFailures <= 0 || w.zoneFailures < 0 || w.damage < 0 {
		return fmt.Errorf("%w: nothing can be negative, and drives do fail", errUsage)
	}
	var asked []layout.Scheme
	for _, s := range w.schemes {
		scheme, err := layout.ParseScheme(s)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		asked = append(asked, scheme)
	}
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	list, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	r := w.inputs(status, list.Nodes, time.Now())
	schemes := append([]layout.Scheme{status.Scheme, {Data: 1, Parity: status.Scheme.Parity}}, asked...)
	for _, s := range schemes {
		loss, err := durability.Compute(durability.Input{
			Scheme: s, Groups: r.Groups, Zones: r.Zones, DriveFailures: r.DriveFailures, ZoneFailures: r.ZoneFailures,
			HealTime: time.Duration(r.HealSeconds * float64(time.Second)), Damage: r.Damage,
			ScrubAge: time.Duration(r.ScrubAgeSeconds * float64(time.Second)), Chunks: r.ChunksInSlot,
		})
		if err != nil {
			return fmt.Errorf("scheme %s: %w", s, err)
		}
		r.Schemes = append(r.Schemes, schemeLoss{s.String(), loss.PerYear, loss.GroupYears})
	}
	return e.print(r, r.table)
}

// inputs are those of the cluster, as far as nothing else is supposed.
func (w whatIf) inputs(status admin.Status, nodes []admin.Node, now time.Time) durabilityReport {
	r := durabilityReport{
		Groups: status.Groups.Total, DriveFailures: w.driveFailures, ZoneFailures: w.zoneFailures, Damage: w.damage,
	}
	zones := map[string]bool{}
	stores, chunks := 0, 0
	for _, n := range nodes {
		zones[n.Zone] = true
		stores += len(n.Stores)
		if n.Heal != nil {
			chunks += n.Heal.Chunks
		}
		r.heals(n)
		if n.Scrub != nil {
			r.scrubbed(*n.Scrub, now)
		}
	}
	r.Zones = len(zones)
	if slots := r.Groups * status.Scheme.Total(); slots > 0 {
		r.ChunksInSlot = float64(chunks) / float64(slots)
	}
	if w.groups > 0 {
		r.Groups = w.groups
	}
	if w.zones > 0 {
		r.Zones = w.zones
	}
	if w.scrubAge > 0 {
		r.ScrubAgeSeconds = w.scrubAge.Seconds()
	}
	switch {
	case w.healTime > 0:
		r.HealSeconds, r.HealSource = w.healTime.Seconds(), "given"
		return r
	case r.HealSeconds > 0:
		r.HealSource = "measured"
	default:
		r.HealSeconds, r.HealSource = supposedHeal.Seconds(), "supposed, for nothing was rebuilt yet"
	}
	r.HealSeconds += w.detect.Seconds()
	return r
}

// supposedHeal is the time to heal a drive where none was measured.
const supposedHeal = 24 * time.Hour

// heals takes the time a node would need for its whole store, at the speed at
// which it has rebuilt chunks, if that is the longest so far.
func (r *durabilityReport) heals(n admin.Node) {
	if n.Heal != nil && n.Heal.AllRebuilt > 0 {
		r.HealSeconds = max(r.HealSeconds, n.Heal.RebuildSeconds/float64(n.Heal.AllRebuilt)*float64(n.Heal.Chunks))
	}
}

func (r *durabilityReport) scrubbed(s admin.Scrub, now time.Time) {
	since := s.Verified
	if since.IsZero() {
		since = s.Began
	}
	if !since.IsZero() {
		r.ScrubAgeSeconds = max(r.ScrubAgeSeconds, now.Sub(since).Seconds())
	}
}

func (r durabilityReport) table(w io.Writer) {
	fmt.Fprintf(w, "%d groups in %d zones, %.0f chunks in a slot\n", r.Groups, r.Zones, r.ChunksInSlot)
	fmt.Fprintf(w, "A drive is healed in %s (%s); the oldest chunk was read %s ago\n", seconds(r.HealSeconds), r.HealSource, seconds(r.ScrubAgeSeconds))
	fmt.Fprintf(w, "Supposed for a year: %g of the drives and %g of the zones die, %g of the chunks go bad\n\n", r.DriveFailures, r.ZoneFailures, r.Damage)
	t := newTable(w, "SCHEME", "LOSS IN A YEAR", "MEAN YEARS OF A GROUP")
	for _, s := range r.Schemes {
		t.AppendRow(row(s.Scheme, fmt.Sprintf("%.2g", s.LossAYear), fmt.Sprintf("%.2g", s.GroupYears)))
	}
	t.Render()
}
