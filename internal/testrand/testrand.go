// Package testrand gives randomized tests a generator whose seed is logged and
// taken back with -seed. Only tests import it.
package testrand

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of randomized tests; 0 picks one")

// New returns a generator and logs how to get the same one again.
func New(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(Seed(t), 0))
}

// Seed returns the seed itself, for tests that make generators of their own.
func Seed(t testing.TB) uint64 {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with -seed=%d", s)
	return s
}
