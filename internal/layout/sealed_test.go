package layout

import "testing"

func TestSealedSize(t *testing.T) {
	for payload, want := range map[int64]int64{
		0: 0, 1: 17, SealedBlock: SealedBlock + 16, SealedBlock + 1: SealedBlock + 33, 5 << 30: 5<<30 + 16*(5<<30/SealedBlock),
	} {
		if got := SealedSize(payload); got != want {
			t.Errorf("SealedSize(%d) = %d, want %d", payload, got, want)
		}
	}
}
