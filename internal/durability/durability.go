// Package durability computes how likely a cluster is to lose data in a year.
// docs/durability.md has the model and its limits.
package durability

import (
	"errors"
	"fmt"
	"math"
	"time"

	"partstore/internal/layout"
)

// Input is what the loss depends on.
type Input struct {
	Scheme layout.Scheme
	Groups int // with that many data sets of k+m drives each
	Zones  int // that slots are spread over; 0 or 1: all in one

	DriveFailures float64       // of one drive in a year, for good
	HealTime      time.Duration // from the loss of a drive until its chunks are all somewhere else
	ZoneFailures  float64       // of one zone in a year, with all its drives

	Damage   float64       // share of the chunks that go bad unnoticed in a year
	ScrubAge time.Duration // how long ago the oldest chunk was read
	Chunks   float64       // in one slot of a group
}

// Loss is what follows.
type Loss struct {
	GroupYears float64 // mean time to data loss of one group, in years
	PerYear    float64 // probability that some group loses a part within a year, as if groups had no drive in common
	Damaged    float64 // probability that a slot has a chunk that is bad and nobody knows
}

const year = 365.25 * 24 * float64(time.Hour)

func (in Input) validate() error {
	if err := in.Scheme.Validate(); err != nil {
		return err
	}
	for _, v := range []float64{in.DriveFailures, in.ZoneFailures, in.Damage, in.Chunks} {
		if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%g is no rate", v)
		}
	}
	if in.Groups < 0 || in.Zones < 0 || in.HealTime <= 0 || in.ScrubAge < 0 {
		return errors.New("want a positive time to heal, and nothing negative")
	}
	return nil
}

// Compute returns the loss.
func Compute(in Input) (Loss, error) {
	if err := in.validate(); err != nil {
		return Loss{}, err
	}
	c := newChain(in)
	lossRate := c.lossRate() // of one group, in a year
	return Loss{
		GroupYears: 1 / lossRate,
		PerYear:    -math.Expm1(-lossRate * float64(in.Groups)),
		Damaged:    in.damaged(1),
	}, nil
}

// damaged is the probability that one of so many slots has a chunk that went
// bad since it was last read. Chunks were read half the scrub age ago on average, and go
// on ageing while the group is healed.
func (in Input) damaged(slots int) float64 {
	age := (float64(in.ScrubAge)/2 + float64(in.HealTime)) / year
	bad := -math.Expm1(-in.Damage * age) // of one chunk
	return -math.Expm1(float64(slots) * in.Chunks * math.Log1p(-min(bad, 1-1e-16)))
}

// chain is a Markov chain of one group: state j has lost j of its slots, and the
// last state is that of lost data.
type chain struct {
	rate [][]float64 // from, to; in a year
}

func newChain(in Input) chain {
	n, m := in.Scheme.Total(), int(in.Scheme.Parity)
	lost := m + 1
	c := chain{rate: make([][]float64, lost+1)}
	for j := range c.rate {
		c.rate[j] = make([]float64, lost+1)
	}
	zones := max(1, min(in.Zones, n))
	inZone := (n + zones - 1) / zones // of the slots, at most
	heal := year / float64(in.HealTime)
	for j := range lost {
		c.lose(j, j+1, float64(n-j)*in.DriveFailures, in)
		c.lose(j, j+inZone, float64(zones)*in.ZoneFailures, in)
		if j > 0 {
			c.rate[j][j-1] += float64(j) * heal // each by its own holder
		}
	}
	return c
}

// lose is a step up. One that leaves no margin loses data at once if a chunk of
// the slots that are left is bad and nobody knows.
func (c chain) lose(from, to int, rate float64, in Input) {
	lost := len(c.rate) - 1
	to = min(to, lost)
	if to != lost-1 {
		c.rate[from][to] += rate
		return
	}
	bad := in.damaged(int(in.Scheme.Data))
	c.rate[from][lost] += rate * bad
	c.rate[from][to] += rate * (1 - bad)
}

// lossRate is one over the mean time from state 0 to the last. The chain is
// started anew whenever it gets there: then that is how often it does. The
// elimination (Grassmann, Taksar, Heyman) subtracts nothing, so it is exact to the last
// digits however rare the loss is.
func (c chain) lossRate() float64 {
	lost := len(c.rate) - 1
	n := lost // states that are left
	a := make([][]float64, n)
	arrive := make([]float64, n) // from each into the lost state
	for i := range n {
		a[i] = append([]float64(nil), c.rate[i][:n]...)
		arrive[i] = c.rate[i][lost]
		a[i][0] += arrive[i]
	}
	for k := n - 1; k > 0; k-- {
		out := 0.0
		for j := range k {
			out += a[k][j]
		}
		for i := range k {
			a[i][k] /= out
			for j := range k {
				if i != j {
					a[i][j] += a[i][k] * a[k][j]
				}
			}
		}
	}
	weight := make([]float64, n) // of each state, by the time spent there
	weight[0] = 1
	sum, flow := 1.0, arrive[0]
	for k := 1; k < n; k++ {
		for i := range k {
			weight[k] += weight[i] * a[i][k]
		}
		sum += weight[k]
		flow += weight[k] * arrive[k]
	}
	return flow / sum
}
