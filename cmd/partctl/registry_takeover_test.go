package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Commands that take a directory over do it once they are told which cluster is
// succeeded, can be repeated, and refuse what is not theirs, each with a status
// and a reason.
func TestTakeoverCommands(t *testing.T) {
	var backup backupReport
	_, stdout, _ := partctl(t, newFakeCluster(), "registry", "verify", goldenBackup, "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &backup); err != nil {
		t.Fatal(err)
	}
	old := backup.Cluster.String()
	dir := filepath.Join(t.TempDir(), "node1")
	temp := t.TempDir()
	secret, damaged := filepath.Join(temp, "secret"), filepath.Join(temp, "damaged")
	b, err := os.ReadFile(goldenBackup)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	for path, content := range map[string][]byte{secret: []byte("secret of the test cluster\n"), damaged: b} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	registry := func(want int, shows string, args ...string) string {
		t.Helper()
		status, stdout, stderr := partctl(t, newFakeCluster(), append([]string{"registry"}, args...)...)
		if status != want || !strings.Contains(stdout+stderr, shows) {
			t.Errorf("partctl registry %s = %d, want %d with %q\n%s%s", strings.Join(args, " "), status, want, shows, stdout, stderr)
		}
		return stdout
	}
	other := strings.Repeat("7", len(old))

	registry(2, "--data-dir", "restore", goldenBackup)
	registry(1, "no data directory", "restore", goldenBackup, "--data-dir", dir)
	registry(1, "damaged", "restore", damaged, "--data-dir", dir, "--name", "node1", "--confirm", old)
	registry(0, "--confirm "+old+" does it", "restore", goldenBackup, "--data-dir", dir, "--name", "node1")
	registry(2, "names cluster", "restore", goldenBackup, "--data-dir", dir, "--name", "node1", "--confirm", other)
	if _, err := os.Stat(filepath.Join(dir, "node.json")); !os.IsNotExist(err) {
		t.Errorf("what was refused, or only shown, made a node: %v", err)
	}
	var made takeoverResult
	stdout = registry(0, "", "restore", goldenBackup, "--data-dir", dir, "--name", "node1", "--confirm", old, "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || !made.Done || made.Name != "node1" || made.Predecessor != backup.Cluster || made.Successor == nil {
		t.Fatalf("restore = %+v, %v", made, err)
	}
	current := made.Successor.String()

	registry(2, "--cluster-secret-file", "recover", "--data-dir", dir)
	registry(1, `"code":"has_quorum"`, "recover", "--data-dir", dir, "--cluster-secret-file", secret, "--confirm", current, "-o", "json")

	registry(2, "malformed", "adopt", current, "seven", "--data-dir", dir)
	registry(1, `"code":"wrong_cluster"`, "adopt", other, old, "--data-dir", dir, "-o", "json")
	registry(0, "Done", "adopt", current, other, "--data-dir", dir)
	registry(0, "Done", "adopt", current, other, "--data-dir", dir)
	registry(1, "no copy of the registry", "recover", "--data-dir", dir, "--cluster-secret-file", secret)

	registry(0, "partctl registry adopt --data-dir DIR "+old, "restore", goldenBackup, "--data-dir", dir, "--confirm", old)
}
