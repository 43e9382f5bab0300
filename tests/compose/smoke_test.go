package compose

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"partstore/internal/qsclient"
)

var (
	smoke = flag.Bool("smoke", false, "test the compose cluster, which must be up")
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the payload")
)

const (
	nodes         = 6
	healthTimeout = 60 * time.Second
)

func TestKilledNodeCostsNothing(t *testing.T) {
	if !*smoke {
		t.Skip("needs the compose cluster: scripts/smoke")
	}
	t.Logf("seed %d", *seed)
	random := rand.NewChaCha8([32]byte{byte(*seed), byte(*seed >> 8), byte(*seed >> 16), byte(*seed >> 24)})
	sizes := []int{4 << 20, 5<<20 + 1, 4<<20 + 65537}
	var payload []byte
	for _, n := range sizes {
		payload = append(payload, make([]byte, n)...)
	}
	random.Read(payload)

	c := openCluster(t)
	bucket, key := fmt.Sprintf("smoke-%d", *seed), "a photo of three parts"
	must(t, c[1].CreateBucket(t.Context(), bucket))
	id, err := c[1].Initiate(t.Context(), bucket, key)
	must(t, err)
	var parts []qsclient.Part
	for i, rest := 0, payload; i < len(sizes); i++ {
		_, err := c[i+1].PutPart(t.Context(), bucket, key, id, i, bytes.NewReader(rest[:sizes[i]]), int64(sizes[i]))
		must(t, err)
		parts = append(parts, qsclient.Part{Number: i})
		rest = rest[sizes[i]:]
	}

	const victim = 2
	container := container(t, victim)
	docker(t, "kill", "--signal", "KILL", container)
	t.Cleanup(func() { docker(t, "start", container) })
	must(t, c[3].Complete(t.Context(), bucket, key, id, parts))
	for node := 1; node <= nodes; node++ {
		if node == victim {
			continue
		}
		if !bytes.Equal(read(t, c[node], bucket, key), payload) {
			t.Errorf("node%d gives other bytes while node%d is dead", node, victim)
		}
	}

	docker(t, "start", container)
	waitHealthy(t, container)
	if !bytes.Equal(read(t, c[victim], bucket, key), payload) {
		t.Errorf("node%d gives other bytes after its restart", victim)
	}
	var answer *qsclient.Error
	if _, err := c[victim].ListParts(t.Context(), bucket, key, id, -1, 1); !errors.As(err, &answer) || answer.Status != http.StatusNotFound {
		t.Errorf("List Parts of the completed upload = %v, want 404", err)
	}
	must(t, c[victim].DeleteObject(t.Context(), bucket, key))
	must(t, c[1].DeleteBucket(t.Context(), bucket))
}

// openCluster returns a client of each node, by number, as .env describes them.
func openCluster(t *testing.T) map[int]*qsclient.Client {
	t.Helper()
	b, err := os.ReadFile("../../.env")
	if err != nil {
		t.Fatalf("%v; scripts/smoke starts the cluster", err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			env[name] = value
		}
	}
	clients := map[int]*qsclient.Client{}
	for node := 1; node <= nodes; node++ {
		clients[node] = &qsclient.Client{
			Endpoint:        "http://127.0.0.1:" + env[fmt.Sprintf("PARTSTORE_PORT_%d", node)],
			AccessKeyID:     env["PARTSTORE_ACCESS_KEY_ID"],
			SecretAccessKey: env["PARTSTORE_SECRET_ACCESS_KEY"],
			HTTP:            http.DefaultClient,
		}
	}
	return clients
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, c *qsclient.Client, bucket, key string) []byte {
	t.Helper()
	r, err := c.GetObject(t.Context(), bucket, key, "")
	must(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

// container is the ID of a node's container.
func container(t *testing.T, node int) string {
	t.Helper()
	return docker(t, "ps", "--all", "--quiet",
		"--filter", "label=com.docker.compose.service="+fmt.Sprintf("node%d", node),
		"--filter", "ancestor=partstore:local")
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// waitHealthy waits until a container's own health check passes.
func waitHealthy(t *testing.T, container string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healthTimeout)
	defer cancel()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for docker(t, "inspect", "--format", "{{.State.Health.Status}}", container) != "healthy" {
		select {
		case <-ctx.Done():
			t.Fatalf("container %s not healthy after %s\n%s", container, healthTimeout, docker(t, "logs", "--tail", "50", container))
		case <-poll.C:
		}
	}
}
