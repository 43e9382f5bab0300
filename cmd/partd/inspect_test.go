package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"partstore/chunkstore"
	"partstore/internal/layout"
)

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{Dir: dir, Cluster: layout.NewClusterID()})
	if err != nil {
		t.Fatal(err)
	}
	id := layout.ChunkID{Attempt: layout.NewAttemptID(1, 2, 3), Index: 4}
	w, err := d.Create(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("x"), 1000)
	for _, step := range []func() error{func() error { return w.WriteBlock(content) }, w.Commit, d.Close} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	inspect := func(args ...string) (int, string) {
		var out bytes.Buffer
		status := run(t.Context(), append([]string{"inspect"}, args...), stdio{strings.NewReader(""), &out, &out}, nil)
		return status, out.String()
	}
	segment := filepath.Join(dir, "segments", "00000001.segment")
	for _, name := range []string{dir, segment} {
		if status, out := inspect("--verify", name); status != exitDone || !strings.Contains(out, id.String()) || !strings.Contains(out, d.ID().String()) {
			t.Errorf("inspect %s: status %d, output:\n%s", name, status, out)
		}
	}
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, content)+len(content)/2] ^= 1 // the byte before the content may be one more x
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out := inspect("--verify", dir); status != exitError || !strings.Contains(out, "DAMAGED") {
		t.Errorf("inspect of a damaged chunk: status %d, output:\n%s", status, out)
	}
	if status, _ := inspect(); status != exitUsage {
		t.Errorf("inspect without arguments: status %d, want %d", status, exitUsage)
	}
}
