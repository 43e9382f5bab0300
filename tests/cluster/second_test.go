package cluster

import (
	"bytes"
	"flag"
	"fmt"
	"testing"
	"time"

	"partstore/internal/testcluster"
	"partstore/internal/testrand"
	"partstore/metadata"
	"partstore/node"
)

var healParts = flag.Int("heal.parts", 200, "parts of TestASecondLossDuringTheHeal")

// A node that is lost for good while the chunks of another are being made anew
// costs nothing either: every read is exact meanwhile, and when the cluster calls
// itself whole, every part is, and two more nodes may go.
func TestASecondLossDuringTheHeal(t *testing.T) {
	rnd := testrand.New(t)
	c := testcluster.Start(t, 8, scheme, func(cfg *node.Config) {
		cfg.OutGrace, cfg.HealInterval, cfg.GCGrace = time.Second, 300*time.Millisecond, 100*time.Millisecond
	})
	c.Must(c.Client(1).CreateBucket(t.Context(), bucket), "create bucket")
	objects := map[string][]byte{}
	for i := range *healParts {
		key, body := fmt.Sprint("part-", i), payload(uint64(i), 100_000+rnd.IntN(100_000))
		c.Must(c.Client(1+i%8).PutObject(t.Context(), bucket, key, bytes.NewReader(body), int64(len(body))), key)
		objects[key] = body
	}
	waitUntilWhole(c, 1, objects) // each part may lose two chunks from here on
	order := rnd.Perm(8)
	first, second, other := order[0]+1, order[1]+1, order[2]+1
	const slow = 512 << 10 // bytes a second on each node: the second loss comes before the end
	c.Must(adminOf(c, other).ChangeRepair(t.Context(), metadata.RepairThrottle, slow))
	before := rebuilt(c, other)
	c.Must(c.Kill(first))
	c.Await("the heal is under way", func() error {
		s, err := adminOf(c, other).Status(t.Context())
		if n := rebuilt(c, other) - before; err == nil && (n <= 0 || s.Groups.Moving == 0) {
			err = fmt.Errorf("%d chunks rebuilt, %d slots are moving", n, s.Groups.Moving)
		}
		return err
	})
	c.Must(c.Kill(second))
	for key, want := range objects {
		awaitExact(t, c, rnd, other, key, want)
	}
	c.Await("the throttle is off", func() error { return adminOf(c, other).ChangeRepair(t.Context(), metadata.RepairThrottle, 0) })
	c.Await("the cluster is whole again", func() error {
		s, ok := saysOK(c, other)
		if !ok || s.Nodes.Retired != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	for key := range objects { // at this very moment, not some time later
		c.Must(whole(c, other, key), "health was ok")
	}
	more := []int{order[3] + 1, order[4] + 1}
	awaitTwoMayGo(c, other, more)
	for _, i := range more {
		c.Must(c.Kill(i))
	}
	for key, want := range objects {
		awaitExact(t, c, rnd, []int{other, order[5] + 1, order[6] + 1, order[7] + 1}[rnd.IntN(4)], key, want)
	}
}
