package metadata

import (
	"slices"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/testrand"
)

// recorded has chunks recorded and returns of which the records say so.
func (b *bench) recorded(chunks ...DurableChunk) (recorded []bool) {
	b.t.Helper()
	payload := b.must(&recordDurable{chunks}).payload
	err := decodeValue(payload, func(c *coder) {
		codeList(c, &recorded, MaxDurableChunks, func(b *bool, c *coder) { c.bool(b) })
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return recorded
}

func (b *bench) durable(ref UploadRef, n layout.PartNumber) uint32 {
	b.t.Helper()
	var p Part
	if err := find(b.db, partKey(ref.ID, n), p.code, ErrPartNotFound); err != nil {
		b.t.Fatal(err)
	}
	return p.Layout.Durable
}

// A record gains a chunk only if it is still the record that was healed, and
// everything else about it stays.
func TestRecordGainsTheChunkThatWasHealed(t *testing.T) {
	b := newStockedBench(t)
	ref := b.open(1, "k")
	p := testPart(0, MinPartSize, b.attempt(1))
	p.Layout.Durable = 0b011111
	b.must(commitOf(ref, p))
	epoch := b.groups[p.Layout.Group].Epoch
	chunk := func(change func(*DurableChunk)) DurableChunk {
		d := DurableChunk{PartRef: PartRef{Upload: ref.ID, Number: 0, Attempt: p.Layout.Attempt}, Epoch: epoch, Index: 5}
		change(&d)
		return d
	}
	got := b.recorded(
		chunk(func(d *DurableChunk) { d.Attempt = b.attempt(2) }),
		chunk(func(d *DurableChunk) { d.Epoch++ }),
		chunk(func(d *DurableChunk) { d.Index = 6 }),
		chunk(func(d *DurableChunk) { d.Number = 1 }),
		chunk(func(d *DurableChunk) { d.Upload = testUpload(9) }),
	)
	if slices.Contains(got, true) || b.durable(ref, 0) != 0b011111 {
		t.Fatalf("recorded %v: %06b", got, b.durable(ref, 0))
	}
	for range 2 {
		if got := b.recorded(chunk(func(*DurableChunk) {})); !got[0] || b.durable(ref, 0) != 0b111111 {
			t.Fatalf("recorded %v: %06b", got, b.durable(ref, 0))
		}
	}
	b.must(commitOf(ref, p)) // a repeat that comes late takes nothing back
	if b.durable(ref, 0) != 0b111111 {
		t.Error("a repeated commit took a healed chunk off the record")
	}
}

func TestAllPartsAreListedOnce(t *testing.T) {
	b := newVariedBench(t)
	want := b.rows(rowPart)
	for _, limit := range []int{1, 2, 100} {
		seen := map[PartRef]bool{}
		var last *OwnedPart
		for {
			page, err := allParts(b.db, last, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("%d rows, %v", len(page), err)
			}
			if len(page) == 0 {
				break
			}
			for _, p := range page {
				seen[PartRef{p.Upload, p.Number, p.Layout.Attempt}] = true
			}
			last = &page[len(page)-1]
		}
		if len(seen) != want {
			t.Errorf("%d parts by %d, want %d", len(seen), limit, want)
		}
	}
}

// Healing while everything else goes on changes no answer of the state machine,
// and nothing but which chunks are durable.
func TestHealingMinglesWithEverythingElse(t *testing.T) {
	r := testrand.New(t)
	plain, healed := newStockedBench(t), newStockedBench(t)
	g := &generator{Rand: r}
	for step := range 2000 {
		cmd := g.command()
		want := plain.apply(cmd)[0]
		if got := healed.apply(cmd)[0]; got.code != want.code {
			t.Fatalf("step %d: %T = %v, want %v", step, cmd, got.err(), want.err())
		}
		if c, ok := cmd.(*commitPart); ok {
			healed.recorded(DurableChunk{
				PartRef: PartRef{Upload: c.Upload, Number: c.Part.Number, Attempt: c.Part.Layout.Attempt},
				Epoch:   1, Index: uint8(r.IntN(7)),
			})
		}
	}
	if report, err := verify(backupOf(t, healed)); err != nil || len(report.Problems) > 0 {
		t.Errorf("a backup has problems: %v, %v", report.Problems, err)
	}
	if plain.rows(rowPart) != healed.rows(rowPart) || plain.rows(rowGarbage) != healed.rows(rowGarbage) {
		t.Error("healing changed which parts there are")
	}
}
