package main

import "testing"

// A mutant that no longer fits the code proves nothing.
func TestEveryMutantFits(t *testing.T) {
	for _, m := range mutants {
		if _, err := m.plant("../../metadata"); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
