package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	randv2 "math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/qingstor/qingstor-sdk-go/v4/service"

	"partstore/tests/clients/devcluster"
)

const (
	nodes      = 6
	scheme     = "4+2"
	partSize   = 8 << 20
	maxParts   = 10_000
	bucketName = "demo-bucket"
	key        = "demo-object"
)

// show is the state the steps of the demo hand on.
type show struct {
	*story
	source  *source
	sum     [sha256.Size]byte
	cluster *devcluster.Cluster
	buckets []*service.Bucket // through each node; nil once it is stopped
	upload  string
	parts   []*service.ObjectPartType
}

// demo tells the whole story.
func demo(ctx context.Context, opts options, s *story) (err error) {
	src, err := openSource(opts.file)
	if err != nil {
		return err
	}
	defer src.close()
	dir, err := os.MkdirTemp("", "partstore-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if opts.keep {
			s.say("The cluster's data is in %s; start it again with: partd dev --data %s", dir, dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	s.say("Partstore: %d nodes, scheme %s, %s of %d bytes in parts of %d MiB", nodes, scheme, src.name, src.size, partSizeOf(src.size)>>20)
	d := &show{story: s, source: src}
	defer func() {
		if d.cluster != nil {
			err = errors.Join(err, d.cluster.Close())
		}
	}()
	return d.run(ctx, opts, dir)
}

// run goes through the steps; the first that fails ends the story.
func (d *show) run(ctx context.Context, opts options, dir string) error {
	if err := d.do("Start the cluster", 0, func(io.Writer) (string, error) { return d.start(ctx, opts.partd, dir) }); err != nil {
		return err
	}
	steps := []struct {
		title string
		size  int64
		f     func(ctx context.Context, progress io.Writer) (string, error)
	}{
		{"Compute the SHA-256 of the original", d.source.size, d.digest},
		{"Make a bucket and open an upload", 0, d.open},
		{"Upload the parts, each through the next node", d.source.size, d.put},
		{"List the parts through another node", 0, d.list},
		{"Complete the upload", 0, d.complete},
		{"Stop two of the six nodes", 0, d.stopTwo},
		{"Read the object through each remaining node", d.source.size * (nodes - 2), d.readBack},
		{"Ask each remaining node for an unknown upload", 0, d.askUnknown},
	}
	for _, step := range steps {
		if err := d.do(step.title, step.size, func(w io.Writer) (string, error) { return step.f(ctx, w) }); err != nil {
			return err
		}
	}
	d.say("Every byte came back through every node that was left.")
	return nil
}

func (d *show) start(ctx context.Context, partd, dir string) (_ string, err error) {
	d.cluster, err = devcluster.Start(ctx, partd, "--nodes", fmt.Sprint(nodes), "--scheme", scheme, "--data", dir)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, n := range d.cluster.Nodes {
		b, err := d.cluster.Bucket(n, bucketName)
		if err != nil {
			return "", err
		}
		d.buckets = append(d.buckets, b)
		lines = append(lines, fmt.Sprintf("%s  %s", n.Name, n.Endpoint))
	}
	if len(lines) != nodes {
		return "", fmt.Errorf("%d nodes came up, expected %d", len(lines), nodes)
	}
	return strings.Join(lines, "\n"), nil
}

func (d *show) digest(_ context.Context, progress io.Writer) (_ string, err error) {
	d.sum, err = d.source.sum(progress)
	return hex.EncodeToString(d.sum[:]), err
}

func (d *show) open(ctx context.Context, _ io.Writer) (string, error) {
	if err := devcluster.CreateBucket(d.buckets[0]); err != nil {
		return "", err
	}
	out, err := d.buckets[1].InitiateMultipartUploadWithContext(ctx, key, nil)
	if err != nil {
		return "", err
	}
	d.upload = service.StringValue(out.UploadID)
	return "upload_id " + d.upload, nil
}

// list shows the parts and holds them against the source.
func (d *show) list(ctx context.Context, _ io.Writer) (string, error) {
	for {
		in := &service.ListMultipartInput{UploadID: &d.upload, Limit: service.Int(1000)}
		if n := len(d.parts); n > 0 {
			in.PartNumberMarker = d.parts[n-1].PartNumber
		}
		out, err := d.buckets[nodes-1].ListMultipartWithContext(ctx, key, in)
		if err != nil {
			return "", err
		}
		d.parts = append(d.parts, out.ObjectParts...)
		if len(out.ObjectParts) < 1000 {
			break
		}
	}
	var size int64
	for _, p := range d.parts {
		size += service.Int64Value(p.Size)
	}
	summary := fmt.Sprintf("%d parts, %d bytes", len(d.parts), size)
	if want := len(d.ranges()); len(d.parts) != want || size != d.source.size {
		return summary, fmt.Errorf("listed %s, uploaded %d parts, %d bytes", summary, want, d.source.size)
	}
	return summary, nil
}

func (d *show) complete(ctx context.Context, _ io.Writer) (string, error) {
	_, err := d.buckets[2].CompleteMultipartUploadWithContext(ctx, key, &service.CompleteMultipartUploadInput{UploadID: &d.upload, ObjectParts: d.parts})
	return "", err
}

// stopTwo stops any two nodes.
func (d *show) stopTwo(context.Context, io.Writer) (string, error) {
	victims := randv2.Perm(nodes)[:2]
	slices.Sort(victims)
	var names []string
	for _, i := range victims {
		if err := d.cluster.Stop(d.cluster.Nodes[i].Number); err != nil {
			return "", err
		}
		d.buckets[i] = nil
		names = append(names, d.cluster.Nodes[i].Name)
	}
	return strings.Join(names, " and ") + " are gone", nil
}

func (d *show) readBack(ctx context.Context, progress io.Writer) (string, error) {
	var lines []string
	for i, b := range d.buckets {
		if b == nil {
			continue
		}
		sum, err := readSum(ctx, b, progress)
		if err == nil && sum != d.sum {
			err = fmt.Errorf("SHA-256 is %x, should be %x", sum, d.sum)
		}
		if err != nil {
			return strings.Join(lines, "\n"), fmt.Errorf("read through %s: %w", d.cluster.Nodes[i].Name, err)
		}
		lines = append(lines, d.cluster.Nodes[i].Name+"  same SHA-256")
	}
	return strings.Join(lines, "\n"), nil
}

func readSum(ctx context.Context, b *service.Bucket, progress io.Writer) (sum [sha256.Size]byte, err error) {
	out, err := b.GetObjectWithContext(ctx, key, nil)
	if err != nil {
		return sum, err
	}
	defer out.Body.Close()
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(h, progress), out.Body)
	return [sha256.Size]byte(h.Sum(nil)), err
}

func (d *show) askUnknown(ctx context.Context, _ io.Writer) (string, error) {
	var unknown [16]byte
	rand.Read(unknown[2:]) // the first two bytes name the registry shard
	id := hex.EncodeToString(unknown[:])
	lines := []string{"upload_id " + id}
	for i, b := range d.buckets {
		if b == nil {
			continue
		}
		_, err := b.ListMultipartWithContext(ctx, key, &service.ListMultipartInput{UploadID: &id})
		if err == nil {
			err = errors.New("it was found")
		}
		if devcluster.StatusOf(err) != http.StatusNotFound {
			return strings.Join(lines, "\n"), fmt.Errorf("%s, asked for an unknown upload: %w", d.cluster.Nodes[i].Name, err)
		}
		lines = append(lines, fmt.Sprintf("%s  404 %s", d.cluster.Nodes[i].Name, devcluster.CodeOf(err)))
	}
	return strings.Join(lines, "\n"), nil
}
