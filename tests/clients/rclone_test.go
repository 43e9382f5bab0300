package clients

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qingstor/qingstor-sdk-go/v4/service"

	"partstore/tests/clients/devcluster"
)

var filesFlag = flag.Int("files", 0, "files of rclone's tree; 0 for 2000, or 120 with -short")

// rcloneTimeout bounds one command, most of which take a second.
const rcloneTimeout = 10 * time.Minute

// rclone runs rclone against one cluster, each command through the next node.
type rclone struct {
	*testing.T
	program string
	cluster *devcluster.Cluster
	rng     *rand.Rand
	calls   int
}

func TestRclone(t *testing.T) {
	program := buildRclone(t)
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed=%d", seed)
	r := &rclone{T: t, program: program, cluster: startCluster(t), rng: rand.New(rand.NewPCG(seed, 0))}
	tree := r.TempDir()
	r.plant(tree)
	r.must("mkdir", "qs:rclone-tree")
	r.must("mkdir", "qs:rclone-tree") // again
	r.trees(tree)
	r.partSizes()
	r.cleanup()
	r.must("purge", "qs:rclone-tree")
	if _, err := r.run("lsf", "qs:rclone-tree"); err == nil {
		t.Error("the purged bucket is listed")
	}
}

// haveRclone skips the test where the sources of rclone cannot be had.
func haveRclone(t *testing.T) {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download")
	download.Dir = rcloneModule
	if out, err := download.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: the sources of rclone cannot be had here: %v\n%s", err, lastLines(string(out)))
	}
}

// buildRclone builds rclone with its QingStor backend, which distributions leave
// out.
func buildRclone(t *testing.T) string {
	t.Helper()
	haveRclone(t)
	program := filepath.Join(t.TempDir(), "rclone")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = rcloneModule
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build rclone: %v\n%s", err, lastLines(string(out)))
	}
	return program
}

// rcloneEnv makes the cluster known to rclone as a remote. rclone would look for
// the zone's host below that of its endpoint, so it is led there by a proxy.
func rcloneEnv(c *devcluster.Cluster, remote, proxy string) []string {
	prefix := "RCLONE_CONFIG_" + strings.ToUpper(remote) + "_"
	return []string{
		"http_proxy=http://" + proxy,
		prefix + "TYPE=qingstor",
		prefix + "ENDPOINT=http://qs.test:80",
		prefix + "ZONE=pek3a",
		prefix + "ACCESS_KEY_ID=" + c.AccessKeyID,
		prefix + "SECRET_ACCESS_KEY=" + c.SecretAccessKey,
	}
}

// trees copies a tree up, changes it, and copies it on.
func (r *rclone) trees(tree string) {
	r.same(tree, "copy", tree, "qs:rclone-tree/a")
	r.change(tree)
	r.same(tree, "sync", tree, "qs:rclone-tree/a")
	r.must("mkdir", "qs:rclone-copies")
	before := r.statistics("rclone-tree")
	r.must("copy", "qs:rclone-tree/a", "qs:rclone-copies/b") // on the server
	r.must("check", "--download", tree, "qs:rclone-copies/b")
	r.must("copyto", "qs:rclone-tree/a", "qs:rclone-tree/c")
	r.must("moveto", "qs:rclone-tree/c", "qs:rclone-tree/d")
	r.must("check", "--download", tree, "qs:rclone-tree/d")
	r.must("purge", "qs:rclone-tree/d")
	if after := r.statistics("rclone-tree"); after != before {
		r.Errorf("%s in the bucket, before the copies %s", after, before)
	}
	r.must("purge", "qs:rclone-tree/a")
	r.must("check", "--download", tree, "qs:rclone-copies/b") // though its sources are gone
	back := r.TempDir()
	r.must("copy", "qs:rclone-copies/b", back)
	if got, want := files(r.T, back), files(r.T, tree); !slices.Equal(got, want) {
		r.Errorf("%d files came back of %d", len(got), len(want))
	}
	r.must("purge", "qs:rclone-copies")
}

// same runs a command and makes sure that the other side is the tree then, byte
// for byte, and is listed as it is.
func (r *rclone) same(tree, verb, from, to string) {
	r.Helper()
	r.must(verb, from, to)
	r.must("check", "--download", tree, to)
	var listed []string
	for line := range strings.Lines(r.must("lsf", "-R", "--files-only", "--separator", "\t", to)) {
		listed = append(listed, strings.TrimSuffix(line, "\n"))
	}
	slices.Sort(listed)
	if want := files(r.T, tree); !slices.Equal(listed, want) {
		r.Errorf("%s: listed %q, want %q", verb, listed, want)
	}
}

// partSizes sends files around the size where multipart uploads begin.
func (r *rclone) partSizes() {
	const cutoff = 5 << 20
	dir := r.TempDir()
	for _, size := range []int{0, 1, 4<<20 - 1, 4 << 20, cutoff - 1, cutoff, cutoff + 1, 8 << 20, 13<<20 + 7} {
		r.write(filepath.Join(dir, fmt.Sprint("file of ", size)), size)
	}
	for _, concurrency := range []int{1, 2, 8} {
		to := fmt.Sprint("qs:rclone-tree/parts", concurrency)
		args := []string{
			"copy", "--qingstor-upload-cutoff", fmt.Sprint(cutoff), "--qingstor-chunk-size", "4M",
			"--qingstor-upload-concurrency", fmt.Sprint(concurrency), dir, to,
		}
		if concurrency > 1 {
			args = append(args, "--ignore-checksum") // rclone's sum is of parts in another order then, as its manual says
		}
		r.must(args...)
		r.must("check", "--download", dir, to)
		if concurrency == 1 {
			r.must("check", dir, to) // its own MD5 comes back
		}
	}
}

// cleanup leaves alone what is younger than a day, and a bucket with such an
// upload cannot be purged.
func (r *rclone) cleanup() {
	b, err := r.cluster.Bucket(r.cluster.Nodes[0], "rclone-tree")
	if err != nil {
		r.Fatal(err)
	}
	out, err := b.InitiateMultipartUpload("pending", nil)
	if err != nil {
		r.Fatal(err)
	}
	r.must("cleanup", "qs:rclone-tree")
	list, err := b.ListMultipartUploads(nil)
	if err != nil || len(list.Uploads) != 1 {
		r.Errorf("after cleanup: %+v, %v", list, err)
	}
	if _, err := b.AbortMultipartUpload("pending", &service.AbortMultipartUploadInput{UploadID: out.UploadID}); err != nil {
		r.Error(err)
	}
}

func (r *rclone) statistics(bucket string) string {
	r.Helper()
	b, err := r.cluster.Bucket(r.cluster.Nodes[0], bucket)
	if err != nil {
		r.Fatal(err)
	}
	out, err := b.GetStatistics()
	if err != nil {
		r.Fatal(err)
	}
	return fmt.Sprintf("%d objects of %d bytes", *out.Count, *out.Size)
}

func (r *rclone) must(args ...string) string {
	r.Helper()
	out, err := r.run(args...)
	if err != nil {
		r.Fatal(err)
	}
	return out
}

func (r *rclone) run(args ...string) (string, error) {
	r.calls++
	node := r.cluster.Nodes[r.calls%len(r.cluster.Nodes)]
	u, err := url.Parse(node.Endpoint)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(r.Context(), rcloneTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.program, append([]string{"--retries", "1", "--config", "/dev/null", "--transfers", "8", "--checkers", "8"}, args...)...)
	cmd.Env = append(os.Environ(), rcloneEnv(r.cluster, "qs", u.Host)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("rclone %q at node %d: %w\n%s", args, node.Number, err, lastLines(stderr.String()))
	}
	return string(out), err
}

func lastLines(s string) string { return s[max(0, len(s)-4000):] }

// plant makes a tree of small files, some in odd directories and of odd names.
// No name ends in a blank, for rclone could not name it as the source of a copy;
// none has control characters, which rclone writes in another way.
func (r *rclone) plant(dir string) {
	odd := []string{
		"a b", "100%", "%41%2F", "a+b", `"quoted"`, "it's", "#hash", "what?", "a&b=c", "中文", "😀👩‍👩‍👧", "שלום", "e\u0301", ".hidden", "..almost",
		`back\slash`, "*", "<>|:", "[x]{y}", "~", "trailing.", "bl  anks", " leading", strings.Repeat("長", 60),
	}
	count := *filesFlag
	if count == 0 && testing.Short() {
		count = 120
	} else if count == 0 {
		count = 2000
	}
	for i := range count {
		name := fmt.Sprint("file", i)
		if i < 2*len(odd) || r.rng.IntN(4) == 0 {
			name = odd[i%len(odd)] + fmt.Sprint(i/len(odd))
		}
		if i < len(odd) {
			name = odd[i]
		}
		if i%3 > 0 {
			name = filepath.Join(fmt.Sprint("d", i%7), odd[(i/3)%len(odd)], name)
		}
		r.write(filepath.Join(dir, name), r.rng.IntN(20_000)*r.rng.IntN(4))
	}
}

// change deletes, adds and changes some of the files.
func (r *rclone) change(dir string) {
	for i, name := range files(r.T, dir) {
		path := filepath.Join(dir, name)
		switch i % 10 {
		case 3:
			if err := os.Remove(path); err != nil {
				r.Fatal(err)
			}
		case 5:
			r.write(path, 1+r.rng.IntN(50_000))
		case 7:
			r.write(path+".new", r.rng.IntN(50_000))
		}
	}
}

func (r *rclone) write(path string, size int) {
	r.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, randomBytes(r.rng, size), 0o600)); err != nil {
		r.Fatal(err)
	}
}

// files lists the regular files below a directory, in order.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}
