package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node/admin"
)

// A drive that was drained may be destroyed at the moment when the cluster says
// that nothing is on it that is needed, and two more nodes lost once it says so.
func TestDrainedDriveMayBeDestroyed(t *testing.T) {
	rnd := testrand.New(t)
	c := startSpare(t, time.Hour) // nothing is done because of absence
	objects := fill(t, c)
	voters, other := threeVoters(c, rnd)
	drained, more := voters[0], voters[1:]
	look := func() admin.Store { return nodeNamed(c, other, drained).Stores[0] }
	store := look()
	d := admin.StoreDecision{Store: store.ID, Duty: "draining", Reason: "test", DryRun: true}
	plan, err := adminOf(c, more[0]).DecideStore(t.Context(), d)
	if err != nil || plan.Done || plan.Problem != "" || plan.Slots != store.Slots || plan.Bytes == 0 || plan.Targets != 6 {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	d.DryRun = false
	plan, err = adminOf(c, more[0]).DecideStore(t.Context(), d)
	c.Must(err)
	if !plan.Done {
		t.Fatalf("plan %+v", plan)
	}
	c.Eventually("the store is drained", func() bool { store = look(); return store.Slots+store.Leaving == 0 })
	l, err := adminOf(c, other).Events(t.Context(), 100)
	says := fmt.Sprintf("draining: %d slots to ", plan.Slots)
	if err != nil || !slices.ContainsFunc(l.Events, func(e admin.Event) bool {
		return e.Kind == metadata.EventSlotsMove && e.Store != nil && *e.Store == store.ID && strings.HasPrefix(e.Reason, says)
	}) {
		t.Errorf("no event says %q: %+v, %v", says, l.Events, err)
	}
	dir := c.Dir(drained)
	c.Must(c.Kill(drained))
	c.Must(os.RemoveAll(dir))
	left := others(7, drained)
	for key, want := range objects {
		awaitExact(t, c, rnd, left[rnd.IntN(len(left))], key, want)
	}
	// A chunk that came too late for its PUT may still be missing, and the vote
	// of the node may still be its own.
	waitUntilWhole(c, other, objects)
	awaitTwoMayGo(c, other, more)
	for _, i := range more {
		c.Must(c.Kill(i))
	}
	left = others(7, voters...)
	for key, want := range objects {
		awaitExact(t, c, rnd, left[rnd.IntN(len(left))], key, want)
	}
}
