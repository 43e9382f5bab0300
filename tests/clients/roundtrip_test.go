package clients

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/qingstor/qingstor-sdk-go/v4/service"

	"partstore/tests/clients/devcluster"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the round trip; 0 picks one")
	partsFlag = flag.Int("parts", 0, "parts of the round trip; 0 for 10000, or 200 with -short")
	partdFlag = flag.String("partd", "", "the partd program; empty builds it")
)

const (
	workers   = 4
	blockSize = 64 << 10 // of a shard
	stripe    = 4 * blockSize
	minPart   = 4 << 20 // of a part that is not the last one of its object
	bucket    = "round-trip"
)

// startCluster builds partd unless it was given, and runs six nodes.
func startCluster(t *testing.T) *devcluster.Cluster {
	t.Helper()
	partd := *partdFlag
	if partd == "" {
		partd = filepath.Join(t.TempDir(), "partd")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", partd, "./cmd/partd")
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build partd: %v\n%s", err, out)
		}
	}
	c, err := devcluster.Start(context.WithoutCancel(t.Context()), partd, "--nodes", "6", "--scheme", "4+2", "--data", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Parts of every size go in through random nodes with the official client. Every
// object is read whole and by random ranges through other nodes.
func TestEveryPartComesBackByteExact(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed=%d", seed)
	c := startCluster(t)
	trip := &roundTrip{seed: seed}
	for _, n := range c.Nodes {
		b, err := c.Bucket(n, bucket)
		if err != nil {
			t.Fatal(err)
		}
		trip.nodes = append(trip.nodes, b)
	}
	if err := devcluster.CreateBucket(trip.nodes[0]); err != nil {
		t.Fatal(err)
	}
	trip.left.Store(int64(partCount()))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for trip.left.Load() > 0 && !t.Failed() {
				if err := trip.oneObject(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d objects, %d parts, %d bytes", trip.serial.Load(), trip.parts.Load(), trip.bytes.Load())
}

func partCount() int {
	switch {
	case *partsFlag > 0:
		return *partsFlag
	case testing.Short():
		return 200
	}
	return 10_000
}

// roundTrip is the shared state of the workers.
type roundTrip struct {
	seed                       uint64
	nodes                      []*service.Bucket
	serial, left, parts, bytes atomic.Int64
}

// oneObject uploads an object, reads it back and deletes it. All choices follow
// from the seed and the object's number.
func (r *roundTrip) oneObject(ctx context.Context) error {
	n := r.serial.Add(1)
	rng := rand.New(rand.NewPCG(r.seed, uint64(n)))
	key := fmt.Sprintf("object-%d", n)
	payload, err := r.upload(ctx, rng, key)
	if err == nil {
		err = r.readBack(ctx, rng, key, payload)
	}
	if err == nil {
		_, err = r.any(rng).DeleteObjectWithContext(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func (r *roundTrip) any(rng *rand.Rand) *service.Bucket { return r.nodes[rng.IntN(len(r.nodes))] }

// upload sends the parts of one object and returns its payload. Part numbers
// ascend with gaps; some parts are sent twice, with other bytes the first time.
func (r *roundTrip) upload(ctx context.Context, rng *rand.Rand, key string) (payload []byte, err error) {
	out, err := r.any(rng).InitiateMultipartUploadWithContext(ctx, key, nil)
	if err != nil {
		return nil, fmt.Errorf("initiate: %w", err)
	}
	var listed []*service.ObjectPartType
	number := rng.IntN(2)
	for _, size := range partSizes(rng) {
		body := randomBytes(rng, size)
		if rng.IntN(8) == 0 {
			if err := r.putPart(ctx, rng, key, out.UploadID, number, randomBytes(rng, rng.IntN(stripe))); err != nil {
				return nil, err
			}
		}
		if err := r.putPart(ctx, rng, key, out.UploadID, number, body); err != nil {
			return nil, err
		}
		listed = append(listed, &service.ObjectPartType{PartNumber: service.Int(number)})
		payload = append(payload, body...)
		number += 1 + rng.IntN(4)
	}
	_, err = r.any(rng).CompleteMultipartUploadWithContext(ctx, key, &service.CompleteMultipartUploadInput{UploadID: out.UploadID, ObjectParts: listed})
	if err != nil {
		return nil, fmt.Errorf("complete: %w", err)
	}
	return payload, nil
}

func (r *roundTrip) putPart(ctx context.Context, rng *rand.Rand, key string, upload *string, number int, body []byte) error {
	size := int64(len(body))
	_, err := r.any(rng).UploadMultipartWithContext(ctx, key, &service.UploadMultipartInput{
		UploadID: upload, PartNumber: &number, ContentLength: &size, Body: bytes.NewReader(body),
	})
	if err != nil {
		return fmt.Errorf("part %d of %d bytes: %w", number, size, err)
	}
	r.left.Add(-1)
	r.parts.Add(1)
	r.bytes.Add(size)
	return nil
}

// partSizes draws the sizes of an object's parts. Mostly it is one part: only
// the last one may be small, and the small ones have the interesting sizes.
func partSizes(rng *rand.Rand) (sizes []int) {
	switch rng.IntN(100) {
	case 0:
		sizes = append(sizes, 64<<20)
	case 1, 2, 3, 4:
		for range 1 + rng.IntN(3) {
			sizes = append(sizes, 5<<20)
		}
	case 5, 6:
		sizes = append(sizes, minPart+rng.IntN(stripe))
	}
	return append(sizes, smallSize(rng))
}

// smallSize draws a size at or near a boundary: of the part, the block, the
// stripe, or what the server looks at before it chooses a scheme.
func smallSize(rng *rand.Rand) int {
	at := []int{0, 1, 4, blockSize, 2 * blockSize, 3 * blockSize, stripe, stripe + blockSize, 2 * stripe, 3 * stripe, 4 * stripe}
	return max(0, at[rng.IntN(len(at))]+rng.IntN(3)-1)
}

// readBack reads the object whole and by ranges, each through a random node.
func (r *roundTrip) readBack(ctx context.Context, rng *rand.Rand, key string, payload []byte) error {
	if err := r.read(ctx, rng, key, nil, payload); err != nil {
		return err
	}
	for range 3 {
		if len(payload) == 0 {
			break
		}
		from := rng.IntN(len(payload))
		to := from + rng.IntN(min(len(payload)-from, 4*stripe))
		header := fmt.Sprintf("bytes=%d-%d", from, to)
		if err := r.read(ctx, rng, key, &header, payload[from:to+1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *roundTrip) read(ctx context.Context, rng *rand.Rand, key string, byteRange *string, want []byte) error {
	what := "read " + service.StringValue(byteRange)
	out, err := r.any(rng).GetObjectWithContext(ctx, key, &service.GetObjectInput{Range: byteRange})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	got, err := io.ReadAll(out.Body)
	switch err = errors.Join(err, out.Body.Close()); {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case !bytes.Equal(got, want):
		return fmt.Errorf("%s: %d bytes that differ from the %d bytes stored", what, len(got), len(want))
	}
	return nil
}

func randomBytes(rng *rand.Rand, n int) []byte {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rng.Uint32())
	}
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}
