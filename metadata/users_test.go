package metadata

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// What lets somebody in is confirmed once per RightsAge: a node that cannot ask
// the others any more goes on for that long and then answers nobody.
func TestRightsAreYoung(t *testing.T) {
	var elapsed atomic.Int64 // all nodes' monotonic clock
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.elapsed = func() time.Duration { return time.Duration(elapsed.Load()) }
	})
	stock(t, c.nodes[0])
	leader, node := c.leader(), c.follower()
	ctx := t.Context()
	key := AccessKey{ID: "K", User: "usr-1", Created: time.Unix(1, 0).UTC(), Sealed: []byte("sealed")}
	for _, err := range []error{
		leader.CreateUser(ctx, User{ID: "usr-1"}), leader.CreateKey(ctx, key),
		leader.ChangeSetting(ctx, "b", SettingACL, []byte("all")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func(when string) (rights BucketRights, k AccessKey) {
		t.Helper()
		rights, err1 := node.BucketRights(ctx, "b")
		k, err2 := node.Key(ctx, "K")
		bucket, err3 := node.DomainBucket(ctx, "a.example")
		if err := errors.Join(err1, err2, err3); err != nil || string(rights.ACL) != "all" || string(k.Sealed) != "sealed" || bucket != "" {
			t.Fatalf("%s: %+v, %+v, %q, %v", when, rights, k, bucket, err)
		}
		return rights, k
	}
	_, was := look("at first")
	disabled := was
	disabled.Disabled = true
	if err := leader.ChangeKey(ctx, was, disabled); err != nil {
		t.Fatal(err)
	}
	if err := leader.ChangeKey(ctx, was, disabled); !errors.Is(err, ErrKeyChanged) {
		t.Errorf("a second change of what it was = %v, want ErrKeyChanged", err)
	}
	elapsed.Add(int64(RightsAge + 1))
	if _, k := look("after RightsAge"); !k.Disabled {
		t.Error("a disabled key counts for longer than RightsAge")
	}

	c.net.isolate(node.id, cutAll)
	defer c.net.isolate(node.id, cutNothing)
	look("cut off")
	elapsed.Add(int64(RightsAge + 1))
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := node.BucketRights(short, "b"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("BucketRights, cut off for longer than RightsAge = %v, want ErrUnavailable", err)
	}
	if _, err := node.Key(short, "K"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Key, cut off for longer than RightsAge = %v, want ErrUnavailable", err)
	}
	if _, err := node.Key(short, "unknown"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Key of an unknown key, cut off = %v, want ErrUnavailable", err)
	}
}

// A bucket that ends takes its settings and domains along, so that the next
// owner of the name does not find them.
func TestSettingsEndWithTheirBucket(t *testing.T) {
	b := newStockedBench(t)
	b.must(&changeSetting{Request: testRequest(10), Bucket: "b", Setting: SettingPolicy, Document: []byte("x")})
	b.must(&bindDomain{Request: testRequest(11), Domain: Domain{Name: "a.example", Bucket: "b"}})
	b.must(&deleteBucket{Request: testRequest(12), Name: "b"})
	for _, key := range [][]byte{settingKey("b", SettingPolicy), domainKey("a.example")} {
		if found, err := getRow(b.db, key, nil); found || err != nil {
			t.Errorf("row %q outlives its bucket (%v)", key, err)
		}
	}
}

func TestDomainsOfOneBucketAreBounded(t *testing.T) {
	b := newStockedBench(t)
	bind := func(n int) result {
		name := string([]byte{'a' + byte(n/26), 'a' + byte(n%26)})
		return b.apply(&bindDomain{Request: testRequest(uint64(1000 + n)), Domain: Domain{Name: name, Bucket: "b"}})[0]
	}
	for n := range maxDomains {
		if err := bind(n).err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := bind(maxDomains).err(); !errors.Is(err, ErrTooManyDomains) {
		t.Errorf("one domain too many = %v", err)
	}
}

// A sealed part is longer in its chunks than its payload, by as much as sealing
// adds and no other size.
func TestSealedParts(t *testing.T) {
	b := newStockedBench(t)
	for n, tc := range []struct {
		payload, stored int64
		want            error
	}{
		{100, 100, nil}, {100, 116, nil}, {5 << 20, 5<<20 + 80*16, nil},
		{100, 115, ErrInvalid}, {100, 132, ErrInvalid}, {116, 100, ErrInvalid}, {5 << 20, 5<<20 + 79*16, ErrInvalid},
	} {
		p := testPart(0, tc.stored, b.attempt(uint64(n+1)))
		p.Size, p.Salt = tc.payload, Salt{byte(n), 31: 1}
		if tc.payload == tc.stored {
			p.Salt = Salt{}
		}
		id := testUpload(uint64(500 + n))
		got := b.apply(&putObject{PutObject{Bucket: "b", Key: "k", ID: id, Part: p}})[0].err()
		if !errors.Is(got, tc.want) {
			t.Errorf("payload of %d stored as %d: %v, want %v", tc.payload, tc.stored, got, tc.want)
		}
		if tc.want != nil {
			continue
		}
		var kept Part
		if found, err := getRow(b.db, partKey(id, 0), kept.code); !found || err != nil || kept.Salt != p.Salt || kept.Size != p.Size || kept.Sealed() != (p.Salt != Salt{}) {
			t.Errorf("kept as %+v, %v", kept, err)
		}
	}
}
