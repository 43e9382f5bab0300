// Package cluster tests the whole system in one process: real nodes, real
// disks, real sockets, a network that can be cut.
package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"partstore/internal/layout"
	"partstore/internal/qsclient"
	"partstore/internal/testcluster"
	"partstore/node"
	"partstore/node/admin"
)

const bucket = "test-bucket"

var (
	scheme      = layout.Scheme{Data: 4, Parity: 2}
	smallScheme = layout.Scheme{Data: 2, Parity: 1}
)

// start starts six nodes with a bucket.
func start(t *testing.T, configure ...func(*node.Config)) *testcluster.Cluster {
	t.Helper()
	c := testcluster.Start(t, 6, scheme, configure...)
	c.Must(c.Client(1).CreateBucket(t.Context(), bucket), "create bucket")
	return c
}

// checkedConn is a connection to a peer. What is written to it must pass a check.
type checkedConn struct {
	net.Conn
	check func(b []byte) error
}

func (c checkedConn) Write(b []byte) (int, error) {
	if err := c.check(b); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// checkWrites has all that a node writes to a peer pass a check, made for each
// connection of the peer's address.
func checkWrites(cfg *node.Config, check func(addr string) func(b []byte) error) {
	dial := cfg.DialPeer
	cfg.DialPeer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return checkedConn{conn, check(addr)}, nil
	}
}

// payload returns n bytes that a seed determines.
func payload(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)}).Read(b) // never fails
	return b
}

// upload stores an object of the given parts, each through another node of
// those given, and returns its bytes.
func upload(ctx context.Context, c *testcluster.Cluster, nodes []int, key string, seed uint64, sizes ...int) ([]byte, error) {
	at := func(i int) *qsclient.Client { return c.Client(nodes[i%len(nodes)]) }
	id, err := at(0).Initiate(ctx, bucket, key)
	if err != nil {
		return nil, fmt.Errorf("initiate: %w", err)
	}
	var whole []byte
	var parts []qsclient.Part
	for i, size := range sizes {
		body := payload(seed+uint64(i), size)
		etag, err := at(i+1).PutPart(ctx, bucket, key, id, i, bytes.NewReader(body), int64(size))
		if err != nil {
			return nil, fmt.Errorf("part %d of %d bytes: %w", i, size, err)
		}
		parts = append(parts, qsclient.Part{Number: i, ETag: etag})
		whole = append(whole, body...)
	}
	return whole, at(len(sizes)+1).Complete(ctx, bucket, key, id, parts)
}

// read returns an object, or the part of it that arrived with the error.
func read(ctx context.Context, client *qsclient.Client, key, byteRange string) ([]byte, error) {
	r, err := client.GetObject(ctx, bucket, key, byteRange)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// uploadWhole is upload until no chunk of the object is missing. A PUT is
// acknowledged by a write quorum: a chunk that comes too late is healed some time
// later, so the object survives the loss of any two nodes only then.
func uploadWhole(t *testing.T, c *testcluster.Cluster, nodes []int, key string, seed uint64, sizes ...int) (body []byte) {
	t.Helper()
	c.Await(key+" is whole", func() error {
		var err error
		body, err = upload(t.Context(), c, nodes, key, seed, sizes...)
		c.Must(err, key)
		return whole(c, nodes[0], key)
	})
	return body
}

// whole returns nil if every chunk of an object is there and verified.
func whole(c *testcluster.Cluster, through int, key string) error {
	report, err := adminOf(c, through).InspectObject(c.T.Context(), bucket, key)
	if err == nil && report.State != admin.PartWhole {
		err = fmt.Errorf("%s is %s: %+v", key, report.State, report.Parts)
	}
	return err
}

// checkExact reads an object whole and by a random range and compares.
func checkExact(t *testing.T, c *testcluster.Cluster, rnd *rand.Rand, node int, key string, want []byte) {
	t.Helper()
	got, err := read(t.Context(), c.Client(node), key, "")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s through node %d: %d bytes, want %d, equal %t: %v\n%s", key, node, len(got), len(want), bytes.Equal(got, want), err, c.Describe())
	}
	if len(want) == 0 {
		return
	}
	from := rnd.IntN(len(want))
	to := from + rnd.IntN(len(want)-from)
	got, err = read(t.Context(), c.Client(node), key, fmt.Sprintf("bytes=%d-%d", from, to))
	if err != nil || !bytes.Equal(got, want[from:to+1]) {
		t.Fatalf("%s bytes %d-%d through node %d: %d bytes: %v\n%s", key, from, to, node, len(got), err, c.Describe())
	}
}

// others are the nodes 1 to n without some.
func others(n int, without ...int) (nodes []int) {
	for i := 1; i <= n; i++ {
		skip := false
		for _, w := range without {
			skip = skip || w == i
		}
		if !skip {
			nodes = append(nodes, i)
		}
	}
	return nodes
}
