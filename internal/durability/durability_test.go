package durability

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"partstore/internal/layout"
)

const day = 24 * time.Hour

func compute(t *testing.T, in Input) Loss {
	t.Helper()
	loss, err := Compute(in)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within*math.Abs(want) {
		t.Errorf("%s = %g, want %g within %g", what, got, want, within)
	}
}

// Against formulas worked out by hand, also where a loss is so rare that a
// subtraction would leave nothing of it.
func TestSmallCasesAreExact(t *testing.T) {
	for _, heal := range []time.Duration{time.Minute, day, 100 * day} {
		for _, fail := range []float64{1e-6, 0.02, 3} {
			mu := year / float64(heal)
			for k := uint8(1); k < 9; k++ {
				n := float64(k) + 1
				in := Input{Scheme: layout.Scheme{Data: k, Parity: 1}, Groups: 1, DriveFailures: fail, HealTime: heal}
				near(t, "m=1", compute(t, in).GroupYears, ((2*n-1)*fail+mu)/(n*(n-1)*fail*fail), 1e-12)
				n++
				in.Scheme.Parity = 2
				a, b, c := n*fail, (n-1)*fail, (n-2)*fail
				up2 := 1 / c // mean time from state 2 to 3, and so on down
				up0 := 1 / a
				up1 := 1/b + mu/b*up0
				up2 += 2 * mu / c * up1
				near(t, "m=2", compute(t, in).GroupYears, up0+up1+up2, 1e-12)
			}
		}
	}
}

// simulate lets a group live until it loses data, drive by drive and chunk by
// chunk, and returns the years that took.
func simulate(r *rand.Rand, in Input) (years float64) {
	n, m := in.Scheme.Total(), int(in.Scheme.Parity)
	heal := year / float64(in.HealTime)
	down := make([]bool, n)
	perZone := (n + max(1, in.Zones) - 1) / max(1, in.Zones)
	for {
		failed := 0
		for _, d := range down {
			if d {
				failed++
			}
		}
		before := failed
		rates := []float64{float64(n-failed) * in.DriveFailures, float64(failed) * heal, float64(max(1, in.Zones)) * in.ZoneFailures}
		total := rates[0] + rates[1] + rates[2]
		years += r.ExpFloat64() / total
		pick := r.Float64() * total
		switch {
		case pick < rates[0]:
			failed += flipOne(r, down, false, 1)
		case pick < rates[0]+rates[1]:
			failed -= flipOne(r, down, true, 1)
		default:
			failed += flipOne(r, down, false, min(perZone, n-failed))
		}
		if failed > m {
			return years
		}
		if failed == m && failed > before {
			age := (float64(in.ScrubAge)/2 + float64(in.HealTime)) / year
			for range int(in.Scheme.Data) * int(in.Chunks) {
				if r.ExpFloat64() < in.Damage*age {
					return years
				}
			}
		}
	}
}

// flipOne changes so many of the drives that are in a state, and returns how many.
func flipOne(r *rand.Rand, down []bool, is bool, count int) int {
	for changed := 0; changed < count; {
		if i := r.IntN(len(down)); down[i] == is {
			down[i] = !is
			changed++
		}
	}
	return count
}

// Against groups that live and die one event at a time.
func TestSimulatedGroupsLiveAsLong(t *testing.T) {
	const lives = 4000
	for name, in := range map[string]Input{
		"drives":         {Scheme: layout.Scheme{Data: 4, Parity: 2}, DriveFailures: 2, HealTime: 20 * day},
		"wide":           {Scheme: layout.Scheme{Data: 8, Parity: 3}, DriveFailures: 2, HealTime: 20 * day},
		"bad chunks":     {Scheme: layout.Scheme{Data: 4, Parity: 2}, DriveFailures: 2, HealTime: 20 * day, Damage: 0.1, ScrubAge: 30 * day, Chunks: 5},
		"zones":          {Scheme: layout.Scheme{Data: 4, Parity: 2}, Zones: 3, DriveFailures: 1, HealTime: 20 * day, ZoneFailures: 0.5},
		"too few zones":  {Scheme: layout.Scheme{Data: 4, Parity: 2}, Zones: 1, DriveFailures: 1, HealTime: 20 * day, ZoneFailures: 0.5},
		"slow and plain": {Scheme: layout.Scheme{Data: 1, Parity: 1}, DriveFailures: 1, HealTime: 300 * day},
	} {
		r := rand.New(rand.NewPCG(1, 2)) // the same lives each time
		sum := 0.0
		for range lives {
			sum += simulate(r, in)
		}
		near(t, name+": years of a group", compute(t, in).GroupYears, sum/lives, 4/math.Sqrt(lives))
	}
}

// Less of what is bad is never worse.
func TestEveryInputCounts(t *testing.T) {
	base := Input{
		Scheme: layout.Scheme{Data: 4, Parity: 2}, Groups: 60, Zones: 3, DriveFailures: 0.02, HealTime: day, ZoneFailures: 1e-3,
		Damage: 1e-5, ScrubAge: 7 * day, Chunks: 1e4,
	}
	worst := compute(t, base).PerYear
	for name, better := range map[string]func(*Input){
		"parity": func(in *Input) { in.Scheme.Parity++ }, "groups": func(in *Input) { in.Groups /= 2 }, "zones": func(in *Input) { in.Zones = 6 },
		"drives": func(in *Input) { in.DriveFailures /= 2 }, "heal": func(in *Input) { in.HealTime /= 2 }, "zone": func(in *Input) { in.ZoneFailures = 0 },
		"damage": func(in *Input) { in.Damage /= 2 }, "scrub": func(in *Input) { in.ScrubAge /= 2 }, "chunks": func(in *Input) { in.Chunks /= 2 },
	} {
		in := base
		better(&in)
		if got := compute(t, in).PerYear; got >= worst {
			t.Errorf("better %s: %g, was %g", name, got, worst)
		}
	}
	for _, bad := range []func(*Input){
		func(in *Input) { in.HealTime = 0 }, func(in *Input) { in.Damage = math.NaN() }, func(in *Input) { in.Scheme.Parity = 0 }, func(in *Input) { in.Groups = -1 },
	} {
		in := base
		bad(&in)
		if _, err := Compute(in); err == nil {
			t.Errorf("%+v is taken", in)
		}
	}
}
