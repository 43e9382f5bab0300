package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

func small(seed uint64) Input {
	return Input{
		Scheme: layout.Scheme{Data: 4, Parity: 2}, Zones: 10, Nodes: 200, StoresPerNode: 3, Groups: 6000, RackNodes: 5, Draws: 2, Seed: seed,
		StoreCapacity: 1 << 40, StoreBytes: 1 << 39, NodeBandwidth: 1 << 30,
	}
}

func simulate(t *testing.T, in Input) Result {
	t.Helper()
	r, err := Run(t.Context(), in, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Slots lie evenly, what comes or goes moves hardly more than it must, and no zone
// has two slots of a group, so that one that dies takes one of each at most.
func TestAFleetKeepsWhatLayoutPromises(t *testing.T) {
	in := small(testrand.Seed(t))
	r := simulate(t, in)
	for name, s := range map[string]Spread{"balanced": r.Balanced, "grown": r.Grown.Spread, "shrunk": r.Shrunk.Spread} {
		if one := 100 / s.Mean; s.Min < 100-1.01*one || s.Max > 100+1.01*one {
			t.Errorf("%s: stores have %.1f to %.1f %% of their share, one slot is %.1f %%", name, s.Min, s.Max, one)
		}
	}
	if r.Drawn.Deviation <= r.Balanced.Deviation {
		t.Errorf("drawn groups deviate by %.2f %%, balanced ones by %.2f %%", r.Drawn.Deviation, r.Balanced.Deviation)
	}
	for name, m := range map[string]Movement{"grown": r.Grown, "shrunk": r.Shrunk} {
		if m.Nodes != 2 || m.Slots == 0 || float64(m.Slots) > 1.05*m.Share || m.Stuck != 0 {
			t.Errorf("%s: %+v", name, m)
		}
		perStore := float64(in.StoreBytes) / (float64(in.Groups*in.Scheme.Total()) / float64(r.Stores))
		if want := int64(float64(m.Slots) * perStore); m.Bytes != want {
			t.Errorf("%s: %d bytes for %d slots, want %d", name, m.Bytes, m.Slots, want)
		}
	}
	kinds := map[string]int{}
	for _, f := range r.Failures {
		kinds[f.Kind]++
		if f.Slots == 0 || f.Stuck != 0 || f.Seconds <= 0 || f.Slots < f.Reduced+2*f.AtRisk+3*f.Lost {
			t.Errorf("%+v", f)
		}
		if f.Kind != "nodes" && (f.Lost+f.AtRisk > 0 || f.Reduced != f.Slots) {
			t.Errorf("slots of a group share a zone: %+v", f)
		}
		// Nobody heals faster than if all nodes that are left shared what there is to get.
		if least := float64(f.Slots-3*f.Lost) * 4 * float64(r.Grown.Bytes) / float64(r.Grown.Slots) / float64(in.Nodes-f.Nodes); float64(f.Busiest) < least*0.999 {
			t.Errorf("the busiest node moves %d bytes, all together %.0f each", f.Busiest, least)
		}
	}
	if kinds["zone"] != 2 || kinds["rack"] != 2 || kinds["nodes"] != 2 {
		t.Errorf("failures: %v", kinds)
	}
}

// With as many zones as the scheme has data shards, a zone has more slots of a
// group than parity replaces.
func TestTooFewZonesLoseGroups(t *testing.T) {
	in := small(testrand.Seed(t))
	in.Zones = 2
	for _, f := range simulate(t, in).Failures {
		if f.Kind == "zone" && (f.Lost != in.Groups || f.Slots != 3*in.Groups || f.Seconds != 0) {
			t.Errorf("%+v; want all groups lost", f)
		}
	}
}

func TestASeedRepeatsARun(t *testing.T) {
	seed := testrand.Seed(t)
	run := func(seed uint64) string {
		in := small(seed)
		in.Nodes, in.Groups = 40, 500
		b, err := json.Marshal(simulate(t, in))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := run(seed)
	if again := run(seed); again != first {
		t.Errorf("seed %d gave\n%s\nand then\n%s", seed, first, again)
	}
	if run(seed+1) == first {
		t.Error("another seed gives the same")
	}
}

func TestAFleetThatCannotBeIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Input){
		"no zones":          func(in *Input) { in.Zones = 0 },
		"more zones":        func(in *Input) { in.Zones = in.Nodes + 1 },
		"too few nodes":     func(in *Input) { in.Nodes, in.Zones = 6, 1 },
		"no parity":         func(in *Input) { in.Scheme.Parity = 0 },
		"no bandwidth":      func(in *Input) { in.NodeBandwidth = 0 },
		"stores by billion": func(in *Input) { in.Nodes = 1 << 31 },
	} {
		in := small(1)
		spoil(&in)
		if _, err := Run(t.Context(), in, func(string) {}); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

func TestARunCanBeStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Run(ctx, small(1), func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}
