package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"partstore/internal/layout"
)

func TestIdentityIsKept(t *testing.T) {
	dir := t.TempDir()
	made, err := Load(dir, "node1")
	if err != nil {
		t.Fatal(err)
	}
	made.Cluster, made.Formed = layout.NewClusterID(), true
	if err := Save(dir, made); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir, "node1")
	if err != nil || got.Node != made.Node || got.Cluster != made.Cluster || !got.Formed {
		t.Errorf("Load = %+v, %v; want %+v", got, err, made)
	}
}

func TestIdentityRefusesAnotherNodesDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir, "node1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, "node2"); err == nil || !strings.Contains(err.Error(), "node1") {
		t.Errorf("directory of node1 started as node2: %v", err)
	}
}

func TestIdentityRefusesDamage(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":        "{",
		"empty":          "",
		"future version": `{"version":99,"node":"00112233445566778899aabbccddeeff","name":"node1"}`,
		"no node":        `{"version":1,"name":"node1","node":"00000000000000000000000000000000","cluster":"00000000000000000000000000000000","proposer":"00000000000000000000000000000000","store":"00000000000000000000000000000000"}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := Load(dir, "node1"); err == nil {
			t.Errorf("%s: accepted as %+v", name, id)
		}
	}
}

func TestLockDirKeepsASecondProcessOut(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil {
		t.Error("directory locked twice")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
