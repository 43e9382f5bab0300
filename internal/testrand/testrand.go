// Package testrand gives randomized tests a generator whose seed is logged and
// taken back with -seed, or for the tests of many packages with TEST_SEED in the
// environment. Only tests import it.
package testrand

import (
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of randomized tests; 0 takes TEST_SEED, and if that is 0 or not set picks one")

// New returns a generator and logs how to get the same one again.
func New(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(Seed(t), 0))
}

// Seed returns the seed itself, for tests that make generators of their own.
func Seed(t testing.TB) uint64 {
	t.Helper()
	s := *seed
	if env := os.Getenv("TEST_SEED"); s == 0 && env != "" {
		var err error
		if s, err = strconv.ParseUint(env, 10, 64); err != nil {
			t.Fatal("TEST_SEED:", err)
		}
	}
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with -seed=%d", s)
	return s
}
